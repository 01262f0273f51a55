"""CheckedJson: reads untrusted JSON data and names the path of each fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hokusai_core.errors import SignatureDefinitionError

__all__ = ["CheckedJson", "check_size"]

MAX_NESTING = 100
MAX_VALUES = 200_000
MAX_CHARACTERS = 20_000_000


class CheckedJson:
    """A value in the data, and the path that leads to it.

    Args:
        value: the value.
        path: where it is, such as ``fields[2].type``.
    """

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value = value
        self.path = path

    def error(self, problem: str) -> SignatureDefinitionError:
        """Return the error that names this path."""
        return SignatureDefinitionError(f"signature data: {self.path or 'top level'}: {problem}")

    def _expected(self, what: str) -> NoReturn:
        raise self.error(f"expected {what}, got {'null' if self.value is None else type(self.value).__name__}")

    def mapping(self) -> Mapping[str, Any]:
        """Return the value, a mapping with texts as keys."""
        if not isinstance(self.value, Mapping):
            self._expected("a mapping")
        if any(not isinstance(key, str) for key in self.value):
            raise self.error("keys must be texts")
        return self.value

    def only(self, known: set[str]) -> None:
        """Refuse keys that are not ``known``."""
        unknown = sorted(key for key in self.mapping() if key not in known)
        if unknown:
            raise self.error(f"unknown key {unknown[0][:60]!r}; known are {', '.join(sorted(known))}")

    def get(self, key: str) -> CheckedJson | None:
        """Return the reader of ``key``, or None where it is absent."""
        mapping = self.mapping()
        return (
            CheckedJson(mapping[key], f"{self.path}.{key[:60]}" if self.path else key[:60]) if key in mapping else None
        )

    def read(self, key: str, read: Callable[[CheckedJson], Any], default: Any) -> Any:
        """Return what ``read`` makes of the reader of ``key``; ``default`` where it is absent."""
        found = self.get(key)
        return default if found is None else read(found)

    def at(self, key: str) -> CheckedJson:
        """Return the reader of ``key``, which must be there."""
        found = self.get(key)
        if found is None:
            raise self.error(f"{key!r} is missing")
        return found

    def single(self) -> tuple[str, CheckedJson]:
        """Return the only key of a mapping, and the reader of its value."""
        mapping = self.mapping() if isinstance(self.value, Mapping) else self._expected("a type")
        if len(mapping) != 1:
            raise self.error("a type is a mapping of one key")
        key = next(iter(mapping))
        return key, self.at(key)

    def items(self, *, exactly: int | None = None, at_least: int = 0) -> list[CheckedJson]:
        """Return a reader for each item of a list."""
        if not isinstance(self.value, (list, tuple)):
            self._expected("a list")
        if exactly is not None and len(self.value) != exactly:
            raise self.error(f"expected {exactly} items, got {len(self.value)}")
        if len(self.value) < at_least:
            raise self.error(f"expected at least {at_least} item")
        return [CheckedJson(item, f"{self.path}[{number}]") for number, item in enumerate(self.value)]

    def text(self, at_most: int | None = None) -> str:
        """Return the value, a text of at most so many characters."""
        if not isinstance(self.value, str):
            self._expected("text")
        if at_most is not None and len(self.value) > at_most:
            raise self.error(f"is longer than {at_most} characters")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Return the value, a list of texts."""
        return tuple(item.text() for item in self.items())

    def flag(self) -> bool:
        """Return the value, true or false."""
        if not isinstance(self.value, bool):
            self._expected("true or false")
        return self.value

    def scalar(self, *kinds: type) -> Any:
        """Return the value, which is of exactly one of ``kinds``; a whole number may stand for a float."""
        if type(self.value) in kinds:
            return self.value
        if float in kinds and type(self.value) is int:
            return float(self.value)
        self._expected(" or ".join(kind.__name__ for kind in kinds))

    def one_of(self, *choices: str) -> str:
        """Return the value, one of ``choices``."""
        if self.value not in choices:
            raise self.error(f"expected one of {', '.join(choices)}")
        return self.text()


def check_size(data: Any) -> None:
    """Refuse data that is nested too deeply or too big, before anything recursive touches it.

    Raises:
        SignatureDefinitionError: where it is.
    """
    count = characters = 0
    pending = [(data, 0)]
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MAX_NESTING:
            raise CheckedJson(None).error(f"is nested more than {MAX_NESTING} levels deep")
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, Mapping):
            pending += ((item, depth + 1) for item in value.values())
            characters += sum(len(key) for key in value if isinstance(key, str))
        elif isinstance(value, (list, tuple)):
            pending += ((item, depth + 1) for item in value)
        if count + len(pending) > MAX_VALUES or characters > MAX_CHARACTERS:
            raise CheckedJson(None).error(f"is bigger than {MAX_VALUES} values or {MAX_CHARACTERS} characters")
