"""Read rows of examples from files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import Problem

__all__ = ["ExampleRow", "read_file"]


@frozen
class ExampleRow:
    """One example as it was read.

    Args:
        number: its number, from 1.
        label: its name in errors.
        value: its content.
        flat: whether it is a row of a table, in which ``inputs`` and ``outputs`` are column names like any other.
        problem: why it could not be read, None if it could.
    """

    number: int
    label: str
    value: Any = None
    flat: bool = False
    problem: Problem | None = None


def read_file(path: str | os.PathLike[str], what: str) -> Iterator[ExampleRow]:
    """Yield the rows of a JSONL, JSON or CSV file.

    Raises:
        ConfigurationError: the file cannot be read, or its name does not tell its format.
    """
    source = Path(path)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise ConfigurationError(f"{what}: {source} must end in .jsonl, .json, .csv or .tsv")
    try:
        yield from reader(source)
    except OSError as error:
        raise ConfigurationError(f"{what}: {source} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{what}: {source} is not UTF-8 text: {error}") from error


def _jsonl(path: Path) -> Iterator[ExampleRow]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            label = f"line {number}"
            try:
                yield ExampleRow(number, label, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield ExampleRow(number, label, problem=Problem("example", "not_json", f"is not JSON: {error}"))


def _json(path: Path) -> Iterator[ExampleRow]:
    try:
        items = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not JSON: {error}") from error
    if not isinstance(items, list):
        raise ConfigurationError(f"{path}: expected a list of examples")
    for number, item in enumerate(items, 1):
        yield ExampleRow(number, f"item {number}", item)


def _csv(path: Path) -> Iterator[ExampleRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for number, record in enumerate(reader, 1):
            label = f"row {number}"
            if None in record:
                problem = Problem("example", "too_many_cells", "has more cells than there are columns")
                yield ExampleRow(number, label, problem=problem)
                continue
            cells = {name: cell for name, cell in record.items() if cell not in (None, "")}
            yield ExampleRow(number, label, cells, flat=True)
