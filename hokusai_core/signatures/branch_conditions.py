"""Conditions of branches: functions of the inputs, or data that files can hold."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

from attrs import frozen

from hokusai_core.errors import CompositionError
from hokusai_core.suggestions import did_you_mean

__all__ = ["InputCondition", "NamedObject", "condition_error", "condition_holds", "truth_of"]

#: Name of a comparison -> what it says of an input and the value that it is compared with.
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "equals": lambda given, wanted: _equal(given, wanted),
        "not": lambda given, wanted: not _equal(given, wanted),
        "in": lambda given, wanted: any(_equal(given, item) for item in wanted),
        "contains": lambda given, wanted: _contains(given, wanted),
        "above": lambda given, wanted: _like(given, wanted) > wanted,
        "at_least": lambda given, wanted: _like(given, wanted) >= wanted,
        "below": lambda given, wanted: _like(given, wanted) < wanted,
        "at_most": lambda given, wanted: _like(given, wanted) <= wanted,
    }
)


@frozen
class InputCondition:
    """Comparisons of inputs with values; all must hold.

    Args:
        tests: name of an input -> name of a comparison -> value.

    Example:
        >>> unsure = InputCondition.of({"confidence": {"below": 0.8}, "label": {"in": ["complaint", "question"]}})
        >>> unsure({"confidence": 0.6, "label": "complaint"})
        True
        >>> unsure({"confidence": 0.9, "label": "complaint"})
        False
    """

    tests: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return the condition that data stands for.

        Args:
            data: name of an input -> the value that it must equal, or a mapping of comparisons (``equals``, ``not``,
                ``in``, ``contains``, ``above``, ``at_least``, ``below``, ``at_most``) to values.

        Raises:
            CompositionError: it is none, or has an unknown comparison.
        """
        if not isinstance(data, Mapping) or not data or not all(isinstance(name, str) for name in data):
            raise CompositionError(
                "a condition is a function of the inputs, or names inputs with values or comparisons, such as "
                "{'confidence': {'below': 0.8}}"
            )
        return cls({name: _tests(name, value) for name, value in data.items()})

    def __call__(self, inputs: Mapping[str, Any]) -> bool:
        """Return whether all comparisons hold."""
        return all(
            _COMPARISONS[comparison](_plain(inputs[name]), value)
            for name, tests in self.tests.items()
            for comparison, value in tests.items()
        )


def _tests(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"equals": value}
    for comparison, wanted in value.items():
        if comparison not in _COMPARISONS:
            raise CompositionError(
                f"{name}: there is no comparison {comparison!r}{did_you_mean(str(comparison), _COMPARISONS)}; "
                f"there are {', '.join(_COMPARISONS)}"
            )
        if comparison == "in" and (isinstance(wanted, str) or not isinstance(wanted, (list, tuple))):
            raise CompositionError(f"{name}: 'in' takes a list of values")
    if not value:
        raise CompositionError(f"{name}: expected a value or comparisons: {', '.join(_COMPARISONS)}")
    return dict(value)


def _plain(value: Any) -> Any:
    """Return a value as files write it."""
    if isinstance(value, enum.Enum):
        return value.value
    return value.isoformat() if hasattr(value, "isoformat") else value


def _like(given: Any, wanted: Any) -> Any:
    """Return a value to compare with another one: a number that is written as a text, as in CSV files, is a number."""
    number = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
    return float(given) if number and isinstance(given, str) else given


def _equal(given: Any, wanted: Any) -> bool:
    try:
        given = _like(given, wanted)
    except ValueError:
        return False
    return isinstance(given, bool) == isinstance(wanted, bool) and bool(given == wanted)


def _contains(given: Any, wanted: Any) -> bool:
    if isinstance(given, str):
        return wanted in given
    return any(_equal(_plain(item), wanted) for item in given)


class NamedObject(dict[str, Any]):
    """What files hold of a function or program, with the object itself, which no file holds.

    Args:
        data: what files hold.
        value: the object.
    """

    def __init__(self, data: Mapping[str, Any], value: Any) -> None:
        super().__init__(data)
        self.value = value


def condition_holds(name: str, condition: Callable[[Mapping[str, Any]], Any], inputs: Mapping[str, Any]) -> bool:
    """Return whether a condition holds.

    Args:
        name: its name, for errors.
        condition: the condition.
        inputs: the inputs.

    Raises:
        CompositionError: it raises, is asynchronous, or gives what is neither true nor false.
    """
    try:
        verdict = condition(MappingProxyType(dict(inputs)))
    except Exception as error:
        raise condition_error(name, error) from error
    if inspect.isawaitable(verdict):
        if inspect.iscoroutine(verdict):
            verdict.close()
        raise CompositionError(f"condition {name!r} is asynchronous; use aexecute_conditional, or a plain function")
    return truth_of(name, verdict)


def condition_error(name: str, error: Exception) -> CompositionError:
    """Return the error for a condition that raised."""
    # Its text may quote any input, a sensitive one too; the cause has it.
    what = f"lacks input {error}" if isinstance(error, KeyError) else f"raised {type(error).__name__}"
    return CompositionError(f"condition {name!r} {what}; see the cause")


def truth_of(name: str, verdict: Any) -> bool:
    """Return what a condition gave as true or false.

    Raises:
        CompositionError: it is neither.
    """
    try:
        return bool(verdict)
    except Exception as error:
        raise CompositionError(f"condition {name!r} gave a {type(verdict).__name__}, not true or false") from error
