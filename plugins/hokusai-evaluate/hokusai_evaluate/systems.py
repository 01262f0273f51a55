"""Systems: what an evaluation runs, each a signature or chain with a language model and options."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from hokusai_core import BaseSignature, ConditionalPipeline, Executor, ModelPolicy, SignatureChain, SignatureSpec
from hokusai_core.errors import ConfigurationError, LanguageModelError, SignatureDefinitionError
from hokusai_core.plugin_api import FieldSpec

__all__ = ["System", "find_system", "make_systems", "spec_of"]

_CHAIN_FILES = (".toml", ".yaml", ".yml")


@frozen(eq=False)
class System:
    """A signature or chain, with the language model and the options that it runs with.

    Args:
        target: what the executor runs: a name, a class, a file or a ``SignatureChain``.
        name: its name.
        spec: inputs and expected outputs; for a chain those of its last step.
        lm: the language model; None for the executor's.
        model: name of the language model.
        options: options of the executions, such as ``strategy``.
        identity: digest of all that decides about the answers.
        title: its short name, or the name of its file.
        label: how reports call it.
        against: whether it is what the others are compared with.
    """

    target: Any
    name: str
    spec: SignatureSpec
    lm: Any
    model: str
    options: Mapping[str, Any]
    identity: str
    title: str
    label: str = field(default="")
    against: bool = field(default=False)

    @property
    def is_chain(self) -> bool:
        """Whether it is a chain."""
        return isinstance(self.target, SignatureChain)


def make_systems(
    executor: Executor, target: Any, lms: Sequence[Any], against: Sequence[Any], options: Mapping[str, Any]
) -> tuple[System, ...]:
    """Return the systems of an evaluation, those that others are compared with last.

    Args:
        executor: where names are looked up.
        target: name or class of a signature, a ``SignatureChain``, or the path of a file with one of them.
        lms: the language models; each makes a system of its own. None stands for the executor's.
        against: what to compare with: another target, or ``lm=NAME`` or ``strategy=NAME`` for the same one otherwise.
        options: options of the executions.

    Raises:
        ConfigurationError: one of them cannot be evaluated, or two of them are the same.
        SignatureNotFoundError: no such signature.
        LanguageModelUnavailable: there is no such language model.
    """
    systems = [find_system(executor, target, lm, options) for lm in lms]
    for other in against:
        changed = _changed(other)
        if "lm" in changed:
            found = [find_system(executor, target, changed["lm"], options)]
        elif changed:
            found = [find_system(executor, target, lm, {**options, **changed}) for lm in lms]
        else:
            found = [find_system(executor, other, lm, options) for lm in lms]
        systems += (evolve(system, against=True) for system in found)
    labels = _labels(systems)
    if len(set(labels)) < len(labels) or len({system.identity for system in systems}) < len(systems):
        raise ConfigurationError(
            f"two of the systems are the same: {', '.join(labels)}; give each language model once, and something else "
            "to compare with"
        )
    return tuple(evolve(system, label=label) for system, label in zip(systems, labels, strict=True))


def find_system(executor: Executor, target: Any, lm: Any, options: Mapping[str, Any]) -> System:
    """Return a target as a system without a label; see ``make_systems``."""
    title = Path(target).name if _is_file(target) else ""
    target = _read(target)
    if isinstance(target, SignatureChain):
        name, spec = target.name, _chain_spec(executor, target)
        identity: list[Any] = [_chain_identity(executor, target)]
    else:
        registered = executor.signature(target)
        name, spec = registered.qualified_name, registered.spec
        identity = [name, spec.fingerprint]
    model = "testing mode"
    if executor.mode.value != "testing":
        model, asked = _models(executor, lm)
        identity += [asked, spec.parameters, executor.config.value("parameters")]
    text = json.dumps([*identity, sorted(options.items(), key=str), model], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return System(target, name, spec, lm, model, dict(options), digest, title or name.rpartition("/")[2])


def _models(executor: Executor, lm: Any) -> tuple[str, list[Any]]:
    """Return the name of a language model, and all that tells it from others; of a policy those of all its models."""
    chosen = executor.models.choose(lm)
    if not isinstance(chosen, ModelPolicy):
        found = executor.language_model(chosen)
        return str(found.lm.model), [found.lm.model, found.identity, getattr(found.lm, "kwargs", {})]
    names, asked = [], []
    for one in chosen.models:
        try:
            found = executor.language_model(ModelPolicy([one]))
        except LanguageModelError:  # the next one is asked in its place
            if len(chosen.models) == 1:
                raise
            names.append(one.name)
            continue
        names.append(str(found.lm.model))
        asked += [found.lm.model, found.identity, getattr(found.lm, "kwargs", {})]
    return ", ".join(names), asked


def spec_of(executor: Executor, target: Any) -> SignatureSpec:
    """Return the inputs and outputs of a target; see ``make_systems``. No language model is looked for.

    Raises:
        ConfigurationError: it cannot be evaluated.
        SignatureNotFoundError: no such signature.
    """
    target = _read(target)
    return _chain_spec(executor, target) if isinstance(target, SignatureChain) else executor.signature(target).spec


def _is_file(target: Any) -> bool:
    return isinstance(target, (str, os.PathLike)) and Path(target).suffix.lower() in (*_CHAIN_FILES, ".json")


def _read(target: Any) -> Any:
    """Return what a file holds: a chain, or a signature that the executor does not read itself."""
    if not _is_file(target):
        return target
    path = Path(target)
    if path.suffix.lower() in _CHAIN_FILES:
        return SignatureChain.from_file(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if isinstance(data, Mapping) and "fields" in data:
        return BaseSignature.from_dict(data)
    return str(target)  # what an optimizer saved: the executor reads it, and checks it against its original


def _changed(other: Any) -> dict[str, Any]:
    """Return the option that ``lm=NAME`` or ``strategy=NAME`` changes, empty for another target."""
    if isinstance(other, Mapping):
        return dict(other)
    name, separator, value = other.partition("=") if isinstance(other, str) else ("", "", "")
    return {name: value} if separator and name in ("lm", "strategy") and value else {}


def _labels(systems: Sequence[System]) -> list[str]:
    """Return for each system what tells it from the others."""
    titles = [system.title for system in systems]
    if len(set(titles)) < len({system.name for system in systems}):
        titles = [system.name for system in systems]
    columns = [
        titles,
        # What is optimized in place has the name of its original.
        [system.spec.fingerprint[:8] for system in systems] if len(set(titles)) == 1 else [""],
        [system.model for system in systems],
        [", ".join(f"{key}={value}" for key, value in system.options.items()) for system in systems],
    ]
    varying = [column for column in columns if len(set(column)) > 1]
    return [" ".join(filter(None, parts)) or title for title, *parts in zip(titles, *varying, strict=True)]


def _chain_spec(executor: Executor, chain: SignatureChain) -> SignatureSpec:
    """Return inputs and outputs of a chain as a signature.

    Raises:
        ConfigurationError: the chain does not declare its inputs, or its outputs are not known before it runs.
    """
    if chain.inputs is None:
        raise ConfigurationError(f"chain {chain.name!r} does not declare its inputs; declare them to evaluate it")
    inputs = chain.initial_fields(executor)
    outputs = (evolve(item, choices_from=None) for item in _outputs(executor, chain))
    try:
        return SignatureSpec("Chain", "", (*inputs, *outputs))
    except SignatureDefinitionError as error:
        raise ConfigurationError(f"chain {chain.name!r} cannot be evaluated: {error}") from error


def _outputs(executor: Executor, chain: SignatureChain) -> tuple[FieldSpec, ...]:
    last = list(chain.steps.values())[-1].target
    if isinstance(last, SignatureChain):
        return _outputs(executor, last)
    if isinstance(last, ConditionalPipeline):  # an output that only some branches give may be None
        return tuple(chain.to_signature(executor, "Chain").spec.outputs.values())
    return tuple(executor.signature(last).spec.outputs.values())


def _chain_identity(executor: Executor, chain: SignatureChain) -> list[Any]:
    found: list[Any] = [chain.name]
    for step in chain.steps.values():
        inner = _target_identity(executor, step.target)
        found.append([step.name, inner, str(step.mapping), str(step.strategy), dict(step.parameters)])
    return found


def _target_identity(executor: Executor, target: Any) -> list[Any]:
    if isinstance(target, SignatureChain):
        return _chain_identity(executor, target)
    if isinstance(target, ConditionalPipeline):
        return [
            [
                branch.name,
                _condition_identity(target.conditions.get(branch.condition or "")),
                str(branch.mapping),
                _target_identity(executor, branch.target),
            ]
            for branch in target.branches
        ]
    spec = executor.signature(target).spec
    return [spec.fingerprint, spec.parameters]


def _condition_identity(condition: Any) -> str:
    """Return what is known of a condition: all of one that is data, the name and version of a function."""
    tests = getattr(condition, "tests", None)
    return (
        str(tests)
        if tests is not None
        else f"{getattr(condition, '__qualname__', '')} {getattr(condition, 'version', '')}"
    )
