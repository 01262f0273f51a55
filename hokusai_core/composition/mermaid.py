"""Draws a chain as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hokusai_core.composition.definitions import ChainDefinition, Step
from hokusai_core.composition.references import Ref, split_path
from hokusai_core.errors import CompositionError

__all__ = ["draw"]

_LONGEST = 40


def draw(chain: ChainDefinition, initial_inputs: Iterable[str]) -> str:
    """Return the chain as Mermaid text.

    Args:
        chain: the chain; it need not be right.
        initial_inputs: names of its initial inputs.
    """
    drawing = _Drawing(chain, frozenset(initial_inputs) | frozenset(chain.inputs or ()))
    try:
        for step in chain.steps.values():
            drawing.step(step)
    except RecursionError:
        raise CompositionError(f"chain {chain.name!r} cannot be drawn: a value is nested too deeply") from None
    return drawing.text()


class _Drawing:
    def __init__(self, chain: ChainDefinition, names: frozenset[str]) -> None:
        self._chain, self._names = chain, names
        self._ids = {name: f"s{number}" for number, name in enumerate(chain.steps)}
        self._inputs: dict[str, str] = {}
        self._nodes: list[str] = []
        self._edges: list[str] = []

    def step(self, step: Step) -> None:
        own = self._ids[step.name]
        kind = type(step.target).__name__
        title = step.name if isinstance(step.target, (str, type)) else f"{step.name} ({kind})"
        lines = [title]
        if isinstance(step.target, str) and step.target.rpartition("/")[2] != step.name:
            lines.append(step.target)
        for key, value in (step.mapping or {}).items():
            found = list(self._origins(value))
            for origin, label in found:
                self._edges.append(f"    {origin} -->|{_safe(label(key))}| {own}")
            if not found:
                lines.append(f"{key} = {_shortened(value)}")
        self._nodes.append(f'    {own}["{"<br>".join(map(_safe, lines))}"]')

    def text(self) -> str:
        inputs = [f'    {own}(["{_safe(name)}"])' for name, own in self._inputs.items()]
        return "\n".join(["flowchart TD", *inputs, *self._nodes, *self._edges]) + "\n"

    def _origins(self, value: Any) -> Iterable[Any]:
        """Yield where a value comes from: the node, and what makes the label of the edge out of the input's name."""
        if isinstance(value, (list, tuple)):
            for item in value:
                if not isinstance(item, str):
                    yield from self._origins(item)
        elif isinstance(value, dict):
            for item in value.values():
                if not isinstance(item, str):
                    yield from self._origins(item)
        path = value.path if isinstance(value, Ref) else value if isinstance(value, str) else None
        if path is None:
            return
        found = split_path(path, self._chain.steps)
        if path in self._names or (isinstance(value, Ref) and found is None):
            yield self._inputs.setdefault(path, f"i{len(self._inputs)}"), lambda key: key
        elif found is not None:
            step, field = found
            yield self._ids[step], lambda key: field if field == key else f"{field} as {key}"


def _shortened(value: Any) -> str:
    value = getattr(value, "value", value)
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _safe(text: str) -> str:
    """Return ``text`` so that none of it is syntax of Mermaid or HTML."""
    return "".join(
        character if character.isalnum() or character in " _-.,/=" else f"#{ord(character)};"
        for character in " ".join(text.split())
    )
