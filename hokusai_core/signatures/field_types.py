"""The closed table of types that a field may have, and the parser from Python annotations into it.

========================================  ======================================================================
``str int float bool``                    text, whole numbers, finite numbers, true or false
``Literal[...]``                          one of given texts, whole numbers or booleans
``Enum``                                  an enumeration whose values are texts, numbers or booleans
``date datetime time timedelta``          days, moments, times of day and durations, in ISO 8601
``Decimal UUID``                          exact decimal numbers, and identifiers
``AnyUrl HttpUrl`` and their relatives    pydantic's URLs that hold no credentials by nature
``list[T]``                               a list
``tuple[T, ...] tuple[A, B]``             a list of any, or of exactly that, length
``set[T] frozenset[T]``                   a list without repetition, of scalar items
``dict[K, V]``                            a mapping; keys are texts, whole numbers, or a Literal or Enum of texts
``T | None, A | B``                       optional values and unions
``Any``                                   anything that JSON can hold
``dspy.Image Audio File``                 inputs only: a picture, sound or file
``dspy.History``                          inputs only: the messages of a conversation
pydantic models                           any ``BaseModel`` made of these types
attrs models                              any attrs class made of these types
``Annotated[T, ...]``                     one of these with constraints of pydantic or annotated-types
========================================  ======================================================================

Everything else is refused: its values could not be shown to a language model, checked, cached or stored.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from attrs import frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.dspy_classes import is_history, media_kind
from hokusai_core.signatures.constraints import (
    Constraints,
    UnsupportedTypeError,
    constraints_of,
    reads_raw_values,
)

__all__ = [
    "ALLOWED",
    "COLLECTIONS",
    "TEXT_FORMS",
    "URLS",
    "Shape",
    "UnsupportedTypeError",
    "is_attrs_model",
    "is_model",
    "is_pydantic_model",
    "parse_annotation",
    "walk",
]

ALLOWED: Final = (
    "str, int, float, bool, Literal, Enum, date, datetime, time, timedelta, Decimal, UUID, pydantic's URLs, list, "
    "tuple, set, frozenset, dict, pydantic and attrs models, Optional, unions, Any, and as inputs Image, Audio, File "
    "and History of DSPy"
)

Kind = Literal[
    "str", "int", "float", "bool", "null", "any", "literal", "enum", "date", "datetime", "time", "timedelta", "decimal",
    "uuid", "url", "list", "tuple", "fixed_tuple", "set", "frozenset", "dict", "union", "model", "attrs", "constrained",
    "media", "history",
]  # fmt: skip

#: Kinds whose values are written as text in JSON and read from it again.
TEXT_FORMS: Final = frozenset({"date", "datetime", "time", "timedelta", "decimal", "uuid", "url"})
#: Kinds whose values are lists in JSON.
COLLECTIONS: Final = frozenset({"list", "tuple", "fixed_tuple", "set", "frozenset"})

#: Bounds the work that recursive aliases and hostile descriptions can cause; no real type is nested as deeply.
MAX_DEPTH: Final = 40

_SCALARS: dict[Any, Kind] = {str: "str", int: "int", float: "float", bool: "bool", type(None): "null", None: "null"}
#: By name, so that a program that uses none of them does not import their modules.
_STANDARD: dict[tuple[str, str], Kind] = {
    ("datetime", "date"): "date",
    ("datetime", "datetime"): "datetime",
    ("datetime", "time"): "time",
    ("datetime", "timedelta"): "timedelta",
    ("decimal", "Decimal"): "decimal",
    ("uuid", "UUID"): "uuid",
}
URLS: Final = frozenset({"AnyUrl", "AnyHttpUrl", "HttpUrl", "FileUrl", "FtpUrl", "AnyWebsocketUrl", "WebsocketUrl"})
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "date": "a date such as 2024-01-31",
    "datetime": "a date and time such as 2024-01-31T09:30:00+01:00",
    "time": "a time such as 09:30:00",
    "timedelta": "a duration such as P1DT2H30M or 26:30:00",
    "decimal": "a decimal number such as 12.50",
    "uuid": "a UUID",
    "url": "a URL",
    "history": "a dspy.History or a list of messages, each a mapping",
}
_HINTS: dict[Any, str] = {bytes: "decode it to str first"}


@frozen(slots=False)
class Shape:
    """An annotation, parsed.

    Args:
        kind: row of the table.
        args: shapes of items, keys and values, or members.
        cls: the class of an enum or model, or of a list or dict that says nothing of what it holds.
        values: the values of a literal.
        constraints: the constraints of an ``Annotated`` type.
        raw: whether pydantic calls a validator with the value as it was given, inside a pydantic model.
    """

    kind: Kind
    args: tuple[Shape, ...] = ()
    cls: Any = None
    values: tuple[Any, ...] = ()
    constraints: Constraints | None = None
    raw: bool = False

    @cached_property
    def members(self) -> tuple[Shape, ...]:
        """The alternatives of a union, flattened and without constraints; the shape itself where it is none."""
        if self.kind == "constrained":
            return self.args[0].members
        if self.kind == "union":
            return tuple(member for arg in self.args for member in arg.members)
        return (self,)

    @cached_property
    def optional(self) -> bool:
        """Whether None is a value of this type."""
        return any(member.kind in ("null", "any") or None in member.values for member in self.members)

    @cached_property
    def plain(self) -> bool:
        """Whether every value is made of what JSON text gives back as it was."""
        if self.kind == "dict":
            return self.args[0].kind in ("str", "literal") and self.args[1].plain
        if self.kind in TEXT_FORMS or self.kind in (
            "enum",
            "model",
            "attrs",
            "tuple",
            "fixed_tuple",
            "set",
            "frozenset",
            "media",
            "history",
        ):
            return False
        return all(arg.plain for arg in self.args)

    def involves(self, *kinds: str) -> bool:
        """Return whether one of ``kinds`` occurs in this type, not looking into models."""
        return self.kind in kinds or any(arg.involves(*kinds) for arg in self.args)

    @cached_property
    def expected(self) -> str:
        """What a value has to be, in plain English, for messages."""
        if self.kind == "literal":
            return _one_of([str(value) for value in self.values])
        if self.kind == "enum":
            return _one_of([str(member.value) for member in self.cls])
        if self.kind == "fixed_tuple":
            return f"a list of {len(self.args)} items: {', '.join(arg.expected for arg in self.args)}"
        if self.kind in COLLECTIONS:
            return "a list" if self.args[0].kind == "any" else f"a list, each item {self.args[0].expected}"
        if self.kind == "dict":
            return "a mapping" if self.args[1].kind == "any" else f"a mapping, each value {self.args[1].expected}"
        if self.kind == "union":
            return " or ".join(dict.fromkeys(arg.expected for arg in self.args))
        if self.kind == "constrained":
            return self.args[0].expected
        if self.kind in ("model", "attrs"):
            return f"a {self.cls.__name__} or a mapping of its fields"
        if self.kind == "media":
            return f"a dspy.{self.cls.__name__}, a pathlib.Path, bytes or a data URI"
        return _WORDS.get(self.kind, "plain data")


def _one_of(values: list[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:12])
    return f"one of {shown}" + (f" and {len(values) - 12} more" if len(values) > 12 else "")


def is_pydantic_model(cls: Any) -> bool:
    """Return whether ``cls`` is a pydantic model, without importing pydantic."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_core_schema__") and hasattr(cls, "model_fields")


def is_attrs_model(cls: Any) -> bool:
    """Return whether ``cls`` is an attrs class."""
    return isinstance(cls, type) and "__attrs_attrs__" in vars(cls)


def is_model(cls: Any) -> bool:
    """Return whether ``cls`` is a pydantic model or an attrs class."""
    return is_pydantic_model(cls) or is_attrs_model(cls)


def parse_annotation(annotation: Any, *, of_model: bool = False) -> Shape:
    """Parse a resolved annotation.

    Args:
        annotation: the annotation.
        of_model: whether it belongs to a field of a pydantic model, whose further rules pydantic applies.

    Raises:
        UnsupportedTypeError: with the type that is not in the table.
    """
    return _Parser(of_model).parse(annotation, 0)


class _Parser:
    """Parses annotations; see ``parse_annotation`` for ``of_model``."""

    def __init__(self, of_model: bool) -> None:
        self._of_model = of_model

    def parse(self, annotation: Any, depth: int) -> Shape:
        if depth > MAX_DEPTH:
            raise UnsupportedTypeError("is nested too deeply")
        try:
            if annotation in _SCALARS:
                return Shape(_SCALARS[annotation])
        except TypeError:  # an unhashable thing is no type
            raise UnsupportedTypeError(_refuse(annotation)) from None
        if annotation is Any:
            return Shape("any")
        method = _GENERIC.get(typing.get_origin(annotation) or annotation)
        if method is not None:
            return method(self, annotation, depth + 1)
        if type(annotation).__name__ == "TypeAliasType":
            return self.parse(annotation.__value__, depth + 1)
        if isinstance(annotation, typing.NewType):
            return self.parse(annotation.__supertype__, depth + 1)
        return _parse_class(annotation)

    def list(self, annotation: Any, depth: int) -> Shape:
        args = typing.get_args(annotation)
        if not args:
            return Shape("list", (Shape("any"),), cls=list)
        return Shape("list", (self.parse(args[0], depth),))

    def tuple(self, annotation: Any, depth: int) -> Shape:
        args = typing.get_args(annotation)
        if not args:
            raise UnsupportedTypeError("tuple: say what it holds, as in tuple[str, ...] or tuple[str, int]")
        if len(args) == 2 and args[1] is Ellipsis:
            return Shape("tuple", (self.parse(args[0], depth),))
        return Shape("fixed_tuple", tuple(self.parse(arg, depth) for arg in args))

    def set(self, annotation: Any, depth: int) -> Shape:
        args = typing.get_args(annotation)
        kind: Kind = "set" if (typing.get_origin(annotation) or annotation) is set else "frozenset"
        if not args:
            raise UnsupportedTypeError(f"{kind}: say what it holds, as in {kind}[str]")
        item = self.parse(args[0], depth)
        if not _hashable_items(item):
            raise UnsupportedTypeError(f"{str(annotation)[:200]}: the items of a set are scalars; use list[...]")
        return Shape(kind, (item,))

    def dict(self, annotation: Any, depth: int) -> Shape:
        args = typing.get_args(annotation)
        if not args:
            return Shape("dict", (Shape("str"), Shape("any")), cls=dict)
        key, value = self.parse(args[0], depth), self.parse(args[1], depth)
        if not _can_be_key(key):
            raise UnsupportedTypeError(f"{args[0]} as dict key: use str, int, or a Literal or Enum of texts")
        return Shape("dict", (key, value))

    def literal(self, annotation: Any, _depth: int) -> Shape:
        values = typing.get_args(annotation)
        if any(value is not None and type(value) not in (str, int, bool) for value in values):
            raise UnsupportedTypeError(f"{str(annotation)[:200]}: a Literal may hold texts, whole numbers and booleans")
        _check_texts(values, str(annotation)[:200])
        return Shape("literal", values=values)

    def union(self, annotation: Any, depth: int) -> Shape:
        shape = Shape("union", tuple(self.parse(arg, depth) for arg in typing.get_args(annotation)))
        _check_union(shape, annotation)
        return shape

    def annotated(self, annotation: Any, depth: int) -> Shape:
        inner, *metadata = typing.get_args(annotation)
        shape = self.parse(inner, depth)
        constraints = constraints_of(metadata, complete=not self._of_model)
        raw = self._of_model and reads_raw_values(metadata)
        return Shape("constrained", (shape,), constraints=constraints, raw=raw) if constraints or raw else shape


_GENERIC: dict[Any, Callable[[_Parser, Any, int], Shape]] = {
    list: _Parser.list,
    tuple: _Parser.tuple,
    set: _Parser.set,
    frozenset: _Parser.set,
    dict: _Parser.dict,
    Literal: _Parser.literal,
    typing.Union: _Parser.union,
    types.UnionType: _Parser.union,
    typing.Annotated: _Parser.annotated,
}


def _parse_class(annotation: Any) -> Shape:
    if not isinstance(annotation, type):
        raise UnsupportedTypeError(_refuse(annotation))
    standard = _STANDARD.get((annotation.__module__, annotation.__qualname__))
    if standard is not None:
        return Shape(standard, cls=annotation)
    if annotation.__module__ == "pydantic.networks" and annotation.__name__ in URLS:
        return Shape("url", cls=annotation)
    if issubclass(annotation, enum.Enum):
        _check_enum(annotation)
        return Shape("enum", cls=annotation)
    if media_kind(annotation) is not None:
        return Shape("media", cls=annotation)
    if is_history(annotation):
        return Shape("history", cls=annotation)
    if is_pydantic_model(annotation):
        if getattr(annotation, "__pydantic_root_model__", False):
            raise UnsupportedTypeError(f"{annotation.__name__} is a RootModel; use the type that it wraps")
        return Shape("model", cls=annotation)
    if is_attrs_model(annotation):
        return Shape("attrs", cls=annotation)
    raise UnsupportedTypeError(_refuse(annotation))


def _refuse(annotation: Any) -> str:
    if isinstance(annotation, (str, typing.ForwardRef)):
        return f"{annotation!r} is a name that was not resolved"
    name = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    hint = _HINTS.get(typing.get_origin(annotation) or annotation) if _hashable(annotation) else None
    if hasattr(annotation, "__dataclass_fields__") or hasattr(annotation, "__total__"):
        hint = "make it a pydantic or attrs model"
    return f"{name[:200]} is not among the types that a field may have" + (f" ({hint})" if hint else "")


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _check_enum(cls: type[enum.Enum]) -> None:
    if issubclass(cls, enum.Flag):
        raise UnsupportedTypeError(f"{cls.__name__} is a Flag; use list[...] of an Enum")
    odd = [name for name, member in cls.__members__.items() if type(member.value) not in (str, int, float, bool)]
    if odd or not cls.__members__:
        what = f"member {odd[0]} is none" if odd else "it has no members"
        raise UnsupportedTypeError(f"{cls.__name__}: the values of an Enum must be texts, numbers or booleans; {what}")
    _check_texts(tuple(member.value for member in cls), cls.__name__)


def _check_texts(values: tuple[Any, ...], name: str) -> None:
    """Refuse values that a prompt shows by the same text, such as 1 and "1"."""
    different = {(type(value), value) for value in values}
    texts = sorted(str(value) for _, value in different)
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise UnsupportedTypeError(f"{name}: two values are {twice[:60]!r} as text; make them differ")


def _check_union(shape: Shape, annotation: Any) -> None:
    """Refuse members whose values look the same once they are written."""
    kinds = {member.kind for member in shape.members}
    lists = sorted(kinds & COLLECTIONS)
    name = str(annotation)[:200]
    if len(lists) > 1:
        raise UnsupportedTypeError(f"{name}: {' and '.join(lists)} have the same JSON form; keep one of them")
    if "history" in kinds:
        raise UnsupportedTypeError(f"{name}: write History alone, with required=False where there may be none")
    if "media" in kinds and len(kinds - {"null"}) > 1:
        raise UnsupportedTypeError(f"{name}: a picture, sound or file may be in a union with None only")
    if "decimal" in kinds and kinds & {"int", "float"}:
        raise UnsupportedTypeError(f"{name}: a Decimal and another number have the same form as text; keep one of them")


def _hashable_items(shape: Shape) -> bool:
    if shape.kind in ("union", "constrained", "tuple", "fixed_tuple"):
        return all(_hashable_items(arg) for arg in shape.args)
    return shape.kind not in ("any", "list", "set", "frozenset", "dict", "model", "attrs", "media", "history")


def _can_be_key(shape: Shape) -> bool:
    if shape.kind == "literal":
        return all(type(value) is str for value in shape.values)
    if shape.kind == "enum":
        return all(type(member.value) is str for member in shape.cls)
    return shape.kind in ("str", "int")


def walk(shape: Shape) -> Iterator[Shape]:
    """Yield ``shape`` and everything in it, not looking into models."""
    yield shape
    for arg in shape.args:
        yield from walk(arg)
