"""Grammars in llguidance's dialect, which llama.cpp follows while it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hokusai_local.alphabet import Alphabet

__all__ = ["choice_grammar", "json_grammar", "text_grammar", "tokens_grammar"]

_HEADER = "%llguidance {}\n"
# Free white space costs tokens, and small models lose themselves in it.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def text_grammar(ends: Sequence[int], alphabet: Alphabet, *, question: bool = False) -> str:
    """Return a grammar for text that does not begin with white space.

    Args:
        ends: the tokens with which the model ends its turn. They have to be named: a grammar admits of itself only
            the one that the vocabulary calls its end, which chat models often do not use, and without its own the
            model writes on until its limit.
        alphabet: what the text may consist of.
        question: whether it is one question.
    """
    text = alphabet.question if question else f"{alphabet.first}({alphabet.rest}|[\\n\\t])*"
    return f"{_HEADER}start: TEXT {_one_of(ends)}\nTEXT: /{text}/"


def choice_grammar(options: Sequence[str]) -> str:
    """Return a grammar for exactly one of ``options``."""
    return f"{_HEADER}start: " + " | ".join(json.dumps(option, ensure_ascii=False) for option in options)


def tokens_grammar(tokens: Sequence[int], ends: Sequence[int]) -> str:
    """Return a grammar for exactly these tokens and the end of the turn."""
    return f"{_HEADER}start: {' '.join(f'<[{token}]>' for token in tokens)} {_one_of(ends)}"


def _one_of(tokens: Sequence[int]) -> str:
    return f"<[{','.join(map(str, tokens))}]>"


def json_grammar(schema: Mapping[str, Any]) -> str:
    """Return a grammar for JSON that fits ``schema``, which must come from ``hokusai_local.schema.bounded``."""
    return f"{_HEADER}start: %json {json.dumps({**schema, 'x-guidance': _SPACING})}"
