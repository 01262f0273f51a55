"""Tables of options: the record of an option, the reader of tables, and parsers of option values.

A table is a TypedDict whose keys are annotated as ``Annotated[type, Option(...)]``. Type checkers read it as the
keyword arguments of a function (``**options: Unpack[Table]``). At run time ``options_of`` reads the same table.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from functools import cache as cached_function
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.protocols import protocol_problems

__all__ = [
    "ComponentChoice",
    "Option",
    "anything",
    "component",
    "count",
    "flag",
    "names",
    "number",
    "optional_names",
    "optional_number",
    "optional_text",
    "options_of",
    "shown",
    "text",
    "verbatim_text",
]


@frozen
class Option:
    """One option in a table such as ``ExecutorOptions``.

    Args:
        summary: what it does, in one line that listings and references show.
        parse: turns an argument or the text of an environment variable into the value; raises ValueError with a message
            that says what is expected.
        default: value if nothing is given.
        environment: whether it can be given as an environment variable.
        private: whether errors leave out what was given, as it may hold a credential by mistake.
    """

    summary: str
    parse: Callable[[Any], Any]
    default: Any = None
    environment: bool = True
    private: bool = False

    def read(self, raw: Any, label: str) -> Any:
        """Return the value for ``raw``.

        Args:
            raw: what was given.
            label: how errors name it.

        Raises:
            ConfigurationError: says what is wrong and what is expected.
        """
        try:
            return self.parse(raw)
        except ValueError as error:
            given = label if self.private else f"{label}={shown(raw)}"
            raise ConfigurationError(f"{given}: {error} ({self.summary})") from None


@cached_function
def options_of(table: type) -> Mapping[str, Option]:
    """Return the options that a TypedDict declares, by name.

    Args:
        table: a TypedDict whose keys are annotated as ``Annotated[type, Option(...)]``.
    """
    hints = get_type_hints(table, include_extras=True)
    return MappingProxyType(
        {name: next(part for part in get_args(hint) if isinstance(part, Option)) for name, hint in hints.items()}
    )


def flag(value: Any) -> bool:
    """Return True or False for a bool or a word such as ``on``."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("expected true or false")


def text(value: Any) -> str:
    """Return a text that is not empty, without space around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a non-empty text")
    return value.strip()


def verbatim_text(value: Any) -> str:
    """Return a text that is not empty, as it was written: tenants that differ in a space are two."""
    text(value)
    return str(value)


def optional_text(value: Any) -> str | None:
    """Return a text, None for None and the empty text."""
    return None if value is None or value == "" else text(value)


def number(value: Any) -> float:
    """Return a finite number above zero."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("expected a number") from None
    if not 0 < number < math.inf:  # refuses NaN too
        raise ValueError("expected a finite number above zero")
    return number


def optional_number(value: Any) -> float | None:
    """Return a finite number above zero, None for None, the empty text and ``none``."""
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
        return None
    return number(value)


def count(minimum: int) -> Callable[[Any], int]:
    """Return a parser that takes a whole number of at least ``minimum``."""

    def parse(value: Any) -> int:
        try:
            number = int(str(value)) if not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or number < minimum:
            raise ValueError(f"expected a whole number of at least {minimum}")
        return number

    return parse


def names(value: Any) -> tuple[str, ...]:
    """Return names that are given as a sequence or separated by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, Mapping) or not hasattr(parts, "__iter__"):
        raise ValueError("expected names, separated by commas")
    names = tuple(str(part).strip() for part in parts)
    return tuple(name for name in names if name)


def optional_names(value: Any) -> tuple[str, ...] | None:
    """Return names, None for None."""
    return None if value is None else names(value)


def anything(value: Any) -> Any:
    """Return any value as it is."""
    return value


def component(protocol: type, *, optional: bool = True) -> Callable[[Any], Any]:
    """Return a parser that takes the name of a component, or an object that satisfies ``protocol``.

    It also takes a mapping of ``name`` and options, and returns a ``ComponentChoice``.

    Args:
        protocol: the protocol.
        optional: whether it also takes None and the empty text, and returns None.
    """

    def parse(value: Any) -> Any:
        if isinstance(value, str) or (optional and value is None):
            return optional_text(value) if optional else text(value)
        if isinstance(value, ComponentChoice):
            return value
        if isinstance(value, Mapping):
            return ComponentChoice.of(value)
        problems = protocol_problems(protocol, value)
        if problems:
            raise ValueError(
                f"expected a component's name, or an object that satisfies {protocol.__name__}; {'; '.join(problems)}"
            )
        return value

    return parse


@frozen
class ComponentChoice:
    """A component by its name, with options.

    Args:
        name: its name, ``name`` or ``plugin/name``.
        options: keyword arguments of its target. They may hold credentials, so they are not shown.
    """

    name: str
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, value: Mapping[Any, Any]) -> ComponentChoice:
        """Return the choice that a mapping makes, such as ``{"name": "redis", "url": "redis://127.0.0.1"}``.

        Raises:
            ValueError: it has no name, or a key that is not a text.
        """
        name = value.get("name")
        if not isinstance(name, str) or not name.strip() or not all(isinstance(key, str) for key in value):
            raise ValueError(
                "expected a mapping of 'name' and options of the component, such as {'name': 'redis', ...}"
            )
        options = {key: item for key, item in value.items() if key != "name"}
        return cls(name.strip(), MappingProxyType(options))

    def __str__(self) -> str:
        return f"{self.name!r}" + (f" with {', '.join(self.options)}" if self.options else "")


def shown(value: Any) -> str:
    """Return a value for people; of an object that is no plain value only its class, as it may hold credentials."""
    if isinstance(value, enum.Enum):
        return repr(value.value)
    if isinstance(value, ComponentChoice):
        return str(value)
    if isinstance(value, Mapping):
        return repr(dict(value) if all(isinstance(item, str) for item in value.values()) else tuple(value))
    if isinstance(value, PurePath):
        return repr(str(value))
    plain = value is None or isinstance(value, (str, int, float, bool))
    if plain or (isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value)):
        return repr(value)
    return f"<{type(value).__name__}>"
