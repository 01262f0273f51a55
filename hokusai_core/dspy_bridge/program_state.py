"""A digest of a program. It differs between programs of one signature, and changes when a program is changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import dspy

__all__ = ["is_described", "program_state"]

_PLAIN = (str, int, float, bool, type(None))


def is_described(program: Any) -> bool:
    """Return whether ``program_state`` covers a program: code of the host, tools and retrievers have no digest."""
    return type(program) in (dspy.Predict, dspy.ChainOfThought)


def program_state(program: Any) -> str:
    """Return a digest of a program.

    It covers the classes of the program and its parts, their plain attributes, and what DSPy saves of its predictors:
    instructions, demos and language models.
    """
    parts = [
        [name, type(part).__module__, type(part).__qualname__, _plain_attributes(part)]
        for name, part in program.named_sub_modules()
    ]
    try:
        state = program.dump_state()
    except Exception as error:  # DSPy cannot save a part; the program can run anyway
        state = type(error).__name__
    text = json.dumps([parts, state], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain_attributes(part: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = getattr(part, "__dict__", {})
    return {name: value for name, value in attributes.items() if type(value) in _PLAIN and not name.startswith("_")}
