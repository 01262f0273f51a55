"""Constraints on values: lengths, ranges and patterns, checked and worded in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrs import fields, frozen

__all__ = ["Constraints", "constraints_of"]


@frozen
class Constraints:
    """What a value may be beyond its type; None stands for no limit.

    Args:
        min_length: fewest characters or items.
        max_length: most characters or items.
        ge: smallest number.
        le: largest number.
        gt: number that must be exceeded.
        lt: number that must not be reached.
        multiple_of: number that must divide it.
        pattern: regular expression that must match somewhere in the text.
    """

    min_length: int | None = None
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    lt: float | None = None
    multiple_of: float | None = None
    pattern: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) is not None for item in fields(Constraints))

    def to_dict(self) -> dict[str, Any]:
        """Return the constraints that are set."""
        pairs = ((item.name, getattr(self, item.name)) for item in fields(Constraints))
        return {name: value for name, value in pairs if value is not None}

    def violation(self, value: Any) -> tuple[str, str] | None:
        """Return (code, sentence) for the first limit that ``value`` breaks; the sentence never holds the value."""
        kind = type(value)
        if kind is str or kind is list or kind is dict:
            return self._length(value) or self._pattern(value)
        if kind is int or kind is float:
            return self._range(value)
        return None

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

    def _range(self, value: float) -> tuple[str, str] | None:
        # Written so that NaN, which compares false with everything, breaks every limit.
        if self.ge is not None and not value >= self.ge:
            return "out_of_range", f"must be at least {self.ge:g}"
        if self.le is not None and not value <= self.le:
            return "out_of_range", f"must be at most {self.le:g}"
        if self.gt is not None and not value > self.gt:
            return "out_of_range", f"must be greater than {self.gt:g}"
        if self.lt is not None and not value < self.lt:
            return "out_of_range", f"must be less than {self.lt:g}"
        if self.multiple_of is not None and value % self.multiple_of:
            return "out_of_range", f"must be a multiple of {self.multiple_of:g}"
        return None


def constraints_of(metadata: Iterable[Any]) -> Constraints:
    """Collect the constraints in the metadata of ``Annotated`` or of a pydantic field.

    Works by attribute name, so that annotated-types, pydantic's ``Field`` and ``StringConstraints`` are understood
    without importing any of them.
    """
    found: dict[str, Any] = {}
    for item in metadata:
        for entry in (item, *getattr(item, "metadata", ())):
            for limit in fields(Constraints):
                value = getattr(entry, limit.name, None)
                if limit.name == "pattern" and isinstance(value, re.Pattern):
                    value = value.pattern
                if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                    found[limit.name] = value
    return Constraints(**found)
