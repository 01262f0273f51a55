"""OutputCodec: converts outputs to their types, checks them, and writes and reads them as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hokusai_core.json_encoding import jsonable
from hokusai_core.results import Problem
from hokusai_core.signatures.field_types import TEXT_FORMS, Shape, walk
from hokusai_core.signatures.fields import FieldSpec, default_value
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.scalar_input import is_finite
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.signatures.value_text import is_same
from hokusai_core.suggestions import enumerate_names

__all__ = ["OutputCodec", "read_value", "write_value"]

#: First byte of texts that only the standard library writes and reads rightly. White space, so the text stays JSON.
_STDLIB = b" "
#: Kinds of values that are no texts.
_NEVER_TEXTS = frozenset({"int", "bool", "float", "null", "list", "dict"})


class OutputCodec:
    """Types, checks, writes and reads the outputs of one signature; make it once, use it from any thread.

    Outputs that a program gives beyond the fields of its signature are left as they are.

    Args:
        spec: the signature.
    """

    __slots__ = ("_by_name", "_constrained", "_exact", "_open", "_plain", "_restricted", "_spec", "_unsure")

    def __init__(self, spec: SignatureData) -> None:
        self._spec = spec
        self._open = spec.open_outputs
        self._by_name = {name: coercer(item.shape) for name, item in spec.outputs.items()}
        #: Outputs whose values may break a rule that their types do not have.
        self._restricted = {name: item for name, item in spec.outputs.items() if _is_restricted(item)}
        self._constrained = frozenset(name for name, item in spec.outputs.items() if item.constraints)
        #: Reading JSON gives every value its type back.
        self._plain = all(item.shape.plain for item in spec.outputs.values())
        #: orjson writes every value as it is; numbers may be NaN, and Any may be anything.
        self._exact = not self._open and all(
            item.shape.plain and not item.shape.involves("float", "any") for item in spec.outputs.values()
        )
        #: Members of a union whose JSON forms may be alike are read again before they are stored.
        self._unsure = [item for item in spec.outputs.values() if not item.shape.plain and _is_unsure(item.shape)]

    def coerce(self, outputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Return the outputs in their types and field order, and a problem for each that is missing or does not fit.

        What is no output of the signature is left out, unless the signature is that of a program with open outputs.
        """
        typed: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, coerce in self._by_name.items():
            try:
                if name in outputs:
                    typed[name] = coerce(outputs[name])
                elif not self._spec.outputs[name].required:
                    typed[name] = copy.deepcopy(default_value(self._spec.outputs[name]))
                elif self._spec.outputs[name].shape.optional:
                    typed[name] = None
                else:
                    problems.append(Problem(name, "missing", "is missing from the answer"))
            except CoercionError as error:
                problems.append(Problem(name, error.code, str(error)))
        if self._open:
            typed |= {name: value for name, value in outputs.items() if name not in self._by_name}
            problems += (
                Problem(name, "out_of_range", "expected finite numbers")
                for name, value in outputs.items()
                if name not in self._by_name and not is_finite(value)
            )
        return typed, problems

    def settle(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Return typed outputs, and everything that is wrong with them for an execution with these bound inputs."""
        typed, problems = self.coerce(outputs)
        for name, item in self._restricted.items():
            value = typed.get(name)
            if value is not None:
                problem = self._violation(item, value, inputs)
                if problem is not None:
                    problems.append(problem)
        return typed, problems

    def check(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[Problem]:
        """Return everything that is wrong with the outputs of an execution with these bound inputs."""
        return self.settle(inputs, outputs)[1]

    def _violation(self, item: FieldSpec, value: Any, inputs: Mapping[str, Any]) -> Problem | None:
        if type(value) is str and item.min_length != 0 and not value.strip():
            return Problem(item.name, "empty", "must not be empty")
        violation = item.constraints.violation(value) if item.name in self._constrained else None
        if violation is not None:
            code, message = violation
            seen = f"; it is {value:g}" if type(value) in (int, float) and not item.sensitive else ""
            return Problem(item.name, code, message + seen)
        if item.choices_from is not None:
            choices = inputs.get(item.choices_from) or ()
            chosen = value if isinstance(value, list) else [value]
            if any(choice not in choices for choice in chosen):
                # The choices are values of an input, which may be sensitive.
                hidden = item.choices_from in self._spec.sensitive
                shown = "" if hidden else f": {enumerate_names(str(choice) for choice in choices)}"
                return Problem(item.name, "not_a_choice", f"must be one of the given {item.choices_from}{shown}")
        return None

    def encode(self, outputs: Mapping[str, Any]) -> bytes:
        """Return the outputs as JSON text.

        Raises:
            TypeError: naming the type of a value that has no JSON form.
            ValueError: where a value is nested too deeply or contains itself, is not finite, or is of a union and would
                be read as another member of it.
        """
        plain = outputs if self._exact else jsonable(outputs)
        if not self._exact and not is_finite(plain):
            raise ValueError("NaN and infinity have no JSON form")
        for item in self._unsure:
            if item.name in plain and not is_same(self._by_name[item.name](plain[item.name]), outputs[item.name]):
                raise ValueError(f"{item.name}: the value would be read as another member of the union")
        try:
            return orjson.dumps(plain)
        except TypeError:  # a lone surrogate or an integer beyond 64 bits
            return _STDLIB + json.dumps(jsonable(outputs), separators=(",", ":"), allow_nan=False).encode()

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the typed outputs that ``encode`` wrote.

        Raises:
            ValueError: where ``data`` is no such text, or does not fit the signature any more.
        """
        outputs = json.loads(data) if data[:1] == _STDLIB else orjson.loads(data)
        if not isinstance(outputs, dict):
            raise ValueError(f"outputs of {self._spec.name!r} must be a JSON object, not {type(outputs).__name__}")
        if self._plain:
            return outputs
        typed, problems = self.coerce(outputs)
        if problems:
            raise ValueError(f"outputs of {self._spec.name!r} do not fit: {'; '.join(map(str, problems))}")
        return typed


def _is_restricted(item: FieldSpec) -> bool:
    texts = item.min_length != 0 and any(member.kind not in _NEVER_TEXTS for member in item.shape.members)
    return texts or bool(item.constraints) or item.choices_from is not None


def _is_unsure(shape: Shape) -> bool:
    """Return whether a union holds several members that are mappings in JSON, or several that are texts."""
    mappings, texts = {"dict", "model", "attrs"}, TEXT_FORMS | {"enum", "literal"}
    for part in walk(shape):
        kinds = [member.kind for member in part.members] if part.kind == "union" else []
        if sum(kind in mappings for kind in kinds) > 1 or sum(kind in texts for kind in kinds) > 1:
            return True
    return False


def read_value(field: FieldSpec, text: str, choices: Sequence[str] | None = None) -> Any:
    """Return the value that a language model means by ``text``, the text of one field of its answer.

    Args:
        field: the field.
        text: the text, without the marker of the field and the blank lines around it.
        choices: the texts that a field with ``choices_from`` may be in this call.

    Raises:
        CoercionError: the text does not fit the field's type; the message says what was expected.

    Example:
        >>> read_value(FieldSpec("words", "output", int), " 3 ")
        3
    """
    value = field.text_reader(text)
    if choices and isinstance(value, str) and value not in choices:
        # As for a Literal: models put blanks or quotes around a choice.
        return next((form for form in _trimmed(value) if form in choices), value)
    return value


def _trimmed(text: str) -> tuple[str, str]:
    stripped = text.strip()
    return stripped, stripped[1:-1] if stripped[:1] in tuple("\"'`") and stripped[:1] == stripped[-1:] else stripped


def write_value(field: FieldSpec, value: Any) -> str:
    """Return ``value`` as prompts show it; ``read_value`` reads the same value from it.

    Raises:
        CoercionError: the value does not fit the field's type, or its text would be read as another value.

    Example:
        >>> write_value(FieldSpec("note", "output", str | None), None), write_value(
        ...     FieldSpec("note", "output", str | None), "None"
        ... )
        ('None', '"None"')
    """
    return field.text_writer(value)
