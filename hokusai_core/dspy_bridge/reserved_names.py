"""Field names that DSPy reserves, and the names that replace them."""

from __future__ import annotations

from collections.abc import Iterable

import dspy

__all__ = ["safe_names"]

#: Names with a meaning of their own where DSPy takes fields as keyword arguments, or where it reads answers.
_TAKEN = frozenset(
    {
        "_trace",
        "completed",  # the marker that ends an answer
        "config",
        "demos",
        "lm",
        "logprobs",
        "new_signature",
        "prediction",
        "self",
        "signature",
    }
)

#: How names begin that pydantic keeps for itself.
_PROTECTED = ("model_dump", "model_validate")


def _unsafe(name: str) -> bool:
    return (
        name.startswith(("_", *_PROTECTED))
        or name in _TAKEN
        or hasattr(dspy.Signature, name)
        or hasattr(dspy.Prediction, name)
    )


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each field name the one that DSPy gets; most stay as they are.

    A name that DSPy or pydantic uses itself (``copy``, ``items``, ``lm``, ...) gets a trailing underscore; leading
    underscores are dropped, because pydantic takes such attributes for private ones.
    """
    original = list(names)
    taken = {name for name in original if not _unsafe(name)}
    safe: dict[str, str] = {}
    for name in original:
        if name in taken:
            safe[name] = name
            continue
        bare = name.lstrip("_") or "field"
        candidate = f"the_{bare}" if bare.startswith(_PROTECTED) else f"{bare}_"
        while candidate in taken or _unsafe(candidate):
            candidate += "_"
        taken.add(candidate)
        safe[name] = candidate
    return safe
