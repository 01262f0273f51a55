"""References of a step: each value is an initial input, an output of an earlier step, or a literal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from hokusai_core.errors import CompositionError

__all__ = [
    "FromInput",
    "FromStep",
    "Literal",
    "Ref",
    "Source",
    "UnresolvedReference",
    "literal",
    "parts",
    "ref",
    "value_of",
]

_FIELD = re.compile(r"[A-Za-z_]\w*")


@frozen
class Ref:
    """Says outright that a value comes from somewhere else; see ``ref``."""

    path: str


@frozen
class Literal:
    """Says outright that a value stands for itself; see ``literal``."""

    value: Any


def ref(path: str) -> Ref:
    """Return a reference to an initial input (``"document"``) or an output of an earlier step (``"Step.field"``).

    Unlike a plain string it is an error where there is no such thing.

    Raises:
        CompositionError: ``path`` is not a text.
    """
    if not isinstance(path, str) or not path:
        raise CompositionError(f"ref({path!r}): give the name of an initial input, or 'Step.field'")
    return Ref(path)


def literal(value: Any) -> Literal:
    """Return a literal ``value``, even if it looks like a reference."""
    return Literal(value)


@frozen
class FromInput:
    """The value of an initial input."""

    name: str


@frozen
class FromStep:
    """The value of an output of a step."""

    step: str
    field: str


@frozen
class UnresolvedReference:
    """A reference that cannot be; ``reason`` says why."""

    reason: str


#: What a value of a mapping comes from; ``Literal`` may hold lists and dicts with further sources inside.
Source = FromInput | FromStep | Literal | UnresolvedReference


def split_path(path: str, steps: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return step and field where ``path`` reads ``Step.field`` with a known step; the longest name wins."""
    head, dot, field = path.rpartition(".")
    return (head, field) if dot and head in steps and _FIELD.fullmatch(field) else None


def parts(value: Any) -> Iterator[Any]:
    """Yield the sources inside a resolved value."""
    if isinstance(value, (FromInput, FromStep, UnresolvedReference)):
        yield value
    elif isinstance(value, Literal):
        yield from parts(value.value) if isinstance(value.value, (list, tuple, dict)) else ()
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item)


def value_of(source: Any, inputs: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the value that a source stands for.

    Raises:
        CompositionError: a step did not give the output, as it took another branch.
    """
    if isinstance(source, FromInput):
        return inputs[source.name]
    if isinstance(source, FromStep):
        result = results[source.step]
        if source.field not in result:
            raise CompositionError(
                f"step {source.step!r} gave no output {source.field!r} this time; it gave {', '.join(result)}"
            )
        return result[source.field]
    if isinstance(source, Literal):
        return (
            value_of(source.value, inputs, results) if isinstance(source.value, (list, tuple, dict)) else source.value
        )
    if isinstance(source, (list, tuple)):
        return [value_of(item, inputs, results) for item in source]
    if isinstance(source, dict):
        return {name: value_of(item, inputs, results) for name, item in source.items()}
    return source
