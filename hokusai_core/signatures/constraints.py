"""Constraints on values: lengths, ranges, digits and patterns, checked and worded in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import fields, frozen

__all__ = ["CONSTRAINTS", "Constraints", "UnsupportedTypeError", "constraints_of", "lost_rules", "reads_raw_values"]

_SIZED: Final = (str, list, dict, tuple, set, frozenset)
#: Metadata of pydantic and annotated-types that restrict no value beyond what the table of types does anyway.
_WITHOUT_EFFECT: Final = frozenset(
    {"strict", "allow_inf_nan", "coerce_numbers_to_str", "union_mode", "fail_fast", "discriminator", "documentation",
     "unit", "json_schema", "mode"}
)  # fmt: skip
_RAW_VALIDATORS: Final = frozenset({"BeforeValidator", "WrapValidator", "PlainValidator"})
_LIBRARIES: Final = frozenset({"pydantic", "pydantic_core", "annotated_types"})


class UnsupportedTypeError(TypeError):
    """An annotation is not in the table of types."""


@frozen
class Constraints:
    """What a value may be beyond its type; None stands for no constraint.

    Args:
        min_length: fewest characters or items.
        max_length: most characters or items.
        ge: smallest value.
        le: largest value.
        gt: value that must be exceeded.
        lt: value that must not be reached.
        multiple_of: number that must divide it.
        max_digits: most digits of a Decimal.
        decimal_places: most digits of a Decimal after the point.
        pattern: regular expression that must match somewhere in the text.
    """

    min_length: int | None = None
    max_length: int | None = None
    ge: Any = None
    le: Any = None
    gt: Any = None
    lt: Any = None
    multiple_of: Any = None
    max_digits: int | None = None
    decimal_places: int | None = None
    pattern: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in CONSTRAINTS)

    def to_dict(self) -> dict[str, Any]:
        """Return the constraints that are set."""
        pairs = ((name, getattr(self, name)) for name in CONSTRAINTS)
        return {name: value for name, value in pairs if value is not None}

    def violation(self, value: Any) -> tuple[str, str] | None:
        """Return (code, sentence) for the first constraint that ``value`` breaks; it never holds the value."""
        if isinstance(value, _SIZED):
            return self._length(value) or self._pattern(value)
        if value is None or isinstance(value, bool):
            return None
        return self._range(value) or self._digits(value)

    def _length(self, value: Any) -> tuple[str, str] | None:
        unit = "characters" if type(value) is str else "items"
        size = len(value)
        if self.min_length is not None and size < self.min_length:
            return "out_of_range", f"must have at least {self.min_length} {unit}; it has {size}"
        if self.max_length is not None and size > self.max_length:
            return "out_of_range", f"must have at most {self.max_length} {unit}; it has {size}"
        return None

    def _pattern(self, value: Any) -> tuple[str, str] | None:
        if self.pattern is not None and type(value) is str and not re.search(self.pattern, value):
            return "pattern", f"must match the pattern {self.pattern!r}"
        return None

    def _range(self, value: Any) -> tuple[str, str] | None:
        # Written so that NaN, which compares false with everything, breaks every limit.
        try:
            if self.ge is not None and not value >= _bound(self.ge, value):
                return "out_of_range", f"must be at least {_shown(self.ge)}"
            if self.le is not None and not value <= _bound(self.le, value):
                return "out_of_range", f"must be at most {_shown(self.le)}"
            if self.gt is not None and not value > _bound(self.gt, value):
                return "out_of_range", f"must be greater than {_shown(self.gt)}"
            if self.lt is not None and not value < _bound(self.lt, value):
                return "out_of_range", f"must be less than {_shown(self.lt)}"
        except TypeError:  # a time with a time zone beside one without, or a member of a union that has no order
            bounds = (self.ge, self.le, self.gt, self.lt)
            if any(type(bound) is type(value) for bound in bounds):
                return "out_of_range", "cannot be compared with its limits; give both a time zone, or none"
            return None
        return self._multiple(value)

    def _multiple(self, value: Any) -> tuple[str, str] | None:
        if self.multiple_of is None:
            return None
        from decimal import Decimal  # few signatures need it, and every command that lists them loads this module

        if not isinstance(value, (int, float, Decimal)):
            return None
        # As decimals: in binary floating point 0.3 is no multiple of 0.1.
        try:
            rest = Decimal(str(value)) % Decimal(str(self.multiple_of))
        except ArithmeticError:  # the quotient has more digits than a Decimal is computed with
            rest = Decimal(1)
        return ("out_of_range", f"must be a multiple of {_shown(self.multiple_of)}") if rest else None

    def _digits(self, value: Any) -> tuple[str, str] | None:
        if self.max_digits is None and self.decimal_places is None:
            return None
        from decimal import Decimal

        if not isinstance(value, Decimal):
            return None
        _, digits, exponent = value.as_tuple()
        places = max(0, -int(exponent))
        count = max(len(digits) + max(0, int(exponent)), places)
        if self.max_digits is not None and count > self.max_digits:
            return "out_of_range", f"must have at most {self.max_digits} digits"
        if self.decimal_places is not None and places > self.decimal_places:
            return "out_of_range", f"must have at most {self.decimal_places} decimal places"
        return None


#: Names of all constraints, in the order in which they are written.
CONSTRAINTS: Final = tuple(item.name for item in fields(Constraints))


def _bound(bound: Any, value: Any) -> Any:
    if type(bound) is not float or type(value) in (int, float):
        return bound
    from decimal import Decimal

    # A Decimal is compared with what the author wrote, not with the binary number next to it.
    return Decimal(str(bound)) if type(value) is Decimal else bound


def _shown(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, (int, float)) else str(bound)


def constraints_of(metadata: Iterable[Any], *, complete: bool = True) -> Constraints:
    """Collect the constraints in the metadata of ``Annotated`` or of a pydantic field.

    Works by attribute name, so that annotated-types, pydantic's ``Field`` and ``StringConstraints`` are understood
    without importing any of them.

    Args:
        metadata: the metadata.
        complete: refuse what restricts or changes values in a way that constraints cannot express. False for fields of
            pydantic models, whose rules pydantic itself applies.

    Raises:
        UnsupportedTypeError: naming what is refused.
    """
    metadata = list(metadata)
    if complete:
        for name in lost_rules(metadata, functions=True):
            raise UnsupportedTypeError(
                f"has {name!r} in its Annotated or Field(...), a rule that signatures do not keep; put it into a "
                "pydantic model, or write an output validator"
            )
    found = {
        name: value.pattern if isinstance(value, re.Pattern) else value
        for entry in _entries(metadata)
        for name, value in _settings(entry).items()
        if name in CONSTRAINTS and value is not None
    }
    return Constraints(**found)


def lost_rules(metadata: Iterable[Any], *, functions: bool = False) -> Iterator[str]:
    """Yield the rules in the metadata that constraints cannot express.

    Args:
        metadata: the metadata.
        functions: also those that are functions, such as validators.
    """
    for entry in _entries(metadata):
        for name, value in _settings(entry).items():
            known = name in CONSTRAINTS or name in _WITHOUT_EFFECT or value in (None, False)
            if not known and (functions or name != type(entry).__name__):
                yield name


def reads_raw_values(metadata: Iterable[Any]) -> bool:
    """Return whether the metadata hold a function that pydantic calls with the value as it was given."""
    return any(
        type(entry).__name__ in _RAW_VALIDATORS
        or (_library(entry) not in _LIBRARIES and hasattr(entry, "__get_pydantic_core_schema__"))
        for entry in _entries(metadata)
    )


def _entries(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yield each single rule: a ``Field(...)`` and the groups of annotated-types hold several."""
    for item in metadata:
        if type(item).__name__ == "FieldInfo":
            yield from _entries(item.metadata)
        elif _library(item) in _LIBRARIES and hasattr(item, "__iter__"):
            yield from _entries(item)
        else:
            yield item


def _settings(entry: Any) -> Mapping[str, Any]:
    """Return name -> value of what one rule sets; what other libraries put into ``Annotated`` sets nothing."""
    if _library(entry) not in _LIBRARIES:
        if hasattr(entry, "__get_pydantic_core_schema__"):
            return {type(entry).__name__: True}
        # A constraint of another library that follows annotated-types, such as a test's own.
        return {
            name: getattr(entry, name) for name in CONSTRAINTS if isinstance(getattr(entry, name, None), (int, str))
        }
    names = getattr(entry, "__dataclass_fields__", None)
    if names is None:
        return vars(entry) if hasattr(entry, "__dict__") else {}
    if "func" in names or "tz" in names or callable(getattr(entry, "discriminator", None)):
        return {type(entry).__name__: True}
    return {name: getattr(entry, name) for name in names}


def _library(item: Any) -> str:
    return str(type(item).__module__).partition(".")[0]
