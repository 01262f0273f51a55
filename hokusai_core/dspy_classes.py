"""The classes of DSPy that fields may have as types, known by name, so that nothing here imports DSPy."""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["DSPY_CLASSES", "dspy_class", "is_history", "media_kind"]

#: Name of a class -> its module. Classes of these names in other modules are others.
DSPY_CLASSES: Final[dict[str, str]] = {
    "Image": "dspy.adapters.types.image",
    "Audio": "dspy.adapters.types.audio",
    "File": "dspy.adapters.types.file",
    "History": "dspy.adapters.types.history",
}


def media_kind(cls: Any) -> str | None:
    """Return ``image``, ``audio`` or ``file`` for the classes of DSPy, None for any other."""
    name = getattr(cls, "__qualname__", "")
    return name.lower() if name != "History" and DSPY_CLASSES.get(name) == cls.__module__ else None


def is_history(cls: Any) -> bool:
    """Return whether ``cls`` is DSPy's class of conversations."""
    return getattr(cls, "__qualname__", "") == "History" and cls.__module__ == DSPY_CLASSES["History"]


def dspy_class(name: str) -> Any:
    """Return the class of DSPy of that name, importing DSPy."""
    return getattr(importlib.import_module(DSPY_CLASSES[name]), name)
