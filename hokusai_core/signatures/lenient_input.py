"""Convert values of callers and language models to a field's type.

Text may stand for a list (``"a, b"``), a mapping or a model (JSON); numpy's scalars and arrays stand for the plain
values that they hold. Scalars are in ``scalar_input``. Messages name types and positions, never a value.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from itertools import cycle
from typing import Any, Final

from hokusai_core.json_encoding import without_numpy
from hokusai_core.signatures.constraints import Constraints
from hokusai_core.signatures.field_types import TEXT_FORMS, Shape
from hokusai_core.signatures.media_input import history_coercer, media_coercer
from hokusai_core.signatures.model_fields import field_names
from hokusai_core.signatures.model_values import model_coercer
from hokusai_core.signatures.scalar_input import Coercer, CoercionError, mismatch, scalar_coercer, type_name
from hokusai_core.signatures.text_json import NotJSON, parse_json
from hokusai_core.signatures.text_lists import split_list

__all__ = ["Coercer", "CoercionError", "coercer", "type_name"]

#: Kinds of items that a list in running text can hold.
_SPLIT: Final = frozenset({"str", "int", "float", "bool", "null", "literal", "enum", *TEXT_FORMS})


def coercer(shape: Shape) -> Coercer:
    """Return the function that turns values into ``shape``; it raises CoercionError for what cannot be turned."""
    coerce = _CONTAINERS.get(shape.kind, scalar_coercer)(shape)

    def without_wrappers(value: Any) -> Any:
        try:
            return coerce(value)
        except CoercionError:
            plain = without_numpy(value)
            if plain is value:
                raise
        return coerce(plain)

    return without_wrappers


def _json_or_text(text: str) -> Any:
    """Return the list or mapping that ``text`` spells out in JSON, else the text."""
    stripped = text.strip()
    if (stripped[:1], stripped[-1:]) not in (("[", "]"), ("{", "}")):
        return text
    try:
        return parse_json(stripped)
    except NotJSON as problem:
        if problem.certain:
            raise CoercionError(str(problem)) from None
        return text


def _collection(shape: Shape) -> Coercer:
    make = _COLLECTIONS[shape.kind]
    coercers = [coercer(arg) for arg in shape.args]
    fixed, is_set = shape.kind == "fixed_tuple", shape.kind in ("set", "frozenset")
    given = (list, tuple, set, frozenset) if is_set else (list, tuple)
    splits = not fixed and all(member.kind in _SPLIT for member in shape.args[0].members)
    plain_texts = shape.kind == "list" and shape.args[0].kind == "str"

    def items(value: Any) -> list[Any]:
        if isinstance(value, str):
            parsed = _json_or_text(value)
            if isinstance(parsed, list):
                return parsed
            if splits:
                return split_list(value)
        elif isinstance(value, given):
            return [*value]
        raise mismatch(shape, value)

    def coerce(value: Any) -> Any:
        found = items(value)
        if plain_texts and all(type(item) is str for item in found):
            return found
        if fixed and len(found) != len(coercers):
            raise CoercionError(f"expected {shape.expected}, got {len(found)}")
        pairs = zip(found, coercers if fixed else cycle(coercers), strict=False)
        coerced = [_coerce_item(coerce_item, item, number) for number, (item, coerce_item) in enumerate(pairs, start=1)]
        result = make(coerced)
        if is_set and len(result) != len({(type(item), item) for item in coerced}):
            raise CoercionError("two items differ in type only, such as 1 and true; a set keeps one of them")
        return result

    return coerce


def _coerce_item(coerce: Coercer, item: Any, number: int) -> Any:
    try:
        return coerce(item)
    except CoercionError as error:
        raise CoercionError(f"item {number}: {error}", error.code) from None


#: Kind -> what makes a value of it out of a list of its items.
_COLLECTIONS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "list": list,
    "tuple": tuple,
    "fixed_tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def _dict(shape: Shape) -> Coercer:
    coerce_key, coerce_value = coercer(shape.args[0]), coercer(shape.args[1])

    def coerce(value: Any) -> dict[Any, Any]:
        if isinstance(value, str):
            value = _json_or_text(value)
        if not isinstance(value, Mapping):
            raise mismatch(shape, value)
        result = {}
        for key, item in value.items():
            try:
                result[coerce_key(key)] = coerce_value(item)
            except CoercionError as error:
                # Keys are data as much as values are, so the entry is not named.
                raise CoercionError(f"an entry: {error}", error.code) from None
        if len(result) != len(value):
            raise CoercionError("two keys are the same")
        return result

    return coerce


def _union(shape: Shape) -> Coercer:
    alternatives = [(arg, coercer(arg)) for arg in shape.args]
    exact: dict[type, list[Coercer]] = {}
    for arg, coerce_arg in alternatives:
        for member in arg.members:
            if member.kind in _PYTHON:
                exact.setdefault(_PYTHON[member.kind], []).append(coerce_arg)
    enums = [member.cls for member in shape.members if member.kind == "enum"]
    text_forms = [coercer(member) for member in shape.members if member.kind in TEXT_FORMS]

    def coerce(value: Any) -> Any:
        if type(value) not in exact and not isinstance(value, enum.Enum):
            value = _without_subclass(value)
        kind = type(value)
        if kind in exact:
            # A value that is of one of the types already must not become another that comes first: 3 in ``str | int``.
            member = _member_of(enums, value)
            if member is not None:
                return member
            attempts = (text_forms if kind is str else []) + exact[kind]
            found, errors = _first(attempts, value)
            if not errors:
                return found
            if kind is str:
                raise errors[-1]
        found, errors = _first([attempt for _, attempt in _by_likeness(value, alternatives)], value)
        if not errors:
            return found
        told = [error for error, (arg, _) in zip(errors, alternatives, strict=True) if arg.kind != "null"]
        raise told[0] if len(told) == 1 else mismatch(shape, value)

    return coerce


def _without_subclass(value: Any) -> Any:
    """Return a text or number of a subclass, numpy's among them, as Python's own; everything else as it is."""
    plain = without_numpy(value)
    for base in (bool, int, float, str):
        if isinstance(plain, base):
            return base.__str__(plain) if base is str else base(plain)
    return plain


def _first(attempts: Iterable[Coercer], value: Any) -> tuple[Any, list[CoercionError]]:
    """Return the result of the first attempt that succeeds, else every error."""
    errors = []
    for attempt in attempts:
        try:
            return attempt(value), []
        except CoercionError as error:
            errors.append(error)
    return None, errors


def _member_of(enums: list[type[enum.Enum]], value: Any) -> enum.Enum | None:
    """Return the member with that very value: in ``Color | str``, a stored ``"red"`` was, and is again, a Color."""
    return next(
        (item for cls in enums for item in cls if type(item.value) is type(value) and item.value == value), None
    )


_PYTHON: Final[dict[str, type]] = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}


def _by_likeness(value: Any, alternatives: list[tuple[Shape, Coercer]]) -> list[tuple[Shape, Coercer]]:
    """Put the class of the value first, then the models that know most of the keys of a mapping."""
    data = _json_or_text(value) if isinstance(value, str) else value
    keys = {key for key in data if isinstance(key, str)} if isinstance(data, Mapping) else set()

    def unlikeness(alternative: tuple[Shape, Coercer]) -> tuple[bool, int]:
        member = alternative[0].members[0]
        own = member.cls is not None and isinstance(value, member.cls)
        known = len(keys & field_names(member.cls)) if keys and member.kind in ("model", "attrs") else 0
        return not own, -known

    return sorted(alternatives, key=unlikeness)


def _constrained(shape: Shape) -> Coercer:
    if shape.raw:
        return lambda value: value  # a validator of a pydantic model reads it
    inner, constraints = coercer(shape.args[0]), shape.constraints or Constraints()

    def coerce(value: Any) -> Any:
        coerced = inner(value)
        violation = constraints.violation(coerced)
        if violation:
            raise CoercionError(violation[1], violation[0])
        return coerced

    return coerce


def _model(shape: Shape) -> Coercer:
    prepared: list[Coercer] = []

    def coerce(value: Any) -> Any:
        if not prepared:
            # Made when there is a value: a recursive model would make its own coercer for ever.
            prepared.append(model_coercer(shape, coercer))
        return prepared[0](_json_or_text(value) if isinstance(value, str) else value)

    return coerce


_CONTAINERS: Final[dict[str, Callable[[Shape], Coercer]]] = {
    **dict.fromkeys(_COLLECTIONS, _collection),
    "dict": _dict,
    "union": _union,
    "constrained": _constrained,
    "media": media_coercer,
    "history": history_coercer,
    "model": _model,
    "attrs": _model,
}
