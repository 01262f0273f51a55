"""Values as text, the way DSPy writes and reads them, without building a pydantic adapter every time.

Everything here gives exactly what ``dspy.adapters.utils`` gives for the same value, only sooner; what has no short way
takes DSPy's own.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from dspy.adapters.utils import format_field_value, parse_value
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

__all__ = ["format_value", "parser_for"]

_SCALARS = (int, bool, float, type(None))


def format_value(info: Any, value: Any) -> str:
    """Return ``value`` as it stands in a prompt.

    Args:
        info: the DSPy field.
        value: its value.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind in _SCALARS:
        return str(value)
    if kind is list and info.annotation is not str and all(type(item) is str for item in value):
        return json.dumps(value, ensure_ascii=False)
    return format_field_value(field_info=info, value=value)  # type: ignore[no-any-return]


def _plain_text(value: str) -> str:
    return value


def _member_of(allowed: frozenset[str], annotation: Any) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        return value if value in allowed else parse_value(value, annotation)

    return parse


def _json_then(annotation: Any) -> Callable[[str], Any]:
    try:
        validate = TypeAdapter(annotation).validate_python
    except PydanticUserError:  # no schema: DSPy says so when an answer comes, in its own words
        return _by_dspy(annotation)

    def parse(value: str) -> Any:
        try:
            candidate = json.loads(value)
        except ValueError:  # DSPy mends what is nearly JSON
            return parse_value(value, annotation)
        # an empty JSON string means "unreadable" there, which it tells from text by a second look
        return parse_value(value, annotation) if candidate == "" else validate(candidate)

    return parse


def _by_dspy(annotation: Any) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        return parse_value(value, annotation)

    return parse


def parser_for(annotation: Any) -> Callable[[str], Any]:
    """Return what turns the text of an output into a value of ``annotation``.

    The parser raises ``ValueError`` (of which pydantic's ``ValidationError`` is one) for text that does not fit.
    """
    if annotation is str:
        return _plain_text
    origin = get_origin(annotation)
    if origin is Literal:
        allowed = get_args(annotation)
        if all(isinstance(choice, str) for choice in allowed):
            return _member_of(frozenset(allowed), annotation)
        return _by_dspy(annotation)
    if isinstance(annotation, enum.EnumMeta) or origin in (Union, types.UnionType):
        return _by_dspy(annotation)
    return _json_then(annotation)
