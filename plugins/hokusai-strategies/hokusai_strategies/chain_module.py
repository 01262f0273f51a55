"""ChainModule: runs the steps of a chain, each with a module of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Any, Self

import dspy

from hokusai_core.errors import CompositionError, ConfigurationError, OutputError
from hokusai_core.plugin_api import SignatureSpec, StrategyTask, call_parameters, condition_holds, with_predictor_states
from hokusai_strategies.chain_steps import ChainStep, problems_of

__all__ = ["ChainModule"]


class _Plan:
    """The steps with their tasks; shared by all copies of a module, as it never changes."""

    def __init__(
        self,
        task: StrategyTask,
        steps: Sequence[ChainStep],
        strategies: Mapping[str, Any],
        programs: Mapping[str, Any],
        conditions: Mapping[str, Any],
    ) -> None:
        self.task, self.steps = task, steps
        self.strategies, self.programs, self.conditions = strategies, programs, conditions
        self.leaves = [leaf for step in steps for leaf in step.leaves()]
        self.parts = {leaf.key: task.part(leaf.own_spec) for leaf in self.leaves}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def module(self, step: ChainStep) -> Any:
        """Return the module of a step, with the demos of its signature and what was found for its predictors."""
        spec, part = step.own_spec, self.parts[step.key]
        if step.key in self.programs:
            module = self.programs[step.key].deepcopy()  # it is shared with others
        else:
            strategy = self.strategies.get(step.key)
            module = dspy.Predict(part.signature) if strategy is None else strategy.build(part)
            for _, predictor in module.named_predictors() if part.demos else ():
                if part.signature.fields.keys() <= predictor.signature.fields.keys():
                    predictor.demos = list(part.demos)
        return with_predictor_states(module, spec.predictors, spec.name) if spec.predictors else module


class ChainModule(dspy.Module):
    """Runs the steps of a chain.

    Args:
        plan: the steps and their tasks.
    """

    @classmethod
    def of(cls, task: StrategyTask, steps: Sequence[Any], **tables: Mapping[str, Any]) -> ChainModule:
        """Return the module of a chain as data.

        Args:
            task: the task of the whole.
            steps: the steps as the strategy ``chain`` takes them.
            tables: its strategies, programs and conditions.

        Raises:
            ConfigurationError: a step cannot be read.
        """
        read = [ChainStep.read(item) for item in steps]
        problems = list(problems_of(task.spec, read, tables))
        if problems:
            raise ConfigurationError(f"strategy 'chain' cannot answer {task.spec.name}: {'; '.join(problems)}")
        return cls(_Plan(task, read, **tables))

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self.plan = plan
        self.steps = {leaf.key: plan.module(leaf) for leaf in plan.leaves}

    def forward(self, **values: Any) -> Any:
        """Return the outputs of the last step, and those of every step beside them."""
        task = self.plan.task
        #: What each step gave, and each branch that ran.
        results: dict[str, dict[str, Any]] = {}
        initial = task.inputs(values)
        outputs: dict[str, Any] = {}
        for step in self.plan.steps:
            outputs = results[step.key] = self._run(step, initial, results)
        prediction = {task.names[name]: outputs.get(name) for name in task.spec.outputs}
        return dspy.Prediction(**{"steps": results, **prediction})

    def _run(self, step: ChainStep, inputs: Mapping[str, Any], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Run a step, or a branch of one, whose inputs come from ``inputs`` and ``results``."""
        given = {
            name: _value(form, inputs, results)
            for name, form in step.inputs.items()
            if "input" not in form or form["input"] in inputs
        }
        if step.branches:
            branch = self._branch(step, given)
            outputs = results[branch.key] = self._run(branch, given, results)
            return outputs
        with _parameters(step.own_spec):
            return self._run_module(step, given, results)

    def _run_module(
        self, step: ChainStep, given: Mapping[str, Any], results: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        part, module = self.plan.parts[step.key], self.steps[step.key]
        if step.key in self.plan.programs:
            return _run_program(part, module, given)
        signature, values = part.call(part.bind(given))
        if signature is not part.signature and isinstance(module, dspy.Predict):
            prediction = module(signature=signature.with_instructions(module.signature.instructions), **values)
        else:
            prediction = module(**values)
        if isinstance(module, ChainModule):
            results |= {f"{step.key}.{key}": outputs for key, outputs in prediction.steps.items()}
        return part.outputs(values, prediction)

    def _branch(self, step: ChainStep, given: Mapping[str, Any]) -> ChainStep:
        """Return the branch whose turn it is."""
        try:
            for branch in step.branches:
                condition = self.plan.conditions.get(branch.key)
                if condition is None or condition_holds(branch.name, condition, given):
                    return branch
        except CompositionError as error:
            raise OutputError(f"step {step.key!r}: {error}", retryable=False) from error.__cause__
        names = ", ".join(repr(branch.name) for branch in step.branches)
        raise OutputError(
            f"step {step.key!r}: none of the conditions {names} holds, and there is no otherwise()", retryable=False
        )


def _parameters(spec: SignatureSpec) -> AbstractContextManager[None]:
    """Return a context in which the language model has the parameters of a step."""
    if not spec.parameters:
        return nullcontext()
    lm = dspy.settings.lm
    context: AbstractContextManager[None] = dspy.context(lm=lm.copy(**call_parameters(lm, spec.parameters)))
    return context


def _run_program(part: StrategyTask, module: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of a program, which takes and gives fields under their own names."""
    spec, inputs = part.spec, part.bind(given)
    prediction = module(**inputs) if hasattr(type(module), "forward") else _awaited(module, inputs)
    if not isinstance(prediction, dspy.Prediction):
        raise OutputError(
            f"program {spec.name!r} returned {type(prediction).__name__}; its forward() must return a dspy.Prediction",
            retryable=False,
        )
    said = dict(prediction.items())
    for name, item in spec.outputs.items():
        if name not in said and item.shape.optional and item.required:
            said[name] = None
        elif isinstance(said.get(name), str) and item.shape.optional and item.shape.kind != "any":
            said[name] = None if said[name].strip().lower() in ("none", "null") else said[name]
    outputs, problems = spec.codec.settle(inputs, said)
    if problems:
        raise OutputError(f"the answer does not fit {spec.name}: " + "; ".join(map(str, problems)))
    return outputs


def _awaited(module: Any, inputs: Mapping[str, Any]) -> Any:
    """Return what a program gives that can only be awaited; this thread may have an event loop of its own."""
    context = copy_context()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, lambda: asyncio.run(module.acall(**inputs))).result()


def _value(form: Mapping[str, Any], inputs: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Any:
    if "value" in form:
        return form["value"]
    if "input" in form:
        return inputs[form["input"]]
    if "step" in form:
        step, name = form["step"], form["field"]
        if name not in results[step]:
            raise OutputError(
                f"step {step!r} gave no output {name!r} this time; it gave {', '.join(results[step])}", retryable=False
            )
        return results[step][name]
    if "list" in form:
        return [_value(item, inputs, results) for item in form["list"]]
    return {name: _value(item, inputs, results) for name, item in form["mapping"].items()}
