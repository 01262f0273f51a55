"""Checks a whole chain or pipeline before any call, and finds out which outputs feed which inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from hokusai_core.composition.compatibility import input_problems, never_fits
from hokusai_core.composition.definitions import ChainDefinition, PipelineDefinition, Step
from hokusai_core.composition.references import (
    FromInput,
    FromStep,
    Literal,
    Ref,
    UnresolvedReference,
    parts,
    split_path,
)
from hokusai_core.composition.targets import (
    ResolvedBranch,
    ResolvedChain,
    ResolvedPipeline,
    ResolvedSignature,
    ResolvedStep,
)
from hokusai_core.errors import ArtifactError, CompositionError, ConfigurationError, PluginError, SignatureError
from hokusai_core.suggestions import closest, did_you_mean, enumerate_names

if TYPE_CHECKING:
    from hokusai_core.composition.targets import Resolved
    from hokusai_core.execution.call_plan import CallPlanCache

__all__ = ["resolve_chain", "resolve_pipeline", "resolve_target"]

#: Deeper nesting than anyone writes; a chain that holds itself by a detour ends here.
_DEEPEST = 20
#: Names that a misspelt one is compared with, and problems that get such a hint: each comparison takes a while.
_MOST_COMPARED = 200
#: Pairs of a text and a name that are compared at most.
_MOST_PAIRS = 2_000


def resolve_chain(
    chain: ChainDefinition, plans: CallPlanCache, initial_inputs: Mapping[str, Any] | Iterable[str] | None
) -> ResolvedChain:
    """Return the chain with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(plans)
    what = f"chain {chain.name!r}"
    with _nesting_bounded(what):
        found = checker.chain(chain, initial_inputs, "")
    resolved: ResolvedChain = checker.checked(found, what)
    return resolved


def resolve_pipeline(
    pipeline: PipelineDefinition, plans: CallPlanCache, inputs: Mapping[str, Any] | Iterable[str] | None
) -> ResolvedPipeline:
    """Return the pipeline with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(plans)
    what = f"pipeline {pipeline.name!r}"
    with _nesting_bounded(what):
        found = checker.pipeline(pipeline, inputs, "")
    resolved: ResolvedPipeline = checker.checked(found, what)
    return resolved


def resolve_target(target: Any, plans: CallPlanCache, inputs: Any, what: str) -> Resolved:
    """Return a signature, chain or pipeline that is to run on ``inputs``, with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(plans)
    with _nesting_bounded(what):
        resolved = checker.target(target, inputs, "")
        if isinstance(resolved, ResolvedSignature):
            checker.problems += input_problems(resolved.spec, inputs, frozenset(), plans.media)
    checked: Resolved = checker.checked(resolved, what)
    return checked


@contextmanager
def _nesting_bounded(what: str) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise CompositionError(f"{what} cannot work; nothing was called: a value is nested too deeply") from None


class _Checker:
    """Collects every problem instead of stopping at the first."""

    def __init__(self, plans: CallPlanCache) -> None:
        self._plans = plans
        self._depth = 0
        self._around: list[ChainDefinition] = []
        self.problems: list[str] = []

    def checked(self, resolved: Any, what: str) -> Any:
        if self.problems or resolved is None:
            lines = "".join(f"\n- {problem}" for problem in self.problems)
            raise CompositionError(f"{what} cannot work; nothing was called:{lines}")
        return resolved

    def target(self, target: Any, inputs: Any, where: str, step: Step | None = None) -> Resolved | None:
        """Resolve what a step, branch or task runs, on inputs whose names, and maybe values, are known."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                self.problems.append(f"{where}it is nested more than {_DEEPEST} deep, or holds itself")
                return None
            if isinstance(target, ChainDefinition):
                return self.chain(target, inputs, where)
            if isinstance(target, PipelineDefinition):
                return self.pipeline(target, inputs, where)
            strategy, parameters = (None, {}) if step is None else (step.strategy, step.parameters)
            registered = self._plans.testing_plan(target, strategy).registered
            return ResolvedSignature(target, registered, strategy, parameters)
        except (ArtifactError, SignatureError, PluginError, ConfigurationError, TypeError) as error:
            self.problems.append(f"{where}{error}")
            return None
        finally:
            self._depth -= 1

    # -- chains -------------------------------------------------------------------------------------------------

    def chain(self, chain: ChainDefinition, inputs: Any, where: str) -> ResolvedChain | None:
        if not chain.steps:
            self.problems.append(f"{where}the chain has no steps; add some with .add(...)")
            return None
        names = self._initial_names(chain, inputs, where)
        resolved: dict[str, ResolvedStep | None] = {}
        self._around.append(chain)
        for name, step in chain.steps.items():
            before = f"{where}step {name!r}: "
            sources = None
            if step.mapping is not None:
                sources = {key: self._source(value, chain, resolved, names) for key, value in step.mapping.items()}
            resolved[name] = self._step(step, sources, resolved, inputs, names, before)
        self._around.pop()
        steps = tuple(step for step in resolved.values() if step is not None)
        if len(steps) < len(resolved):
            return None
        found = ResolvedChain(chain.name, steps, chain.inputs)
        if names:
            self._check_names(chain, found.used_inputs(), names, where)
        return found

    def _initial_names(self, chain: ChainDefinition, inputs: Any, where: str) -> frozenset[str] | None:
        """Return the names of the initial inputs: those that the chain declares, else those that are given."""
        given = None if inputs is None else frozenset(inputs)
        if chain.inputs is None:
            return given
        declared = frozenset(chain.inputs)
        for name in sorted(declared - given) if given is not None else ():
            self.problems.append(f"{where}initial input {name!r} is declared and missing")
        for name in sorted(given - declared) if given is not None else ():
            hint = self._hint(name, chain.inputs)
            self.problems.append(f"{where}initial input {name!r} is not declared{hint}")
        return declared

    def _hint(self, name: str, known: Collection[str]) -> str:
        """Return what a name may have been meant as, and the names that there are; nothing after many problems."""
        if len(self.problems) >= _MOST_COMPARED:
            return ""
        meant = did_you_mean(name, islice(known, _MOST_COMPARED * 2))
        return f"{meant}; there are {enumerate_names(known)}" if known else f"{meant}; there are none"

    def _check_names(self, chain: ChainDefinition, used: frozenset[str], names: frozenset[str], where: str) -> None:
        """Find texts that read as if they meant an initial input.

        Where inputs are declared, a text that differs from one by a slip is an error; else only if the input is unused.
        """
        compared = names - used if chain.inputs is None else names
        if not compared or len(compared) > _MOST_COMPARED:
            return
        texts = {
            value: f"step {step.name!r}: {key}"
            for step in chain.steps.values()
            for key, value in (step.mapping or {}).items()
            if isinstance(value, str) and value.isidentifier() and value not in used
        }
        if len(texts) > _MOST_COMPARED:
            return
        if chain.inputs is not None:
            for text, place in texts.items() if len(texts) * len(names) <= _MOST_PAIRS else ():
                close = closest(text, names)
                if close is not None:
                    self.problems.append(
                        f"{where}{place}: {text!r} is no initial input; did you mean {close!r}? Write "
                        f"literal({text!r}) where the text itself is meant"
                    )
            return
        for name in sorted(compared):
            close = closest(name, texts)
            if close is not None:
                self.problems.append(
                    f"{where}initial input {name!r} is used by no step; did you mean {close!r}, of {texts[close]}? "
                    "Write literal(...) there where the text itself is meant"
                )

    def _step(
        self,
        step: Step,
        sources: dict[str, Any] | None,
        earlier: Mapping[str, ResolvedStep | None],
        inputs: Any,
        names: frozenset[str] | None,
        where: str,
    ) -> ResolvedStep | None:
        target = self.target(step.target, _passed(step.target, sources, names), where, step)
        if sources is None:
            chosen = target.choose_inputs(names or ()) if target is not None else ()
            sources = {name: FromInput(name) for name in chosen}
        after = set()
        for key, source in sources.items():
            for part in parts(source):
                if isinstance(part, UnresolvedReference):
                    self.problems.append(f"{where}{key}: {part.reason}")
                elif isinstance(part, FromStep):
                    after.add(part.step)
        if target is None:
            return None
        if isinstance(target, ResolvedSignature):
            self._check_fields(target, sources, earlier, inputs, names, where)
        return ResolvedStep(step.name, target, sources, frozenset(after))

    def _check_fields(
        self,
        target: ResolvedSignature,
        sources: Mapping[str, Any],
        earlier: Mapping[str, ResolvedStep | None],
        inputs: Any,
        names: frozenset[str] | None,
        where: str,
    ) -> None:
        values: dict[str, Any] = {}
        fed: set[str] = set()
        for key, source in sources.items():
            known = self._known(source, inputs)
            if known is None or (names is None and isinstance(known, Literal) and isinstance(known.value, str)):
                fed.add(key)  # its value shows while the chain runs; without names, a string may be an initial input
            else:
                values[key] = known.value
            output = self._output_of(source, earlier)
            field = target.field(key)
            if output is not None and field is not None and never_fits(output, field):
                self.problems.append(
                    f"{where}{key}: {source.step}.{source.field} never fits; it is {output.shape.expected}, and "
                    f"{key} takes {field.shape.expected}"
                )
        found = input_problems(target.spec, values, frozenset(fed), self._plans.media)
        self.problems += [f"{where}{problem}" for problem in found]

    def _known(self, source: Any, inputs: Any) -> Literal | None:
        """Return the value of a source where it is known before anything runs."""
        if isinstance(source, FromInput):
            return Literal(inputs[source.name]) if isinstance(inputs, Mapping) and source.name in inputs else None
        if isinstance(source, Literal) and not any(parts(source)):
            return source
        return None

    def _output_of(self, source: Any, earlier: Mapping[str, ResolvedStep | None]) -> Any:
        step = earlier.get(source.step) if isinstance(source, FromStep) else None
        return None if step is None else (step.target.outputs() or {}).get(source.field)

    def _source(
        self, value: Any, chain: ChainDefinition, earlier: Mapping[str, Any], names: Any, *, top: bool = True
    ) -> Any:
        """Return what a value of a mapping comes from."""
        if isinstance(value, Literal):
            return value
        if isinstance(value, Ref):
            return self._reference(value.path, chain, earlier, names)
        if isinstance(value, str):
            if not top:
                return value
            if names is not None and value in names:
                return FromInput(value)
            return self._step_output(value, chain, earlier) or self._out_of_sight(value) or Literal(value)
        if isinstance(value, (list, tuple, dict)):
            inner = self._inside(value, chain, earlier, names)
            return Literal(inner) if top else inner
        return Literal(value) if top else value

    def _inside(self, value: Any, chain: ChainDefinition, earlier: Mapping[str, Any], names: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._source(item, chain, earlier, names, top=False) for key, item in value.items()}
        return [self._source(item, chain, earlier, names, top=False) for item in value]

    def _reference(self, path: str, chain: ChainDefinition, earlier: Mapping[str, Any], names: Any) -> Any:
        if names is None or path in names:
            found = self._step_output(path, chain, earlier)
            return found or FromInput(path)
        found = self._step_output(path, chain, earlier)
        if found is not None:
            return found
        outputs = (f"{name}.{field}" for name, step in earlier.items() if step for field in step.target.outputs() or ())
        known = [*islice(names, _MOST_COMPARED), *islice(outputs, _MOST_COMPARED)]
        return UnresolvedReference(
            f"ref({path!r}) is neither an initial input nor an output of an earlier step{self._hint(path, known)}"
        )

    def _step_output(self, path: str, chain: ChainDefinition, earlier: Mapping[str, Any]) -> Any:
        """Return the output that ``path`` means where it names a step of the chain, None where it names none."""
        found = split_path(path, chain.steps)
        if found is None:
            return self._misspelt(path, earlier)
        name, field = found
        if name not in earlier:
            return UnresolvedReference(
                f"{path!r} is an output of a step that comes later, or of the step itself; add {name!r} before it, or "
                "write literal(...) where the text itself is meant"
            )
        step = earlier[name]
        if step is None:  # its own problem is reported
            return FromStep(name, field)
        outputs = step.target.outputs()
        if outputs is not None and field not in outputs:
            return UnresolvedReference(
                f"step {name!r} has no output {field!r}{did_you_mean(field, outputs)}; it has "
                f"{enumerate_names(outputs)}"
            )
        return FromStep(name, field)

    def _out_of_sight(self, path: str) -> UnresolvedReference | None:
        """Return why ``path`` cannot be meant as a text: it is an output of a step of a chain around."""
        if not any(split_path(path, chain.steps) for chain in self._around):
            return None
        return UnresolvedReference(
            f"{path!r} is an output of a step of the chain around, which is not seen in here; hand it in under a name, "
            "in the mapping of the step that holds this, or write literal(...) where the text itself is meant"
        )

    def _misspelt(self, path: str, earlier: Mapping[str, Any]) -> UnresolvedReference | None:
        """Return why ``path`` cannot be meant as a text: it is an output of a step, but for a slip in its name."""
        name, _, field = path.rpartition(".")
        close = closest(name, earlier) if name.isidentifier() and len(earlier) <= _MOST_COMPARED else None
        step = None if close is None else earlier[close]
        if step is None or field not in (step.target.outputs() or {}):
            return None
        return UnresolvedReference(
            f"there is no step {name!r}; did you mean '{close}.{field}'? Write literal({path!r}) where the text itself "
            "is meant"
        )

    # -- pipelines ----------------------------------------------------------------------------------------------

    def pipeline(self, pipeline: PipelineDefinition, inputs: Any, where: str) -> ResolvedPipeline | None:
        found = pipeline.problems()
        self.problems += [f"{where}{problem}" for problem in found]
        names = None if inputs is None else frozenset(inputs)
        none = ChainDefinition()
        branches = []
        for branch in pipeline.branches:
            before = f"{where}branch {branch.name!r}: "
            sources = None
            if branch.mapping is not None:
                sources = {key: self._source(value, none, {}, names) for key, value in branch.mapping.items()}
            step = self._branch(branch.name, branch.target, sources, names, before)
            if step is not None:
                branches.append(ResolvedBranch(branch, step, sources))
        return ResolvedPipeline(pipeline, tuple(branches))

    def _branch(self, name: str, target: Any, sources: Any, names: Any, where: str) -> Resolved | None:
        resolved = self.target(target, _passed(target, sources, names), where)
        if sources is None or resolved is None:
            return resolved  # what it lacks matters only where it is chosen
        for key, source in sources.items():
            for part in parts(source):
                if isinstance(part, UnresolvedReference):
                    self.problems.append(f"{where}{key}: {part.reason}")
        if isinstance(resolved, ResolvedSignature):
            self._check_fields(resolved, sources, {}, None, names, where)
        return resolved


def _passed(target: Any, sources: Mapping[str, Any] | None, names: frozenset[str] | None) -> frozenset[str] | None:
    """Return the names of what a target is given: by its mapping, else those of the initial inputs that it declares."""
    if sources is not None:
        return frozenset(sources)
    if names is not None and isinstance(target, ChainDefinition) and target.inputs is not None:
        return names & frozenset(target.inputs)
    return names
