"""What is shown of results: values as text, as HTML and as JSON, without those of sensitive fields."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from hokusai_core.redaction import REDACTED

__all__ = ["html_table", "plain_values", "redacted", "values_line", "values_rows", "values_text"]

#: Characters that are shown of a value, and of one within a line.
_LONGEST: Final = 2_000
_IN_A_LINE: Final = 60


def redacted(values: Any, hidden: Collection[str]) -> dict[Any, Any]:
    """Return the fields of a row without the values of ``hidden`` ones; what is not a mapping shows its type only."""
    try:
        if isinstance(values, Mapping):
            return {name: REDACTED if name in hidden else value for name, value in values.items()}
    except Exception as error:  # of a mapping that reads its values somewhere; its row has failed with it
        return {"row": f"<{type(values).__name__}: {type(error).__name__}>"}
    return {"row": f"<{type(values).__name__}>"}


def plain_values(values: Mapping[Any, Any], hidden: Collection[str] = ()) -> dict[str, Any]:
    """Return values as JSON-able ones; a value without a JSON form is replaced by the name of its type."""
    return {str(name): _plain(value) for name, value in redacted(values, hidden).items()}


def values_text(values: Mapping[str, Any], hidden: Collection[str] = ()) -> str:
    """Return values for people, each with its name; long ones are cut.

    Example:
        >>> print(values_text({"team": "Billing", "steps": ["call", "write"], "pin": "1234"}, {"pin"}))
        team: Billing
        steps:
          - call
          - write
        pin: [redacted]
    """
    return "\n".join(f"{name}:{_placed(text)}" for name, text in values_rows(values, hidden))


def values_rows(values: Mapping[str, Any], hidden: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the names and the texts of values for people; long ones are cut."""
    return [(name, _cut(_text(value))) for name, value in redacted(values, hidden).items()]


def values_line(values: Mapping[str, Any], hidden: Collection[str] = ()) -> str:
    """Return values in one line, each cut to a few words."""
    parts = ((name, " ".join(_text(value, "; ").split())) for name, value in redacted(values, hidden).items())
    return ", ".join(
        f"{name}={text if len(text) <= _IN_A_LINE else text[: _IN_A_LINE - 3] + '...'}" for name, text in parts
    )


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table for notebooks; every text in it is escaped."""

    def cells(tag: str, row: Sequence[str]) -> Iterator[str]:
        yield "<tr>"
        yield from (
            f'<{tag} style="text-align: left; vertical-align: top; white-space: pre-wrap">{html.escape(text)}</{tag}>'
            for text in row
        )
        yield "</tr>"

    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    head = "".join(cells("th", columns))
    body = "".join("".join(cells("td", row)) for row in rows)
    return f"<table>{title}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _plain(value: Any) -> Any:
    import orjson  # a program that shows no result does without both

    from hokusai_core.json_encoding import jsonable

    try:
        plain = jsonable(value)
        orjson.dumps(plain)
    except Exception:  # a class may say in code of its own what its JSON form is
        return f"<{type(value).__name__}>"
    return plain


def _text(value: Any, between: str = "") -> str:
    """Return a value for people; texts of a list with ``between`` between them, as bullets without it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return between.join(value) if between else "\n".join(f"- {item}" for item in value)
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def _placed(text: str) -> str:
    """Return a text as it stands behind its name: on the same line, or indented below it."""
    if "\n" not in text and not text.startswith("- "):
        return f" {text}"
    return "\n  " + text.replace("\n", "\n  ")
