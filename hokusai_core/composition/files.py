"""Read and write chains as TOML or YAML files. A file holds names and values; nothing in it is run or imported.

A file has ``inputs``, the names of its initial inputs, and ``steps``. Each step has ``signature`` (or ``steps`` again,
for a chain inside, or ``branches``), ``inputs``, ``name``, ``strategy`` and ``parameters``, the last four optional::

    inputs = ["input_document"]

    [[steps]]
    signature = "ExtractInfo"
    inputs = { document = "input_document", info_types = "Key facts" }

    [[steps]]
    signature = "SummarizeText"
    inputs = { document = "ExtractInfo.extracted_info", max_length = { literal = "100 words" } }

Strings mean what they mean in ``SignatureChain.add``; ``{ ref = "..." }`` and ``{ literal = ... }`` say it outright.

Of several ``branches`` the first runs whose condition ``when`` holds; one without ``when`` is the last and runs
otherwise. A condition is data, as ``ConditionalPipeline.add_condition`` takes it, about the inputs of the step::

    [[steps]]
    name = "reply"
    inputs = { text = "mail", label = "Sort.label" }

    [[steps.branches]]
    when = { label = "complaint" }
    signature = "Apologize"

    [[steps.branches]]
    signature = "Answer"
"""

from __future__ import annotations

import importlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hokusai_core.composition.conditional import ConditionalPipeline
from hokusai_core.composition.definitions import ChainDefinition, step_name
from hokusai_core.composition.references import literal, ref
from hokusai_core.errors import CompositionError
from hokusai_core.signatures.branch_conditions import InputCondition
from hokusai_core.suggestions import did_you_mean

__all__ = ["chain_of", "read_chain"]

ChainT = TypeVar("ChainT", bound=ChainDefinition)

#: More than anyone writes by hand; a file may come from anywhere.
_BYTES, _VALUES, _DEEPEST = 1_000_000, 10_000, 20
#: A dotted key of more parts than a chain may be deep, which ``tomllib`` would spend quadratic time on.
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")
_STEP = frozenset({"signature", "steps", "branches", "inputs", "name", "strategy", "parameters"})
_BRANCH = frozenset({"when", "signature", "steps", "branches", "inputs", "name"})


def read_chain(cls: type[ChainT], path: str | os.PathLike[str]) -> ChainT:
    """Read a chain from a file ending in ``.toml``, ``.yaml`` or ``.yml``.

    Raises:
        CompositionError: the file has a fault; the message names its place.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(_BYTES + 1)
        if len(raw) > _BYTES:
            raise CompositionError(f"{file}: larger than {_BYTES} bytes is no chain")
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CompositionError(f"{file} cannot be read: {error}") from error
    data = _parse(file, text)
    try:
        return chain_of(cls, data)
    except CompositionError as error:
        raise CompositionError(f"{file}: {error}") from error


def chain_of(cls: type[ChainT], data: Any) -> ChainT:
    """Make a chain of what a file holds.

    Raises:
        CompositionError: the file has a fault; the message names its place.
    """
    chain: ChainT = _Reader(cls).chain(data, "", 0)
    return chain


def _parse(file: Path, text: str) -> Any:
    kind = file.suffix.lower()
    if kind == ".toml":
        if _LONG_KEY.search(text):
            raise CompositionError(f"{file}: a key of more than 100 parts is nested too deeply for a chain")
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise CompositionError(f"{file} is not TOML: {error}") from error
        except RecursionError:
            raise CompositionError(f"{file}: nested too deeply for a chain") from None
    if kind == ".json":
        raise CompositionError(
            f"{file}: the name of a chain's file ends in .toml, .yaml or .yml; an optimized chain is a signature: "
            f"run it with hokusai run {file}"
        )
    if kind not in (".yaml", ".yml"):
        raise CompositionError(f"{file}: the name of a chain's file ends in .toml, .yaml or .yml")
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise CompositionError(f"{file}: reading YAML needs PyYAML (pip install pyyaml); TOML needs nothing") from error
    try:
        _refuse_repetition(file, yaml.compose(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CompositionError(f"{file} is not YAML: {error}") from error
    except RecursionError:
        raise CompositionError(f"{file}: nested too deeply for a chain") from None


def _refuse_repetition(file: Path, root: Any) -> None:
    """Refuse a mapping that has a key twice, of which YAML would take the last."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(getattr(node, "value", None), list):
            continue
        seen.add(id(node))
        keys: set[Any] = set()
        for item in node.value:
            pair = item if isinstance(item, tuple) else (None, item)
            waiting += pair
            key = getattr(pair[0], "value", None)
            if isinstance(key, str):
                if key in keys:
                    raise CompositionError(f"{file} line {pair[0].start_mark.line + 1}: {key!r} is there twice")
                keys.add(key)


class _Reader:
    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._values = 0

    def chain(self, data: Any, where: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise CompositionError(f"{where}: nested more than {_DEEPEST} deep")
        if not isinstance(data, Mapping) or not isinstance(data.get("steps"), list) or not data["steps"]:
            raise CompositionError(f"{where}expected 'steps', a list of steps")
        inputs = None
        if not depth:
            _known(data, frozenset({"steps", "name", "inputs"}), where)
            inputs = _declared_inputs(data)
        name = data.get("name", "")
        if not isinstance(name, str):
            raise CompositionError(f"{where}name: expected a text")
        chain = self._cls(name, inputs=inputs)
        for number, step in enumerate(data["steps"]):
            self._step(chain, step, f"{where}steps[{number}]", depth)
        if inputs is None and not depth:
            raise CompositionError(
                f"the chain does not declare its initial inputs; add the line\n\n    inputs = {_candidates(data)}\n\n"
                "before its steps ('=' in TOML, ':' in YAML), without the names that stand for themselves"
            )
        return chain

    def _step(self, chain: Any, step: Any, where: str, depth: int) -> None:
        if not isinstance(step, Mapping):
            raise CompositionError(f"{where}: expected a step with 'signature' and 'inputs'")
        _known(step, _STEP, f"{where}: ")
        target = self._target(step, where, depth)
        mapping = self._mapping(step, where)
        try:
            chain.add(
                target,
                mapping,
                name=step.get("name"),
                strategy=self._plain(step.get("strategy"), f"{where}.strategy", 0),
                parameters=self._plain(step.get("parameters"), f"{where}.parameters", 0),
            )
        except CompositionError as error:
            raise CompositionError(f"{where}: {error}") from error

    def _target(self, step: Mapping[Any, Any], where: str, depth: int) -> Any:
        """Return what a step or branch runs."""
        signature = step.get("signature")
        if sum(name in step for name in ("signature", "steps", "branches")) != 1 or (
            "signature" in step and not isinstance(signature, str)
        ):
            raise CompositionError(
                f"{where}: expected either 'signature', a name, or 'steps' of a chain inside, or 'branches'"
            )
        if "branches" in step:
            return self._pipeline(step, where, depth + 1)
        return self.chain(step, f"{where}.", depth + 1) if signature is None else signature

    def _pipeline(self, step: Mapping[Any, Any], where: str, depth: int) -> ConditionalPipeline:
        branches = step["branches"]
        if depth > _DEEPEST:
            raise CompositionError(f"{where}: nested more than {_DEEPEST} deep")
        if not isinstance(branches, list) or not branches or not all(isinstance(item, Mapping) for item in branches):
            raise CompositionError(f"{where}.branches: expected a list of branches with 'when' and 'signature'")
        pipeline = ConditionalPipeline(str(step.get("name") or ""))
        for number, branch in enumerate(branches):
            place = f"{where}.branches[{number}]"
            _known(branch, _BRANCH, f"{place}: ")
            target, mapping = self._target(branch, place, depth), self._mapping(branch, place)
            try:
                if "when" not in branch:
                    if branch is not branches[-1]:
                        raise CompositionError("only the last branch may lack 'when'")
                    if "name" in branch:
                        raise CompositionError("a branch without 'when' is called 'otherwise' and has no other name")
                    pipeline.otherwise().execute(target, mapping)
                    continue
                name = step_name(target, branch.get("name"))
                pipeline.add_condition(name, InputCondition.of(self._plain(branch["when"], f"{place}.when", 0)))
                pipeline.when(name).execute(target, mapping)
            except CompositionError as error:
                raise CompositionError(f"{place}: {error}") from error
        return pipeline

    def _mapping(self, step: Mapping[Any, Any], where: str) -> dict[str, Any] | None:
        inputs = step.get("inputs")
        if inputs is None:
            return None
        if not isinstance(inputs, Mapping):
            raise CompositionError(f"{where}.inputs: expected names of inputs with their values")
        return {str(key): self._value(value, f"{where}.inputs.{key}", 0) for key, value in inputs.items()}

    def _value(self, value: Any, where: str, depth: int) -> Any:
        self._values += 1
        if self._values > _VALUES or depth > _DEEPEST:  # YAML can repeat a value without repeating its text
            raise CompositionError(f"{where}: more than {_VALUES} values, or nested more than {_DEEPEST} deep")
        if isinstance(value, Mapping):
            if set(value) == {"ref"}:
                try:
                    return ref(value["ref"])
                except CompositionError as error:
                    raise CompositionError(f"{where}: {error}") from error
            if set(value) == {"literal"}:
                return literal(self._plain(value["literal"], where, depth + 1))
            return {str(key): self._value(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        return str(value)  # dates and times

    def _plain(self, value: Any, where: str, depth: int) -> Any:
        self._values += 1
        if self._values > _VALUES or depth > _DEEPEST:
            raise CompositionError(f"{where}: more than {_VALUES} values, or nested more than {_DEEPEST} deep")
        if isinstance(value, Mapping):
            return {str(key): self._plain(item, where, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, where, depth + 1) for item in value]
        return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _known(data: Mapping[Any, Any], names: frozenset[str], where: str) -> None:
    unknown = [str(key) for key in data if key not in names]
    if unknown:
        shown = [f"{key!r}{did_you_mean(key, names)}" for key in unknown[:_SHOWN]]
        shown += [f"{len(unknown) - _SHOWN} more"] if len(unknown) > _SHOWN else []
        raise CompositionError(f"{where}unknown {', '.join(shown)}; expected {', '.join(sorted(names))}")


def _declared_inputs(data: Mapping[Any, Any]) -> list[str] | None:
    """Return the names of the initial inputs that a file declares; None if it declares none."""
    inputs = data.get("inputs")
    if inputs is None:
        return None
    if not isinstance(inputs, list) or not all(isinstance(name, str) and name for name in inputs):
        raise CompositionError('inputs: expected a list with the names of the initial inputs, such as ["report"]')
    return inputs


def _candidates(data: Mapping[Any, Any]) -> str:
    """Return what may be the initial inputs of a file that does not say so, as a list in TOML and YAML."""
    found: dict[str, None] = {}
    for step in data["steps"]:
        inputs = step.get("inputs") if isinstance(step, Mapping) else None
        for value in inputs.values() if isinstance(inputs, Mapping) else ():
            name = value.get("ref") if isinstance(value, Mapping) else value
            if isinstance(name, str) and name.isidentifier():
                found[name] = None
    names = [f'"{name}"' for name in list(found)[:_SHOWN]]
    return f"[{', '.join(names)}{', ...' if len(found) > _SHOWN else ''}]"


#: Names that an error shows.
_SHOWN = 20
