"""Data files: the form of a file of rows, what separates the columns of a table, and the rows of a JSON array."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from hokusai_core.errors import ConfigurationError

__all__ = ["FORMS", "HEAD", "find_delimiter", "form_of", "rows_of_json", "without_repetition"]

#: The forms of files of rows.
FORMS: Final = ("jsonl", "json", "csv", "tsv")
#: Bytes at the beginning of a file that decide about its form.
HEAD: Final = 65_536
_BY_SUFFIX: Final = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
}  # fmt: skip
_SAVE_AS_CSV: Final = "save the sheet as CSV (UTF-8)"
_AS_JSON_LINES: Final = (
    "write its rows as JSON lines, for example with to_json(..., orient='records', lines=True) of pandas"
)
_NAME_IN_A_ROW: Final = "give a file with one row for each, which names it in a column"
_UNPACK: Final = "unpack it first"
#: How files begin that hold no text of rows -> what they are, and how to make one that does.
_FOREIGN: Final = (
    (b"PK\x03\x04", "a spreadsheet or another archive", _SAVE_AS_CSV),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", _SAVE_AS_CSV),
    (b"PAR1", "a Parquet file", _AS_JSON_LINES),
    (b"ARROW1", "an Arrow file", _AS_JSON_LINES),
    (b"SQLite format 3", "a SQLite database", "export the table as CSV, for example with sqlite3 -csv -header"),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"(\xb5/\xfd", "a zstd archive", _UNPACK),
    (b"\x89PNG", "a picture", _NAME_IN_A_ROW),
    (b"\xff\xd8\xff", "a picture", _NAME_IN_A_ROW),
    (b"GIF8", "a picture", _NAME_IN_A_ROW),
    (b"RIFF", "a picture or a sound", _NAME_IN_A_ROW),
    (b"%PDF", "a PDF document", "give a file with one row for each document"),
    (b"\xff\xfe", "UTF-16 text", "convert it first, for example with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it first, for example with iconv -f UTF-16 -t UTF-8"),
)
#: What may separate the columns of a table.
_DELIMITERS: Final = ",;\t|"


def form_of(name: str, head: bytes, *, more: str = "") -> str:
    """Return the form of a file of rows: ``jsonl``, ``json``, ``csv`` or ``tsv``.

    Args:
        name: name of the file; ``stdin`` for the standard input, whose form its beginning tells.
        head: its first bytes.
        more: what a message about an unknown name says beside the names that are known.

    Raises:
        ConfigurationError: it is something else, such as a spreadsheet; says how to make a file of rows of it.

    Example:
        >>> form_of("mails.csv", b"text;label"), form_of("rows.json", b'[{"text": "a"}]'), form_of("stdin", b'{"a": 1}')
        ('csv', 'json', 'jsonl')
    """
    for sign, kind, remedy in _FOREIGN:
        if head.startswith(sign):
            raise ConfigurationError(f"{name} is {kind}, not a file of rows: {remedy}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    known = _BY_SUFFIX.get(Path(name).suffix.lower())
    if known == "json" and _is_object(text.partition(b"\n")[0]):
        return "jsonl"  # lines of objects are JSON to many people
    if known is not None:
        return known
    if text[:1] in (b"{", b"["):
        return "jsonl" if text[:1] == b"{" else "json"
    if name == "stdin":
        return "csv" if text else "jsonl"
    raise ConfigurationError(f"{name}: the name of a file of rows ends in .jsonl, .json, .csv or .tsv{more}")


def find_delimiter(header: str, known: Collection[str] = ()) -> str:
    r"""Return what separates the columns of a table: a comma, a semicolon, a tab or a bar.

    Args:
        header: the beginning of the table.
        known: names that columns may have; the separator by which most of them are found wins.

    Example:
        >>> find_delimiter("text;label\nLate, and broken;Complaint", ["text"])
        ';'
    """
    found, most = ",", (-1, -1)
    for candidate in _DELIMITERS:
        try:
            cells = next(csv.reader(io.StringIO(header), delimiter=candidate), [])
        except csv.Error:
            continue
        score = (len({cell.strip() for cell in cells} & set(known)), len(cells))
        if score > most:
            found, most = candidate, score
    return found


def rows_of_json(text: str, name: str) -> list[Any]:
    """Return the items of a JSON array; none if the text is blank.

    Args:
        text: the JSON text.
        name: what it is called in messages.

    Raises:
        ConfigurationError: it is not JSON, or not an array.
    """
    if not text.strip():
        return []
    try:
        found = json.loads(text, object_pairs_hook=without_repetition)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"{name} is not JSON: {error.msg} at {where}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not JSON: {error}") from error
    if not isinstance(found, list):
        kind = "one object" if isinstance(found, dict) else "a single value"
        raise ConfigurationError(f"{name} holds {kind}; expected an array of rows, such as [{{...}}, {{...}}]")
    return found


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict from the ``pairs`` of a JSON object.

    Raises:
        ValueError: A name occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
