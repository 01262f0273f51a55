"""Checks of a definition: every problem of a signature, found before it is run and reported at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.field_types import ALLOWED, COLLECTIONS, TEXT_FORMS, Shape, UnsupportedTypeError
from hokusai_core.signatures.fields import FieldSpec
from hokusai_core.signatures.plain_values import has_plain_type
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.suggestions import did_you_mean

__all__ = ["definition_problems", "raise_problems"]

#: Names that results and calls use themselves.
RESERVED = frozenset({"execution_id"})

_SIGNATURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SIZED = ("str", "dict", "any", "literal", "enum", *sorted(COLLECTIONS))
_NUMERIC = ("int", "float", "decimal", "any")
_ORDERED = (*_NUMERIC, "date", "datetime", "time", "timedelta")


def raise_problems(name: str, problems: list[str]) -> None:
    """Raise SignatureDefinitionError where there are problems."""
    if problems:
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise SignatureDefinitionError(f"signature {name!r} cannot be used:{lines}")


def definition_problems(spec: SignatureData) -> list[str]:
    """Return every problem of ``spec``, each in one line that says what to do."""
    problems = list(_metadata_problems(spec))
    if not spec.fields and not spec.open_outputs:
        return [*problems, "it has no fields; add at least one OutputField"]
    if not spec.open_outputs and not any(item.role == "output" for item in spec.fields):
        problems.append("it has no output; declare one with OutputField")
    problems += _name_problems(spec)
    for item in spec.fields:
        problems += (f"field {item.name!r}: {problem}" for problem in _field_problems(item, spec))
    return problems


def _metadata_problems(spec: SignatureData) -> Iterator[str]:
    if not isinstance(spec.name, str) or not _SIGNATURE_NAME.fullmatch(spec.name):
        yield f"name {spec.name!r}: use letters, digits, '_', '.' and '-', and no digit first"
    for name in ("instructions", "version", "category"):
        if not isinstance(getattr(spec, name), str):
            yield f"{name} must be text, not {type(getattr(spec, name)).__name__}"
    for name in ("tags", "aliases"):
        if any(not isinstance(item, str) or not item for item in getattr(spec, name)):
            yield f"{name} must be a tuple of texts"
    if spec.deprecated is not None and not isinstance(spec.deprecated, str):
        yield "deprecated must be True or a text that says what to use instead"
    ttl = spec.cache_ttl
    if ttl is not None and (
        isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl <= sys.float_info.max
    ):
        yield "cache_ttl must be seconds, a finite number above zero, or None"
    for number, example in enumerate(spec.examples):
        if not isinstance(example, Mapping) or set(example) != {"inputs", "outputs"}:
            yield f'examples[{number}] must be a mapping {{"inputs": {{...}}, "outputs": {{...}}}}'
            continue
        for part, known in (("inputs", spec.inputs), ("outputs", spec.outputs)):
            if not isinstance(example[part], Mapping):
                yield f"examples[{number}][{part!r}] must be a mapping"
                continue
            names = {name for item in known.values() for name in (item.name, *item.aliases)}
            yield from (
                f"examples[{number}][{part!r}]: unknown field {name!r}{did_you_mean(str(name), names)}"
                for name in example[part]
                if name not in names
            )
    nearest = spec.nearest_demos
    if nearest is not None and (type(nearest) is not int or nearest < 1):
        yield "nearest_demos must be a whole number of at least 1, or None for all demos"
    for number, demo in enumerate(spec.demos):
        if not isinstance(demo, Mapping):
            yield f"demos[{number}] must be a mapping of field name to value"


def _name_problems(spec: SignatureData) -> Iterator[str]:
    seen: dict[str, str] = {}
    for item in spec.fields:
        for name, kind in ((item.name, "field"), *((alias, "alias") for alias in item.aliases)):
            label = f"{kind} {name!r}" if kind == "field" else f"alias {name!r} of field {item.name!r}"
            if not isinstance(name, str) or not name.isidentifier():
                yield f"{label}: the name must be a Python identifier"
                continue
            if name.startswith("_"):
                yield f"{label}: the name must not begin with an underscore"
            if name in RESERVED:
                yield f"{label}: the name is reserved for the execution itself"
            if name in seen:
                yield f"{label}: the name is taken by {seen[name]}"
            seen.setdefault(name, label)


def _field_problems(item: FieldSpec, spec: SignatureData) -> Iterator[str]:
    if item.role not in ("input", "output"):
        yield f"role {item.role!r}: a field is an 'input' or an 'output'"
    for name in ("description", "prefix", "pattern", "choices_from"):
        value = getattr(item, name)
        if not isinstance(value, str) and (value is not None or name == "description"):
            yield f"{name} must be text, not {type(value).__name__}"
    if item.role == "output" and item.aliases:
        yield "only an input can have aliases"
    try:
        shape = item.shape
    except UnsupportedTypeError as error:
        yield f"type {error}. Allowed are {ALLOWED}"
        return
    if item.role == "output" and shape.involves("media", "history"):
        yield (
            f"type {item.annotation.__name__ if isinstance(item.annotation, type) else item.annotation}: media and "
            "conversations are inputs; a language model answers in text"
        )
        return
    problems = list(_model_problems(shape)) or list(_constraint_problems(item, shape))
    yield from problems
    if item.choices_from is not None:
        yield from _choices_problems(item, shape, spec)
    if item.role == "output" and not item.required and item.default is None and not shape.optional:
        yield "an output that may be left out needs a default that fits, or an Optional type"
    if not item.required and item.default is not None and not problems:
        yield from _default_problems(item)


def _model_problems(shape: Shape) -> Iterator[str]:
    if shape.involves("model", "attrs"):
        from hokusai_core.signatures.model_fields import model_problems

        yield from (f"type {problem}. Allowed are {ALLOWED}" for problem in model_problems(shape))


#: Constraint -> kinds of types that it suits, and those in words.
_SUITS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("min_length", "max_length"), (_SIZED, "texts, lists and mappings")),
    **dict.fromkeys(("ge", "le", "gt", "lt"), (_ORDERED, "numbers, dates, times and durations")),
    "multiple_of": (_NUMERIC, "numbers"),
    **dict.fromkeys(("max_digits", "decimal_places"), (("decimal",), "decimal numbers")),
    "pattern": (("str", "any"), "texts"),
}


def _constraint_problems(item: FieldSpec, shape: Shape) -> Iterator[str]:
    kinds = {member.kind for member in shape.members}
    for name, (suited, what) in _SUITS.items():
        value = getattr(item, name)
        if value is None:
            continue
        if not _is_constraint(name, value, shape):
            yield f"{name} must be a {'text' if name == 'pattern' else 'number'}, not {type(value).__name__}"
            return
        if not kinds.intersection(suited):
            yield f"{name} suits {what} only"
    for name in ("min_length", "max_length", "max_digits", "decimal_places"):
        if (getattr(item, name) or 0) < 0:
            yield f"{name} must not be negative"
    if item.multiple_of is not None and not item.multiple_of > 0:
        yield "multiple_of must be above zero"
    for low, high in (("min_length", "max_length"), ("ge", "le"), ("gt", "lt"), ("ge", "lt"), ("gt", "le")):
        lowest, highest = getattr(item, low), getattr(item, high)
        if lowest is not None and highest is not None and _is_above(lowest, highest):
            yield f"{low} is above {high}; no value fits"
    if item.pattern is not None:
        try:
            re.compile(item.pattern)
        except re.error as error:
            yield f"pattern is not a regular expression: {error}"


def _is_constraint(name: str, value: Any, shape: Shape) -> bool:
    if name == "pattern":
        return isinstance(value, str)
    if isinstance(value, bool) or value != value:  # NaN limits nothing
        return False
    if isinstance(value, int) or name not in ("ge", "le", "gt", "lt", "multiple_of"):
        return isinstance(value, int)
    from decimal import Decimal  # few limits are one, and every command that lists signatures checks them

    if isinstance(value, (float, Decimal)):
        return True
    return name != "multiple_of" and any(
        member.kind in TEXT_FORMS and isinstance(value, member.cls) for member in shape.members
    )


def _is_above(lowest: Any, highest: Any) -> bool:
    try:
        return bool(lowest > highest)
    except TypeError:  # with and without a time zone: no value can be compared with both
        return True


def _choices_problems(item: FieldSpec, shape: Shape, spec: SignatureData) -> Iterator[str]:
    if item.role != "output":
        yield "choices_from is for outputs"
    source = spec.inputs.get(str(item.choices_from))
    if source is None:
        yield f"choices_from={item.choices_from!r} is not an input{did_you_mean(str(item.choices_from), spec.inputs)}"
    elif not _is_list_of_str(source):
        yield f"choices_from: input {source.name!r} must be a list[str]"
    elif not source.required and not source.default:
        yield f"choices_from: input {source.name!r} must be required, or its default must hold choices"
    texts = shape.args[0] if shape.kind == "list" else shape
    if not {member.kind for member in texts.members} <= {"str", "null"}:
        yield "choices_from suits outputs of type str or list[str]"


def _is_list_of_str(source: FieldSpec) -> bool:
    try:
        shape = source.shape
    except UnsupportedTypeError:
        return True  # reported as a problem of that field already
    lists = [member for member in shape.members if member.kind == "list"]
    return bool(lists) and all(member.args[0].kind == "str" for member in lists)


def _default_problems(item: FieldSpec) -> Iterator[str]:
    value = item.default
    if not has_plain_type(item.shape, value):
        from hokusai_core.signatures.scalar_input import CoercionError

        try:
            value = item.coerce(value)
        except CoercionError as error:
            yield f"default: {error}"
            return
    violation = item.constraints.violation(value)
    if violation:
        yield f"default: {violation[1]}"
