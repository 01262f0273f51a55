"""SignatureProgram: a signature as the DSPy program that optimizers work on. FieldNames converts back."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Self, Union, get_args, get_origin

import dspy

from hokusai_core import BaseSignature
from hokusai_core.plugin_api import Candidate, OptimizationExample, SignatureSpec, jsonable

__all__ = ["FieldNames", "SignatureProgram"]

#: Narrowed signatures that are kept, because making one takes some milliseconds.
_KEPT = 64


class FieldNames:
    """The names of the fields of a signature, and their names in DSPy.

    Args:
        spec: the signature.
    """

    def __init__(self, spec: SignatureSpec) -> None:
        self.spec = spec
        self.signature: Any = BaseSignature.from_spec(spec).to_dspy()
        self.inputs = dict(zip(spec.inputs, self.signature.input_fields, strict=True))
        self.outputs = dict(zip(spec.outputs, self.signature.output_fields, strict=True))
        self._back = {safe: name for name, safe in {**self.inputs, **self.outputs}.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it never changes, and optimizers copy programs often

    def example(self, example: OptimizationExample) -> Any:
        """Return an example as DSPy takes it. Optional inputs that are not given stay out of the prompt."""
        inputs = self.input_values(example.inputs)
        outputs = {self.outputs[name]: value for name, value in example.outputs.items()}
        return dspy.Example(**inputs, **outputs).with_inputs(*inputs)

    def input_values(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return bound inputs with their names and values in a prompt."""
        spec = self.spec
        return {
            self.inputs[name]: jsonable(value) if name in spec.attrs_fields else value
            for name, value in inputs.items()
            if value is not None or spec.inputs[name].required
        }

    def outputs_of(self, prediction: Any) -> dict[str, Any]:
        """Return the outputs of a prediction by their names in the signature."""
        given = dict(prediction.items())
        return {name: given[safe] for name, safe in self.outputs.items() if safe in given}

    def demo(self, demo: Any) -> dict[str, Any]:
        """Return a demo as the signature keeps it: plain values, without those of sensitive fields."""
        values = {self._back[safe]: value for safe, value in dict(demo).items() if safe in self._back}
        return {
            item.name: jsonable(values[item.name])
            for item in self.spec.fields
            if values.get(item.name) is not None and not item.sensitive
        }

    def candidate(self, program: Any, *, score: float | None = None, label: str = "") -> Candidate:
        """Return the instructions and demos of a program as a candidate."""
        predictor = program.predictors()[0]
        instructions = predictor.signature.instructions
        if (
            instructions == self.signature.instructions
        ):  # DSPy changes white space, and invents instructions if there are none
            instructions = self.spec.instructions
        demos = [self.demo(demo) for demo in predictor.demos]
        shown = [demo for demo in demos if demo.keys() & self.spec.outputs.keys()]
        return Candidate(instructions, tuple(shown), score, label)


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
