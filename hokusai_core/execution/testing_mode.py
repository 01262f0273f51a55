"""Answers of testing mode: typed, deterministic, and from the signature's examples where the inputs match one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.signatures import sample_value

if TYPE_CHECKING:
    from hokusai_core.signatures import FieldSpec, SignatureSpec

__all__ = ["sample_outputs"]


def sample_outputs(spec: SignatureSpec, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return outputs without a language model.

    Args:
        spec: the signature.
        inputs: bound inputs.

    Returns:
        The outputs of the first example with equal inputs, else a value for every output that fits its type and
        constraints and depends on nothing but the field, the examples and, where it is a choice, the inputs.
    """
    binder = spec.binder  # examples are bound like inputs, so that spelling does not matter
    for example in spec.examples:
        if not binder.problems(example["inputs"]) and binder.bind(example["inputs"]) == dict(inputs):
            outputs, problems = spec.codec.coerce(copy.deepcopy(example["outputs"]))  # the caller may change them
            if not problems:
                return outputs
    examples = [example["outputs"] for example in spec.examples]
    return {
        name: _choice(field, inputs) if field.choices_from else sample_value(field, examples)
        for name, field in spec.outputs.items()
    }


def _choice(field: FieldSpec, inputs: Mapping[str, Any]) -> Any:
    first = inputs[str(field.choices_from)][0]
    return [first] if field.shape.kind == "list" else first
