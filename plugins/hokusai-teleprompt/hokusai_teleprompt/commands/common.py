"""What the commands have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["safe", "shown"]


def safe(text: str) -> str:
    """Return a text without the control characters by which what a model wrote could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def shown(values: Mapping[str, Any]) -> str:
    """Return values by name, each on a line of its own or indented where it has several."""
    lines = []
    for name, value in values.items():
        text = safe(value if isinstance(value, str) else repr(value))
        lines.append(f"  {name}: {text}" if "\n" not in text else f"  {name}:\n    " + text.replace("\n", "\n    "))
    return "\n".join(lines)
