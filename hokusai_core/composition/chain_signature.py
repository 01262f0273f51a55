"""Write a chain as one signature, which the strategy ``chain`` answers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.base_signature import BaseSignature
from hokusai_core.composition.checker import resolve_chain
from hokusai_core.composition.initial_inputs import uses_of
from hokusai_core.composition.references import FromInput, FromStep, Literal, parts
from hokusai_core.composition.targets import Resolved, ResolvedChain, ResolvedPipeline, ResolvedSignature
from hokusai_core.errors import CompositionError, SignatureDefinitionError
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import with_content
from hokusai_core.model_parameters import merged_parameters
from hokusai_core.signature_registry import LOCAL
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.signatures.branch_conditions import InputCondition, NamedObject
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
        CompositionError: the chain has a fault, or a step that no file can hold.
    """
    chosen = name or _identifier(chain.name)
    spec = _ChainWriter(f"{LOCAL.plugin}/{chosen}").spec(resolve_chain(chain, plans, chain.inputs), chosen)
    return BaseSignature.from_spec(spec)


class _ChainWriter:
    """Writes one chain. Steps and branches are known by their keys: ``Step``, and ``Step.branch`` inside of pipelines.

    Args:
        registered: qualified name under which the functions of its conditions are found again.
        outer: keys of the steps around it, each with a dot behind it.
    """

    def __init__(self, registered: str, outer: str = "") -> None:
        self._registered, self._outer = registered, outer
        self._specs: dict[str, SignatureSpec] = {}
        self._tables: dict[str, dict[str, Any]] = {"strategies": {}, "programs": {}, "conditions": {}}

    def spec(self, chain: ResolvedChain, name: str) -> SignatureSpec:
        """Return the chain as a signature of that name."""
        steps = [self._step(step.name, step.name, step.target, step.sources) for step in chain.steps]
        last = chain.steps[-1]
        known = {key: source.name for key, source in last.sources.items() if isinstance(source, FromInput)}
        outputs = [
            evolve(item, choices_from=known.get(item.choices_from) if item.choices_from else None)
            for item in self._outputs(last.name, last.target)
        ]
        fields = [*_inputs(chain), *outputs]
        inner = any(spec.sensitive for spec in self._specs.values())
        if inner and not any(item.sensitive for item in fields):  # what is sensitive inside may show in the outputs
            fields = [evolve(item, sensitive=True) for item in fields]
        options = {"steps": steps, **{name: table for name, table in self._tables.items() if table}}
        instructions = " Then: ".join(self._instructions(step.name, step.target) for step in chain.steps)
        return SignatureSpec(name, instructions, fields, strategy=StrategyChoice("chain", options)).check()

    def _step(self, key: str, name: str, target: Resolved, sources: Mapping[str, Any]) -> dict[str, Any]:
        """Return a step, or a branch of one, as the strategy ``chain`` reads it."""
        if isinstance(target, ResolvedPipeline):
            return {"name": name, "inputs": _forms(key, sources), "branches": self._branches(key, target, sources)}
        spec = self._specs[key] = self._spec_of(key, name, target)
        if spec.strategy is not None:
            self._tables["strategies"][key] = {"name": spec.strategy.name, **spec.strategy.options}
        fields = {given: item.name for item in spec.inputs.values() for given in (item.name, *item.aliases)}
        provenance = {"open_outputs": True} if spec.open_outputs else {}
        try:
            signature = spec.evolve(strategy=None, provenance=provenance, examples=()).to_dict()
        except SignatureDefinitionError as error:
            raise _unwritable(key, error) from error
        return {"name": name, "signature": signature, "inputs": _forms(key, sources, fields)}

    def _branches(self, key: str, pipeline: ResolvedPipeline, sources: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for branch in pipeline.branches:
            name = branch.branch.name
            inner = branch.sources
            if inner is None:
                inner = {given: FromInput(given) for given in branch.target.choose_inputs(sources)}
            if branch.branch.condition is not None:
                condition = pipeline.pipeline.conditions[branch.branch.condition]
                self._tables["conditions"][f"{key}.{name}"] = self._condition(f"{key}.{name}", condition)
            found.append(self._step(f"{key}.{name}", name, branch.target, inner))
        return found

    def _condition(self, key: str, condition: Any) -> Mapping[str, Any]:
        if isinstance(condition, InputCondition):
            try:
                return {"when": jsonable(condition.tests)}
            except (TypeError, ValueError) as error:
                raise _unwritable(key, error) from error
        if inspect.iscoroutinefunction(condition):
            raise CompositionError(
                f"step {key!r} has an asynchronous condition, and the strategy 'chain' waits for none; make it a plain "
                "function, or write it as data such as {'confidence': {'below': 0.8}}"
            )
        return NamedObject({"registered": self._registered, "function": self._outer + key}, condition)

    def _spec_of(self, key: str, name: str, target: ResolvedSignature | ResolvedChain) -> SignatureSpec:
        if isinstance(target, ResolvedChain):
            return _ChainWriter(self._registered, f"{self._outer}{key}.").spec(target, _identifier(name))
        registered = target.registered
        spec = registered.spec
        if spec.nearest_demos is not None:
            raise CompositionError(
                f"step {key!r} shows the demos that are nearest to its inputs, which a step of a written chain cannot"
            )
        if registered.program is not None:
            program = {"name": registered.qualified_name, "fingerprint": registered.program_fingerprint}
            self._tables["programs"][key] = program
        if target.parameters:
            spec = spec.evolve(parameters=merged_parameters(spec.parameters, target.parameters))
        if target.strategy is not None:
            chosen = target.strategy.over(spec.strategy)
            same = spec.strategy is not None and spec.strategy.name == chosen.name
            spec = spec.evolve(strategy=chosen, predictors=spec.predictors if same else {})
        return spec

    def _outputs(self, key: str, target: Resolved) -> list[FieldSpec]:
        """Return the outputs of a step; those that not every branch gives may be None."""
        if not isinstance(target, ResolvedPipeline):
            return list(self._specs[key].outputs.values())
        given = [self._outputs(f"{key}.{branch.branch.name}", branch.target) for branch in target.branches]
        found: dict[str, list[FieldSpec]] = {}
        for item in (item for outputs in given for item in outputs):
            found.setdefault(item.name, []).append(item)
        return [_common(items, everywhere=len(items) == len(given)) for items in found.values()]

    def _instructions(self, key: str, target: Resolved) -> str:
        if not isinstance(target, ResolvedPipeline):
            return self._specs[key].instructions
        return " Or: ".join(self._instructions(f"{key}.{item.branch.name}", item.target) for item in target.branches)


def _common(items: Sequence[FieldSpec], *, everywhere: bool) -> FieldSpec:
    """Return an output that several branches give as one."""
    first = items[0]
    sensitive = any(item.sensitive for item in items)
    if any(item.shape != first.shape for item in items):
        return FieldSpec(first.name, "output", Any, first.description, sensitive=sensitive)
    annotation = first.annotation if everywhere or first.annotation is Any else first.annotation | None
    return evolve(first, annotation=annotation, choices_from=None, sensitive=sensitive)


def _inputs(chain: ResolvedChain) -> list[FieldSpec]:
    """Return the initial inputs as fields: typed as the first step that takes them, required if any step needs them."""
    found: dict[str, FieldSpec] = {}
    needed: set[str] = set()
    sensitive: set[str] = set()
    for step in chain.steps:
        for key, source in step.sources.items():
            names = [part.name for part in parts(source) if isinstance(part, FromInput)]
            uses = list(uses_of(step.target, key)) if names else []
            same = all(use.whole and use.item.shape == uses[0].item.shape for use in uses)
            whole = isinstance(source, FromInput) and bool(uses) and same
            required = not whole or isinstance(step.target, ResolvedPipeline) or any(use.item.required for use in uses)
            for name in names:
                plain = evolve(uses[0].item, name=name, aliases=()) if whole else FieldSpec(name, "input", Any)
                found.setdefault(name, plain)
                needed |= {name} if required else set()
                sensitive |= {name} if any(use.item.sensitive for use in uses) else set()
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


def _forms(key: str, sources: Mapping[str, Any], fields: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what the inputs of a step come from, by the names of its fields."""
    try:
        return {given if fields is None else fields[given]: _form(source) for given, source in sources.items()}
    except (TypeError, ValueError) as error:
        raise _unwritable(key, error) from error


def _unwritable(key: str, error: Exception) -> CompositionError:
    return CompositionError(f"step {key!r} cannot be written as JSON: {error}")


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


def _identifier(name: str) -> str:
    """Return the name of a chain or step as one that a signature can have."""
    made = "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in name)
    return made if made[:1].isalpha() or made[:1] == "_" else f"_{made}"
