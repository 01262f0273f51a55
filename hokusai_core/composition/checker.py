"""Checks a whole chain or pipeline before any call, and works out what feeds what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.composition.chain import SignatureChain, Step
from hokusai_core.composition.compatibility import input_problems, never_fits
from hokusai_core.composition.conditional import ConditionalPipeline
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
from hokusai_core.errors import CompositionError, SignatureError
from hokusai_core.suggestions import closest, did_you_mean, enumerate_names

if TYPE_CHECKING:
    from hokusai_core.composition.targets import Resolved
    from hokusai_core.executor import Executor

__all__ = ["resolve_chain", "resolve_pipeline", "resolve_target"]

#: Deeper nesting than anybody writes; a chain that holds itself by a detour ends here.
_DEEPEST = 20


def resolve_chain(
    chain: SignatureChain, executor: Executor, initial_inputs: Mapping[str, Any] | Iterable[str] | None
) -> ResolvedChain:
    """Return the chain with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(executor)
    resolved: ResolvedChain = checker.checked(checker.chain(chain, initial_inputs, ""), f"chain {chain.name!r}")
    return resolved


def resolve_pipeline(
    pipeline: ConditionalPipeline, executor: Executor, inputs: Mapping[str, Any] | Iterable[str] | None
) -> ResolvedPipeline:
    """Return the pipeline with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(executor)
    resolved: ResolvedPipeline = checker.checked(checker.pipeline(pipeline, inputs, ""), f"pipeline {pipeline.name!r}")
    return resolved


def resolve_target(target: Any, executor: Executor, inputs: Any, what: str) -> Resolved:
    """Return a signature, chain or pipeline that is to run on ``inputs``, with everything worked out.

    Raises:
        CompositionError: listing every problem.
    """
    checker = _Checker(executor)
    resolved = checker.target(target, inputs, "")
    if isinstance(resolved, ResolvedSignature):
        checker.problems += input_problems(resolved.spec, inputs, frozenset())
    checked: Resolved = checker.checked(resolved, what)
    return checked


class _Checker:
    """Collects every problem instead of stopping at the first."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._depth = 0
        self._around: list[SignatureChain] = []
        self.problems: list[str] = []

    def checked(self, resolved: Any, what: str) -> Any:
        if self.problems or resolved is None:
            lines = "".join(f"\n- {problem}" for problem in self.problems)
            raise CompositionError(f"{what} cannot work; nothing was called:{lines}")
        return resolved

    def target(self, target: Any, inputs: Any, where: str) -> Resolved | None:
        """Settle what a step, branch or task runs on inputs of which the names, or the values too, are known."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                self.problems.append(f"{where}it is nested more than {_DEEPEST} deep, or holds itself")
                return None
            if isinstance(target, SignatureChain):
                return self.chain(target, inputs, where)
            if isinstance(target, ConditionalPipeline):
                return self.pipeline(target, inputs, where)
            return ResolvedSignature(target, self._executor.services.plans.testing_plan(target).registered)
        except (SignatureError, TypeError) as error:
            self.problems.append(f"{where}{error}")
            return None
        finally:
            self._depth -= 1

    # -- chains -------------------------------------------------------------------------------------------------

    def chain(self, chain: SignatureChain, inputs: Any, where: str) -> ResolvedChain | None:
        if not chain.steps:
            self.problems.append(f"{where}the chain has no steps; add some with .add(...)")
            return None
        names = None if inputs is None else frozenset(inputs)
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
        found = ResolvedChain(chain.name, steps)
        if names:
            self._check_names(chain, found.used_inputs(), names, where)
        return found

    def _check_names(self, chain: SignatureChain, used: frozenset[str], names: frozenset[str], where: str) -> None:
        """Find initial inputs that no step uses, where a text reads as if it meant one."""
        texts = {
            value: f"step {step.name!r}: {key}"
            for step in chain.steps.values()
            for key, value in (step.mapping or {}).items()
            if isinstance(value, str) and value.isidentifier() and value not in used
        }
        for name in sorted(names - used):
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
        given = names if sources is None else frozenset(sources)
        target = self.target(step.target, given, where)
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
        self.problems += [f"{where}{problem}" for problem in input_problems(target.spec, values, frozenset(fed))]

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
        self, value: Any, chain: SignatureChain, earlier: Mapping[str, Any], names: Any, *, top: bool = True
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

    def _inside(self, value: Any, chain: SignatureChain, earlier: Mapping[str, Any], names: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._source(item, chain, earlier, names, top=False) for key, item in value.items()}
        return [self._source(item, chain, earlier, names, top=False) for item in value]

    def _reference(self, path: str, chain: SignatureChain, earlier: Mapping[str, Any], names: Any) -> Any:
        if names is None or path in names:
            found = self._step_output(path, chain, earlier)
            return found or FromInput(path)
        found = self._step_output(path, chain, earlier)
        if found is not None:
            return found
        known = [
            *names,
            *(f"{name}.{field}" for name, step in earlier.items() if step for field in step.target.outputs() or ()),
        ]
        return UnresolvedReference(
            f"ref({path!r}) is neither an initial input nor an output of an earlier step{did_you_mean(path, known)}; "
            f"there are {enumerate_names(known)}"
        )

    def _step_output(self, path: str, chain: SignatureChain, earlier: Mapping[str, Any]) -> Any:
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
        if step is None:  # it has a problem of its own, which is told
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
        close = closest(name, earlier) if name.isidentifier() else None
        step = None if close is None else earlier[close]
        if step is None or field not in (step.target.outputs() or {}):
            return None
        return UnresolvedReference(
            f"there is no step {name!r}; did you mean '{close}.{field}'? Write literal({path!r}) where the text itself "
            "is meant"
        )

    # -- pipelines ----------------------------------------------------------------------------------------------

    def pipeline(self, pipeline: ConditionalPipeline, inputs: Any, where: str) -> ResolvedPipeline | None:
        found = pipeline.problems()
        self.problems += [f"{where}{problem}" for problem in found]
        names = None if inputs is None else frozenset(inputs)
        none = SignatureChain()
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
        resolved = self.target(target, names if sources is None else frozenset(sources), where)
        if sources is None or resolved is None:
            return resolved  # what it lacks matters only where it is chosen
        for key, source in sources.items():
            for part in parts(source):
                if isinstance(part, UnresolvedReference):
                    self.problems.append(f"{where}{key}: {part.reason}")
        if isinstance(resolved, ResolvedSignature):
            self._check_fields(resolved, sources, {}, None, names, where)
        return resolved
