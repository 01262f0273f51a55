"""Convert one value to the text that a prompt shows, and read it from a language model's answer.

What ``text_writer`` writes, ``text_reader`` reads as an equal value, or it is an error; never as another value. Texts
keep every character. A code fence is removed, except around a text. Where a type holds texts and other
values, a text that would be read as another value is written as a JSON string: ``"None"`` is a text of ``str | None``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.field_types import COLLECTIONS, Shape
from hokusai_core.signatures.lenient_input import Coercer, CoercionError, coercer
from hokusai_core.signatures.model_fields import deep_kinds
from hokusai_core.signatures.text_json import NotJSON, parse_json, parse_structure, without_fence
from hokusai_core.signatures.text_lists import bulleted

__all__ = ["is_same", "reads_as", "text_reader", "text_writer"]

TextReader = Callable[[str], Any]

_MISSING: Final = object()
#: What stands for None in a text, in any case of the letters.
_NOTHING: Final = frozenset({"none", "null"})
_TRUTHS: Final = {"True": True, "False": False}
_STRUCTURED: Final = COLLECTIONS | {"dict", "model", "attrs"}


def text_reader(shape: Shape) -> TextReader:
    """Return what reads the text that a language model wrote for a value; it raises CoercionError with the reason."""
    coerce = coercer(shape)
    kinds = {member.kind for member in shape.members}
    if kinds == {"str"}:
        return coerce
    if kinds & {"str", "any"}:
        return _MixedText(shape, coerce).read
    exact = _reads_decimals(shape)
    structured, lists = bool(kinds & _STRUCTURED), bool(kinds & COLLECTIONS)
    several = len(kinds - {"null"}) > 1  # scalars, of which a number is an int or a float as in JSON

    optional = shape.optional

    def read(text: str) -> Any:
        stripped = without_fence(text)
        if optional and _is_nothing(stripped, shape):
            return coerce(None)
        if structured:
            value = _parsed(stripped, exact=exact)
            if value is _MISSING and lists:
                value = bulleted(stripped)
                if value is None:
                    raise CoercionError(f"expected {shape.expected} as JSON, got another text")
            if value is not _MISSING:
                return coerce(value)
        elif several:
            with suppress(NotJSON, CoercionError):
                return coerce(parse_json(stripped, exact=exact))
        return coerce(_unquoted(stripped))

    return read


def text_writer(shape: Shape, read: TextReader) -> Callable[[Any], str]:
    """Return what writes a value as prompts show it; it raises CoercionError where it could not be read again.

    Args:
        shape: the type.
        read: what ``text_reader`` returned for it.
    """
    coerce = coercer(shape)
    kinds = {member.kind for member in shape.members}
    sure = kinds <= {"str"} or (len(kinds) == 1 and not kinds & {"any", "literal", "enum"} and not _unsure(shape))

    def write(value: Any) -> str:
        if type(value) is str and kinds == {"str"}:
            return value
        value = coerce(value)
        text = _shown(value)
        if sure or reads_as(read, text, value):
            return text
        quoted = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else text
        if reads_as(read, quoted, value):
            return quoted
        raise CoercionError("its text would not be read as the same value; make the members of the union differ")

    return write


def _unsure(shape: Shape) -> bool:
    """Return whether there are unions inside, whose members may look alike, or models that read or write themselves."""
    return bool(deep_kinds(shape) & {"union", "raw", "serialized"})


def _reads_decimals(shape: Shape) -> bool:
    kinds = deep_kinds(shape)
    return "decimal" in kinds and not kinds & {"any", "raw"}


def _shown(value: Any) -> str:
    plain = jsonable(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, (list, dict)) else str(plain)


def reads_as(read: TextReader, text: str, value: Any) -> bool:
    """Return whether ``text`` is read as that very value."""
    try:
        return is_same(read(text), value)
    except CoercionError:
        return False


def is_same(first: Any, second: Any) -> bool:
    """Return whether two values are equal and of the same types, at every depth of lists and mappings."""
    if type(first) is not type(second):
        return False
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(is_same(item, second[key]) for key, item in first.items())
    return bool(first == second)


def _is_nothing(text: str, shape: Shape) -> bool:
    """Return whether ``text`` stands for None, and for no choice that is spelled like it."""
    stripped = text.strip()
    return shape.optional and stripped.lower() in _NOTHING and not any(stripped in _choices(m) for m in shape.members)


def _choices(member: Shape) -> list[str]:
    if member.kind == "enum":
        return [text for name, item in member.cls.__members__.items() for text in (name, str(item.value))]
    return [value for value in member.values if isinstance(value, str)]


def _unquoted(text: str) -> str:
    """Return the text without the quotes around it, if there are any."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


def _parsed(text: str, *, exact: bool) -> Any:
    """Return what JSON or a Python display spells out in ``text``, else ``_MISSING``."""
    try:
        return parse_structure(text, exact=exact)
    except NotJSON as problem:
        if problem.certain:
            raise CoercionError(str(problem)) from None
    return _MISSING


class _MixedText:
    """Reads types that hold texts and other values: what is obviously another value is that, the rest is text."""

    def __init__(self, shape: Shape, coerce: Coercer) -> None:
        self._shape = shape
        self._coerce = coerce
        self._exact = _reads_decimals(shape)
        self._anything = any(member.kind == "any" for member in shape.members)

    def read(self, text: str) -> Any:
        """Return the value that ``text`` stands for."""
        value = self._other(text)
        if value is not _MISSING:
            return value
        unquoted = self._unquoted(text)
        return self._coerce(text if unquoted is None else unquoted)

    def _other(self, text: str) -> Any:
        """Return the value of ``text`` where it is another one than a text, else ``_MISSING``."""
        if _is_nothing(text, self._shape):
            return None
        stripped = text.strip()
        try:
            value = parse_json(stripped, exact=self._exact)
        except NotJSON as problem:
            if problem.certain and self._anything:
                raise CoercionError(str(problem)) from None
            value = _TRUTHS.get(stripped, text)
        if isinstance(value, str):
            value = text
        try:
            value = self._coerce(value)
        except CoercionError:
            if self._anything:
                raise
            return _MISSING
        return _MISSING if type(value) is str else value

    def _unquoted(self, text: str) -> str | None:
        """Return the content of a JSON string that is written as one to tell it from another value, else None."""
        stripped = text.strip()
        if len(stripped) < 2 or stripped[0] != '"' or stripped[-1] != '"':
            return None
        try:
            content = parse_json(stripped)
        except NotJSON:
            return None
        if isinstance(content, str) and (self._other(content) is not _MISSING or self._unquoted(content) is not None):
            return content
        return None
