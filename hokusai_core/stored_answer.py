"""The text of a stored answer: the outputs as JSON, and after a tab what a strategy gave beside them, if anything.

JSON texts that orjson and the standard library write hold no tab, so the first one ends the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["answer_text", "split_answer"]


def answer_text(outputs: bytes, extras: Mapping[str, Any]) -> bytes:
    """Return the text of an answer.

    Args:
        outputs: the outputs as JSON text.
        extras: what a strategy gave beside them; what has no JSON form is left out.
    """
    if not extras:
        return outputs
    try:
        return outputs + b"\t" + orjson.dumps(dict(extras))
    except TypeError:  # a lone surrogate or an integer beyond 64 bits
        return outputs


def split_answer(text: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the outputs of an answer as JSON text, and what a strategy gave beside them.

    Raises:
        ValueError: what follows the tab is not a JSON object.
    """
    outputs, tab, rest = text.partition(b"\t")
    if not tab:
        return text, {}
    extras = orjson.loads(rest)
    if not isinstance(extras, dict):
        raise ValueError("what follows the outputs of a stored answer must be a JSON object")
    return outputs, extras
