"""Read the JSON text of one value strictly: an ambiguous or non-finite value is an error, never a guess."""

from __future__ import annotations

import ast
import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

__all__ = ["NotJSON", "parse_json", "parse_literal", "parse_structure", "without_fence"]

#: Longer texts are read as JSON only: Python's parser takes a hundred times their size in memory.
_LONGEST_LITERAL: Final = 200_000
#: Beginnings of escapes that Python and JSON do not read alike: halves of a pair are one character in JSON only.
_UNSURE_ESCAPE: Final = re.compile(r"\\(?:[^\\'\"nrtu]|u[dD][89a-fA-F]|$)")
_FENCE: Final = re.compile(r"```[\w+-]*[ \t]*\n")
_BRACKETS: Final = {"[": "]", "{": "}", "(": ")"}


class NotJSON(ValueError):
    """The text is not JSON, or cannot be trusted. The message says why and quotes nothing.

    Args:
        reason: why it cannot be trusted; None where it is not JSON at all.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "is not JSON")
        #: Whether it is meant as JSON beyond doubt, so that reading it as another form makes no sense.
        self.certain = reason is not None


def parse_json(text: str, *, exact: bool = False) -> Any:
    """Return the value that ``text`` spells out in JSON.

    Args:
        text: the text.
        exact: read numbers with a point as ``Decimal``.

    Raises:
        NotJSON: it is none, holds NaN or an infinity, or an object has the same key twice.
    """
    try:
        return (_read_exact if exact else _read)(text)
    except NotJSON:
        raise
    except (ValueError, RecursionError):
        raise NotJSON() from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotJSON("has the same key twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise NotJSON("expected finite numbers")


# The C scanner with hooks; only objects cost a call each.
_read: Final = json.JSONDecoder(object_pairs_hook=_mapping, parse_constant=_refuse_constant).decode
_read_exact: Final = json.JSONDecoder(
    object_pairs_hook=_mapping, parse_constant=_refuse_constant, parse_float=Decimal
).decode


def parse_literal(text: str) -> Any:
    """Return the list, tuple, set or dict that ``text`` spells out as Python displays it.

    Raises:
        NotJSON: it is none, or one that a slip may have changed, such as two texts without a comma between them.
    """
    stripped = text.strip().replace("\r\n", "\n")
    if "\r" in stripped or "\f" in stripped or _UNSURE_ESCAPE.search(stripped.replace("\\\\", "")):
        raise NotJSON()
    if len(stripped) > _LONGEST_LITERAL or _BRACKETS.get(stripped[:1]) != stripped[-1:]:
        raise NotJSON()
    try:
        tree = ast.parse(stripped, mode="eval")
        _check_literal(tree, stripped)
        return ast.literal_eval(tree)
    except NotJSON:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise NotJSON() from None


def parse_structure(text: str, *, exact: bool = False) -> Any:
    """Return the value that ``text`` spells out in JSON, or the list, tuple, set or dict that Python displays so.

    Raises:
        NotJSON: it is neither, or one that cannot be trusted.
    """
    try:
        return parse_json(text, exact=exact)
    except NotJSON as problem:
        if problem.certain:
            raise
    return parse_literal(text)


def _check_literal(tree: ast.AST, text: str) -> None:
    lines = text.encode().split(b"\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [ast.dump(key) for key in node.keys if key is not None]
            if len(set(keys)) != len(node.keys):
                raise NotJSON("has the same key twice")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_joined(node, lines):
            raise NotJSON("has two texts without a comma between them")


def _is_joined(node: ast.Constant, lines: list[bytes]) -> bool:
    """Return whether a text is written as several that stand side by side, which Python joins."""
    if node.end_lineno != node.lineno:
        return True  # Python displays a text on one line
    source = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
    quote = source.lstrip(b"rRbBuUfF")[:1]
    body = source[source.index(quote) + 1 : -1]
    position = 0
    while position < len(body):
        if body[position : position + 1] == b"\\":
            position += 2
            continue
        if body[position : position + 1] == quote:
            return True
        position += 1
    return not source.endswith(quote)


def without_fence(text: str) -> str:
    """Return the inside of the code fence that encloses all of ``text``, else ``text`` stripped."""
    stripped = text.strip()
    if not stripped.startswith("```") or not stripped.endswith("```"):
        return stripped
    opening = _FENCE.match(stripped)
    if opening is not None:
        inner = stripped[opening.end() : -3]
    elif "\n" not in stripped and len(stripped) >= 6:
        inner = stripped[3:-3]
    else:
        return stripped
    return stripped if "```" in inner else inner.strip()
