"""ChainModule: runs the steps of a chain, each with a module of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import dspy
from attrs import frozen

from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.plugin_api import SignatureSpec, StrategyTask, did_you_mean, with_predictor_states

__all__ = ["ChainModule"]

#: Forms of a value, each a mapping with this key.
_FORMS = frozenset({"input", "step", "value", "list", "mapping"})


@frozen(eq=False)
class _Step:
    """A step.

    Args:
        name: its name.
        spec: its signature.
        inputs: input field -> value.
    """

    name: str
    spec: SignatureSpec
    inputs: Mapping[str, Any]

    @classmethod
    def read(cls, data: Any) -> _Step:
        if not isinstance(data, Mapping) or set(data) != {"name", "signature", "inputs"}:
            raise ConfigurationError("strategy 'chain': a step has a name, a signature and inputs")
        if not isinstance(data["inputs"], Mapping):
            raise ConfigurationError(f"strategy 'chain': step {data['name']!r}: inputs: expected a mapping")
        try:
            return cls(str(data["name"]), SignatureSpec.from_dict(data["signature"]), dict(data["inputs"]))
        except HokusaiError as error:
            raise ConfigurationError(f"strategy 'chain': step {data['name']!r}: {error}") from error


class _Plan:
    """The steps with their tasks; shared by all copies of a module, as it never changes."""

    def __init__(self, task: StrategyTask, steps: Sequence[_Step], strategies: Mapping[str, Any]) -> None:
        self.task, self.steps, self.strategies = task, steps, strategies
        self.parts = {step.name: task.part(step.spec) for step in steps}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def module(self, step: _Step) -> Any:
        """Return the module of a step, with the demos of its signature and what was found for its predictors."""
        part, strategy = self.parts[step.name], self.strategies.get(step.name)
        module = dspy.Predict(part.signature) if strategy is None else strategy.build(part)
        for _, predictor in module.named_predictors() if part.demos else ():
            if part.signature.fields.keys() <= predictor.signature.fields.keys():
                predictor.demos = list(part.demos)
        return with_predictor_states(module, step.spec.predictors, step.spec.name) if step.spec.predictors else module


class ChainModule(dspy.Module):
    """Runs the steps of a chain.

    Args:
        plan: the steps and their tasks.
    """

    @classmethod
    def of(cls, task: StrategyTask, steps: Sequence[Any], strategies: Mapping[str, Any]) -> ChainModule:
        """Return the module of a chain as data.

        Args:
            task: the task of the whole.
            steps: the steps as the strategy ``chain`` takes them.
            strategies: name of a step -> the strategy that answers it.

        Raises:
            ConfigurationError: a step cannot be read; says why.
        """
        read = [_Step.read(item) for item in steps]
        problems = list(_problems(task.spec, read, strategies))
        if problems:
            raise ConfigurationError(f"strategy 'chain' cannot answer {task.spec.name}: {'; '.join(problems)}")
        return cls(_Plan(task, read, strategies))

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self.plan = plan
        self.steps = {step.name: plan.module(step) for step in plan.steps}

    def forward(self, **values: Any) -> Any:
        """Return the outputs of the last step, and those of every step beside them."""
        task = self.plan.task
        results: dict[str, dict[str, Any]] = {}
        initial = task.inputs(values)
        outputs: dict[str, Any] = {}
        for step in self.plan.steps:
            given = {
                name: _value(form, initial, results)
                for name, form in step.inputs.items()
                if "input" not in form or form["input"] in initial
            }
            outputs = results[step.name] = self._run(step, given)
        prediction = {task.names[name]: value for name, value in outputs.items()}
        return dspy.Prediction(**{"steps": results, **prediction})

    def _run(self, step: _Step, given: Mapping[str, Any]) -> dict[str, Any]:
        part, module = self.plan.parts[step.name], self.steps[step.name]
        signature, values = part.call(part.bind(given))
        if signature is not part.signature and isinstance(module, dspy.Predict):
            prediction = module(signature=signature.with_instructions(module.signature.instructions), **values)
        else:
            prediction = module(**values)
        return part.outputs(values, prediction)


def _problems(spec: SignatureSpec, steps: Sequence[_Step], strategies: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the steps, before any of them is run."""
    earlier: dict[str, SignatureSpec] = {}
    for step in steps:
        where = f"step {step.name!r}"
        if step.name in earlier:
            yield f"{where} is there twice"
        for name, form in step.inputs.items():
            if name not in step.spec.inputs:
                yield f"{where} has no input {name!r}{did_you_mean(name, step.spec.inputs)}"
            yield from (f"{where}: {name}: {problem}" for problem in _problems_of_form(form, spec, earlier))
        given = step.inputs.keys()
        yield from (
            f"{where} lacks {name}" for name, item in step.spec.inputs.items() if item.required and name not in given
        )
        earlier[step.name] = step.spec
    yield from (f"there is no step {name!r} that has a strategy" for name in strategies if name not in earlier)
    yield from (
        f"step {steps[-1].name!r} gives no {name}" for name in spec.outputs if name not in steps[-1].spec.outputs
    )


def _problems_of_form(form: Any, spec: SignatureSpec, earlier: Mapping[str, SignatureSpec]) -> Iterator[str]:
    kinds = _FORMS & form.keys() if isinstance(form, Mapping) else ()
    if len(kinds) != 1 or (set(form) != {*kinds} and set(form) != {"step", "field"}):
        yield f"a value has one of {', '.join(sorted(_FORMS))}, not {form!r}"
    elif "input" in form:
        if form["input"] not in spec.inputs:
            yield f"{spec.name} has no input {form['input']!r}"
    elif "step" in form:
        if form["step"] not in earlier:
            yield f"there is no step {form['step']!r} before it"
        elif form.get("field") not in earlier[form["step"]].outputs:
            yield f"step {form['step']!r} has no output {form.get('field')!r}"
    else:
        inner = form.get("list") or (form.get("mapping") or {}).values()
        for item in inner if "value" not in form else ():
            yield from _problems_of_form(item, spec, earlier)


def _value(form: Mapping[str, Any], inputs: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Any:
    if "value" in form:
        return form["value"]
    if "input" in form:
        return inputs[form["input"]]
    if "step" in form:
        return results[form["step"]][form["field"]]
    if "list" in form:
        return [_value(item, inputs, results) for item in form["list"]]
    return {name: _value(item, inputs, results) for name, item in form["mapping"].items()}
