"""What tells a program from another one with the same signature, and from itself after it was changed in place."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import dspy

__all__ = ["is_described", "program_state"]

_PLAIN = (str, int, float, bool, type(None))


def is_described(program: Any) -> bool:
    """Whether ``program_state`` tells all about it: code of the host's own, tools and retrievers have no digest."""
    return type(program) in (dspy.Predict, dspy.ChainOfThought)


def program_state(program: Any) -> str:
    """Return a digest of the classes of a program and its parts, their plain attributes, and what can be optimized.

    That are instructions, demos and language models of its predictors, as DSPy saves them.
    """
    parts = [
        [name, type(part).__module__, type(part).__qualname__, _plain_attributes(part)]
        for name, part in program.named_sub_modules()
    ]
    try:
        state = program.dump_state()
    except Exception as error:  # a part that DSPy cannot save; the program runs all the same
        state = type(error).__name__
    text = json.dumps([parts, state], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain_attributes(part: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = getattr(part, "__dict__", {})
    return {name: value for name, value in attributes.items() if type(value) in _PLAIN and not name.startswith("_")}
