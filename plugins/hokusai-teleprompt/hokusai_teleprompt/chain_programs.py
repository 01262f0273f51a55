"""The programs that are steps of a chain: which there are, and how a loaded chain gets them from the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hokusai_core import Executor
from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import NamedObject, PredictorState, SignatureSpec, with_predictor_states

__all__ = ["missing_code", "with_programs"]


def missing_code(spec: SignatureSpec) -> Iterator[str]:
    """Yield what a chain needs besides its file, in words."""
    for options, _ in _chains(spec):
        for step, program in dict(options.get("programs", {})).items():
            yield f"its step {step!r} is of the program {program['name']}, whose code"
        for branch, condition in dict(options.get("conditions", {})).items():
            if "when" not in condition:
                yield f"its branch {branch!r} has a function as its condition, whose code"


def with_programs(spec: SignatureSpec, given: Any) -> SignatureSpec:
    """Return a chain whose steps run given programs.

    Args:
        spec: the chain as a signature.
        given: the ``dspy.Module`` of its only program, or registered name -> module.

    Raises:
        ArtifactError: a program is missing, has other fields or other predictors, or no step has it.
    """
    places = [
        (f"{path}steps['{step}']", program)
        for options, path in _chains(spec)
        for step, program in dict(options.get("programs", {})).items()
    ]
    names = list(dict.fromkeys(program["name"] for _, program in places))
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise ArtifactError(f"{spec.name} has the programs {', '.join(names) or 'of none'}; give a mapping of them")
        given = {names[0]: given}
    wrong = [name for name in given if name not in names]
    if wrong:
        raise ArtifactError(f"{spec.name} has no step of the program {', '.join(wrong)}; it has {', '.join(names)}")
    objects = []
    for path, program in places:
        if program["name"] in given:
            module = given[program["name"]]
            _check(spec, path, program, module)
            objects.append(NamedObject(program, module))
    choice = spec.strategy
    return spec if choice is None else spec.evolve(strategy=choice.with_objects(objects))


def _check(spec: SignatureSpec, path: str, program: Mapping[str, Any], module: Any) -> None:
    """Raise if a module is not the program that a step was made with."""
    name = program["name"]
    with Executor(plugins=(), cache_enabled=False, trackers=(), promotions=False) as scratch:
        scratch.register_signature("Program", module)
        entry = scratch.signatures.resolve("Program")
    if entry.program_fingerprint != program.get("fingerprint"):
        raise ArtifactError(f"{spec.name} was made with another version of the program {name}: {entry.spec.describe()}")
    states: dict[str, PredictorState] = {
        key.removeprefix(path).removeprefix(".") or "self": state
        for key, state in spec.predictors.items()
        if key == path or key.startswith(f"{path}.")
    }
    if spec.predictors:
        with_predictor_states(module, states, f"{spec.name}, {path}")


def _chains(spec: SignatureSpec) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the options of a chain and of the chains in it, each with what the names of its predictors begin with."""
    waiting: list[tuple[Mapping[str, Any], str]] = [({} if spec.strategy is None else spec.strategy.options, "")]
    while waiting:
        options, path = waiting.pop()
        yield options, path
        for step, strategy in dict(options.get("strategies", {})).items():
            if isinstance(strategy, Mapping):
                waiting.append((strategy, f"{path}steps['{step}']."))
