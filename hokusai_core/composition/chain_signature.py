"""Write a chain as one signature, which the strategy ``chain`` answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.base_signature import BaseSignature
from hokusai_core.composition.checker import resolve_chain
from hokusai_core.composition.references import FromInput, FromStep, Literal, parts
from hokusai_core.composition.targets import ResolvedChain, ResolvedPipeline, ResolvedStep
from hokusai_core.errors import CompositionError, SignatureDefinitionError
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import with_content
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.signatures.strategy_choice import StrategyChoice

if TYPE_CHECKING:
    from hokusai_core.composition.definitions import ChainDefinition
    from hokusai_core.execution.call_plan import CallPlanCache

__all__ = ["signature_of_chain"]


def signature_of_chain(chain: ChainDefinition, plans: CallPlanCache, name: str = "") -> type[BaseSignature]:
    """Return a signature that takes the initial inputs of a chain and gives the outputs of its last step.

    Args:
        chain: the chain.
        plans: finds the signatures of the steps.
        name: name of the signature; left out, the name of the chain.

    Raises:
        CompositionError: the chain has a fault, or a step that no file can hold: a pipeline, whose conditions are
            functions, or a DSPy program.
    """
    return BaseSignature.from_spec(_spec(resolve_chain(chain, plans, chain.inputs), name or _identifier(chain.name)))


def _spec(chain: ResolvedChain, name: str) -> SignatureSpec:
    specs = {step.name: _step_spec(step) for step in chain.steps}
    inputs = _inputs(chain, specs)
    last = chain.steps[-1]
    known = {key: source.name for key, source in last.sources.items() if isinstance(source, FromInput)}
    outputs = [
        evolve(item, choices_from=known.get(item.choices_from) if item.choices_from else None)
        for item in specs[last.name].outputs.values()
    ]
    fields = [*inputs, *outputs]
    inner = any(spec.sensitive for spec in specs.values())
    if inner and not any(item.sensitive for item in fields):  # what is sensitive inside may show in the outputs
        fields = [evolve(item, sensitive=True) for item in fields]
    strategies = {step: _choice(spec.strategy) for step, spec in specs.items() if spec.strategy is not None}
    options: dict[str, Any] = {"steps": [_step(step, specs[step.name]) for step in chain.steps]}
    if strategies:
        options["strategies"] = strategies
    instructions = " Then: ".join(spec.instructions for spec in specs.values())
    return SignatureSpec(name, instructions, fields, strategy=StrategyChoice("chain", options)).check()


def _step_spec(step: ResolvedStep) -> SignatureSpec:
    target = step.target
    if isinstance(target, ResolvedPipeline):
        raise CompositionError(
            f"step {step.name!r} is a pipeline, whose conditions are functions that no file can hold; only a chain of "
            "signatures can be written as one"
        )
    if isinstance(target, ResolvedChain):
        return _spec(target, _identifier(step.name))
    registered = target.registered
    if registered.program is not None:
        raise CompositionError(
            f"step {step.name!r} is the DSPy program {registered.qualified_name}, which no file can hold; optimize the "
            "program by itself, or give the step a signature with a strategy"
        )
    if registered.spec.nearest_demos is not None:
        raise CompositionError(
            f"step {step.name!r} shows the demos that are nearest to its inputs, which a step of a written chain cannot"
        )
    return registered.spec


def _inputs(chain: ResolvedChain, specs: Mapping[str, SignatureSpec]) -> list[FieldSpec]:
    """Return the initial inputs as fields: typed as the first step that takes them, required if any step needs them."""
    found: dict[str, FieldSpec] = {}
    needed: set[str] = set()
    sensitive: set[str] = set()
    for step in chain.steps:
        spec = specs[step.name]
        by_name = {name: item for item in spec.inputs.values() for name in (item.name, *item.aliases)}
        for key, source in step.sources.items():
            item = by_name[key]
            names = [part.name for part in parts(source) if isinstance(part, FromInput)]
            for name in names:
                whole = isinstance(source, FromInput)
                plain = FieldSpec(name, "input", Any) if not whole else evolve(item, name=name, aliases=())
                found.setdefault(name, plain)
                needed |= {name} if not whole or item.required else set()
                sensitive |= {name} if item.sensitive else set()
    order = [name for name in chain.inputs or () if name in found]
    return [
        evolve(
            found[name],
            required=name in needed,
            default=None if name in needed else found[name].default,
            sensitive=name in sensitive,
        )
        for name in dict.fromkeys((*order, *found))
    ]


def _step(step: ResolvedStep, spec: SignatureSpec) -> dict[str, Any]:
    fields = {name: item.name for item in spec.inputs.values() for name in (item.name, *item.aliases)}
    try:
        return {
            "name": step.name,
            "signature": spec.evolve(strategy=None, provenance={}, examples=()).to_dict(),
            "inputs": {fields[key]: _form(source) for key, source in step.sources.items()},
        }
    except (SignatureDefinitionError, TypeError, ValueError) as error:
        raise CompositionError(f"step {step.name!r} cannot be written as JSON: {error}") from error


def _form(source: Any) -> dict[str, Any]:
    """Return what a value of a mapping comes from, as the strategy ``chain`` reads it."""
    if isinstance(source, FromInput):
        return {"input": source.name}
    if isinstance(source, FromStep):
        return {"step": source.step, "field": source.field}
    value = source.value if isinstance(source, Literal) else source
    if not any(parts(value)):
        if isinstance(value, PurePath):
            raise TypeError("a path has no place in a file; make it an initial input")
        return {"value": jsonable(with_content(value))}
    if isinstance(value, Mapping):
        return {"mapping": {str(key): _form(item) for key, item in value.items()}}
    return {"list": [_form(item) for item in value]}


def _choice(choice: StrategyChoice) -> dict[str, Any]:
    data = choice.to_dict()
    return {"name": data["name"], **data.get("options", {})}


def _identifier(name: str) -> str:
    """Return the name of a chain or step as one that a signature can have."""
    made = "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in name)
    return made if made[:1].isalpha() or made[:1] == "_" else f"_{made}"
