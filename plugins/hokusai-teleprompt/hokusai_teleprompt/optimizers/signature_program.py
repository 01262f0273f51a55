"""What optimizers of DSPy work on: a signature as a program, or a program with its predictors."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, Union, get_args, get_origin

import dspy
from attrs import evolve

from hokusai_core import BaseSignature
from hokusai_core.plugin_api import Candidate, OptimizationExample, SignatureSpec, jsonable, predictor_states
from hokusai_teleprompt.study.candidate_search import candidate_key

__all__ = ["FieldNames", "ModuleProgram", "SignatureProgram"]

#: Narrowed signatures that are kept, because making one takes some milliseconds.
_KEPT = 64


class FieldNames:
    """The names of the fields of a signature, and their names in DSPy.

    Args:
        spec: the signature.
        program: whether a program runs it, which takes and gives fields under their own names.
    """

    def __init__(self, spec: SignatureSpec, *, program: bool = False) -> None:
        self.spec, self.program = spec, program
        self.signature: Any = BaseSignature.from_spec(spec).to_dspy()
        self.inputs = dict(zip(spec.inputs, spec.inputs if program else self.signature.input_fields, strict=True))
        self.outputs = dict(zip(spec.outputs, spec.outputs if program else self.signature.output_fields, strict=True))
        self._back = {safe: name for name, safe in {**self.inputs, **self.outputs}.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it never changes, and optimizers copy programs often

    def example(self, example: OptimizationExample) -> Any:
        """Return an example as DSPy takes it. Optional inputs that are not given stay out of the prompt."""
        inputs = self.input_values(example.inputs)
        outputs = {self.outputs[name]: value for name, value in example.outputs.items()}
        return dspy.Example(**inputs, **outputs).with_inputs(*inputs)

    def input_values(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return bound inputs with their names and values in a prompt; a program takes them as they are."""
        spec = self.spec
        if self.program:
            return dict(inputs)
        return {
            self.inputs[name]: jsonable(value) if name in spec.attrs_fields else value
            for name, value in inputs.items()
            if value is not None or spec.inputs[name].required
        }

    def outputs_of(self, prediction: Any) -> dict[str, Any]:
        """Return the outputs of a prediction by their names in the signature."""
        given = dict(prediction.items()) if hasattr(prediction, "items") else {}
        return {name: given[safe] for name, safe in self.outputs.items() if safe in given}

    def demo(self, demo: Any) -> dict[str, Any]:
        """Return a demo as the signature keeps it: plain values and media, without those of sensitive fields."""
        values = {self._back[safe]: value for safe, value in dict(demo).items() if safe in self._back}
        return {
            item.name: values[item.name] if item.involves_media else jsonable(values[item.name])
            for item in self.spec.fields
            if values.get(item.name) is not None and not item.sensitive
        }


class SignatureProgram(dspy.Module):
    """A predictor for a signature. If an output is chosen from an input, its type is narrowed for each call.

    Args:
        names: the signature's names.
        demos: demos to begin with.
    """

    def __init__(self, names: FieldNames, demos: Any = ()) -> None:
        super().__init__()
        self.names = names
        self.narrowed: dict[Any, Any] = {}
        self.predict = dspy.Predict(names.signature)
        self.predict.demos = list(demos)
        #: What it has at the beginning of a search; a text, so that copies keep it.
        self.start = candidate_key(self.candidate())

    def forward(self, **inputs: Any) -> Any:
        """Predict the outputs."""
        choices = {
            self.names.outputs[name]: tuple(dict.fromkeys(inputs[self.names.inputs[item.choices_from]]))
            for name, item in self.names.spec.outputs.items()
            if item.choices_from
        }
        if not choices:
            return self.predict(**inputs)
        return self.predict(signature=self._narrow(choices), **inputs)

    def candidate(self, label: str = "") -> Candidate:
        """Return the present instructions and demos as a candidate."""
        names, spec = self.names, self.names.spec
        instructions = self.predict.signature.instructions
        if instructions == names.signature.instructions:  # DSPy changes white space, and writes some if there are none
            instructions = spec.instructions
        demos = [names.demo(demo) for demo in self.predict.demos]
        shown = tuple(demo for demo in demos if demo.keys() & spec.outputs.keys())
        return Candidate(instructions, shown, label=label)

    def _narrow(self, choices: dict[str, tuple[str, ...]]) -> Any:
        signature = self.predict.signature
        key = (signature, tuple(choices.items()))
        if key not in self.narrowed:
            if len(self.narrowed) >= _KEPT:
                self.narrowed.clear()
            for name, texts in choices.items():
                annotation = _narrowed(signature.output_fields[name].annotation, texts)
                signature = signature.with_updated_fields(name, type_=annotation)
            self.narrowed[key] = signature
        return self.narrowed[key]


def _narrowed(annotation: Any, choices: tuple[str, ...]) -> Any:
    literal: Any = Literal.__getitem__(choices)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return list[literal]
    if origin in (Union, types.UnionType) and type(None) in arguments:
        return literal | None
    return literal


class ModuleProgram(dspy.Module):
    """A program of several predictors, each of which is improved.

    Args:
        names: the names of the fields of the whole.
        module: the program; it is copied.
        keep_demos: whether its predictors keep the demos that they have.
        ran: is called with the names of the predictors that ran on an example.
    """

    def __init__(
        self,
        names: FieldNames,
        module: Any,
        *,
        keep_demos: bool,
        ran: Callable[[Iterable[str]], None] = lambda names: None,
    ) -> None:
        super().__init__()
        self.names, self.module, self.ran = names, module.deepcopy(), ran
        for predictor in () if keep_demos else self.module.predictors():
            predictor.demos = []
        self.start = candidate_key(self.candidate())

    def forward(self, **inputs: Any) -> Any:
        """Run the program."""
        around, own = dspy.settings.trace, list[Any]()
        try:
            with dspy.context(trace=own):
                return self.module(**inputs)
        finally:
            names = {id(predictor): name for name, predictor in self.module.named_predictors()}
            self.ran(names[id(predictor)] for predictor, *_ in own if id(predictor) in names)
            if around is not None:
                around.extend(own)

    def candidate(self, label: str = "") -> Candidate:
        """Return the present instructions and demos of the predictors as a candidate."""
        states = predictor_states(self.module)
        if self.names.spec.sensitive:  # an inner field may repeat what a sensitive one says
            states = {name: evolve(state, demos=()) for name, state in states.items()}
        return Candidate(self.names.spec.instructions, label=label, predictors=states)
