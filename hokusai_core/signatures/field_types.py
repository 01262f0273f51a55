"""The closed table of types that a field may have, and the parser from Python annotations into it.

=====================  ==========================================================================================
``str int float bool`` text, whole numbers, numbers, true or false
``Literal[...]``       one of given texts, whole numbers or booleans
``Enum``               an enumeration whose values are texts, numbers or booleans
``list[T]``            a list
``dict[K, V]``         a mapping; keys are texts, whole numbers, or a Literal or Enum of texts
``T | None, A | B``    optional values and unions
``Any``                anything that JSON can hold
pydantic models        any ``BaseModel`` made of these types
attrs models           any attrs class made of these types
``Annotated[T, ...]``  one of these with pydantic or annotated-types constraints
=====================  ==========================================================================================

Everything else is refused: its values could not be shown to a language model, checked, cached or stored.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal

from attrs import frozen

from hokusai_core.signatures.constraints import Constraints, constraints_of

__all__ = ["ALLOWED", "Shape", "UnsupportedTypeError", "is_attrs_model", "is_pydantic_model", "parse_annotation"]

ALLOWED = "str, int, float, bool, Literal, Enum, list, dict, pydantic and attrs models, Optional, unions and Any"

Kind = Literal[
    "str", "int", "float", "bool", "null", "any", "literal", "enum", "list", "dict", "union", "model", "attrs",
    "constrained",
]  # fmt: skip

#: Deeper nesting than anybody writes; bounds the work that recursive aliases and hostile descriptions can cause.
MAX_DEPTH = 40

_SCALARS: dict[Any, Kind] = {str: "str", int: "int", float: "float", bool: "bool", type(None): "null", None: "null"}
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "nothing"}
_HINTS: dict[Any, str] = {
    bytes: "decode it to str first",
    tuple: "use list[...]",
    set: "use list[...]",
    frozenset: "use list[...]",
}


class UnsupportedTypeError(TypeError):
    """An annotation is not in the table of types."""


@frozen(slots=False)
class Shape:
    """An annotation, parsed.

    Args:
        kind: row of the table.
        args: shapes of items, keys and values, or members.
        cls: the class of an enum or model, or of a list or dict that says nothing of what it holds.
        values: the values of a literal.
        constraints: the constraints of an ``Annotated`` type.
    """

    kind: Kind
    args: tuple[Shape, ...] = ()
    cls: Any = None
    values: tuple[Any, ...] = ()
    constraints: Constraints | None = None

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
        return self.kind not in ("enum", "model", "attrs") and all(arg.plain for arg in self.args)

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
        if self.kind == "list":
            return "a list" if self.args[0].kind == "any" else f"a list, each item {self.args[0].expected}"
        if self.kind == "dict":
            return "a mapping" if self.args[1].kind == "any" else f"a mapping, each value {self.args[1].expected}"
        if self.kind == "union":
            return " or ".join(dict.fromkeys(arg.expected for arg in self.args))
        if self.kind == "constrained":
            return self.args[0].expected
        if self.cls is not None:
            return f"a {self.cls.__name__} or a mapping of its fields"
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


def parse_annotation(annotation: Any, depth: int = 0) -> Shape:
    """Parse a resolved annotation.

    Raises:
        UnsupportedTypeError: with the type that is not in the table.
    """
    if depth > MAX_DEPTH:
        raise UnsupportedTypeError("is nested too deeply")
    try:
        if annotation in _SCALARS:
            return Shape(_SCALARS[annotation])
    except TypeError:  # an unhashable thing is no type
        raise UnsupportedTypeError(_refuse(annotation)) from None
    if annotation is Any:
        return Shape("any")
    parser = _GENERIC.get(typing.get_origin(annotation) or annotation)
    if parser is not None:
        return parser(annotation, depth + 1)
    if type(annotation).__name__ == "TypeAliasType":
        return parse_annotation(annotation.__value__, depth + 1)
    if isinstance(annotation, typing.NewType):
        return parse_annotation(annotation.__supertype__, depth + 1)
    return _parse_class(annotation)


def _parse_class(annotation: Any) -> Shape:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        _check_enum(annotation)
        return Shape("enum", cls=annotation)
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


def _parse_list(annotation: Any, depth: int) -> Shape:
    args = typing.get_args(annotation)
    if not args:
        return Shape("list", (Shape("any"),), cls=list)
    return Shape("list", (parse_annotation(args[0], depth),))


def _parse_dict(annotation: Any, depth: int) -> Shape:
    args = typing.get_args(annotation)
    if not args:
        return Shape("dict", (Shape("str"), Shape("any")), cls=dict)
    key, value = parse_annotation(args[0], depth), parse_annotation(args[1], depth)
    if not _can_be_key(key):
        raise UnsupportedTypeError(f"{args[0]} as dict key: use str, int, or a Literal or Enum of texts")
    return Shape("dict", (key, value))


def _can_be_key(shape: Shape) -> bool:
    if shape.kind == "literal":
        return all(type(value) is str for value in shape.values)
    if shape.kind == "enum":
        return all(type(member.value) is str for member in shape.cls)
    return shape.kind in ("str", "int")


def _parse_literal(annotation: Any, _depth: int) -> Shape:
    values = typing.get_args(annotation)
    if any(value is not None and type(value) not in (str, int, bool) for value in values):
        raise UnsupportedTypeError(f"{str(annotation)[:200]}: a Literal may hold texts, whole numbers and booleans")
    return Shape("literal", values=values)


def _parse_union(annotation: Any, depth: int) -> Shape:
    return Shape("union", tuple(parse_annotation(arg, depth) for arg in typing.get_args(annotation)))


def _parse_annotated(annotation: Any, depth: int) -> Shape:
    inner, *metadata = typing.get_args(annotation)
    constraints = constraints_of(metadata)
    shape = parse_annotation(inner, depth)
    return Shape("constrained", (shape,), constraints=constraints) if constraints else shape


_GENERIC: dict[Any, Callable[[Any, int], Shape]] = {
    list: _parse_list,
    dict: _parse_dict,
    Literal: _parse_literal,
    typing.Union: _parse_union,
    types.UnionType: _parse_union,
    typing.Annotated: _parse_annotated,
}


def walk(shape: Shape) -> Iterator[Shape]:
    """Yield ``shape`` and everything in it, not looking into models."""
    yield shape
    for arg in shape.args:
        yield from walk(arg)
