"""Split a data set into files, by a seed, with labels spread evenly and near repetitions in one file."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import atomic_write, jsonable
from hokusai_evaluate.example_reader import ExampleRow, near_key, read_file
from hokusai_evaluate.stratified_split import strata_of, take

__all__ = ["split_data"]

_TABLES = {".csv": ",", ".tsv": "\t"}
#: A column with more different values does not count as a label.
_MOST_LABELS = 30
#: A number or code: one word with a digit.
_ID = re.compile(r"\S*\d\S*")
#: What stands between the items of a list that is written as text.
_SEPARATORS = re.compile(r"[,;|\n]")


def split_data(
    path: str | os.PathLike[str],
    shares: Mapping[str, float],
    *,
    by: str | None = None,
    group: str | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    delimiter: str | None = None,
) -> dict[Path, int]:
    """Write the rows of a file to several files, ``NAME.PART.jsonl`` or ``NAME.PART.csv``.

    Rows whose inputs differ in case, blanks or the order of a list only stay together, whatever their label. In a
    table, the inputs are the columns that are neither labels nor ids: their values do not come again and again, and are
    not a number or code of their own in each row.

    Args:
        path: a JSONL or CSV file.
        shares: part -> share of the rows. The part that comes first gets the rest, where they do not add up to 1.
        by: column of a label that is spread evenly over the parts.
        group: column whose equal values stay together, such as a customer.
        seed: of the shuffling.
        folder: where the files go; None for the folder of ``path``.
        force: whether files that are there are replaced.
        delimiter: what separates the columns of a table; None for what its first line says.

    Returns:
        The files, and how many rows each has.

    Raises:
        ConfigurationError: the file cannot be read, a share or a column cannot be used, or a file is there already.

    Example::

        split_data("tickets.jsonl", {"train": 0.6, "dev": 0.2, "test": 0.2}, by="team")
    """
    source = Path(path)
    if len(shares) < 2 or any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
        raise ConfigurationError(f"shares={dict(shares)!r}: give at least two parts with shares that add up to 1")
    rows = _read(source, [column for column in (by, group) if column is not None], delimiter)
    targets = {part: Path(folder or source.parent) / f"{source.stem}.{part}{source.suffix}" for part in shares}
    present = [str(target) for target in targets.values() if target.exists()]
    if present and not force:
        raise ConfigurationError(f"{', '.join(present)} is there already; delete it, or allow it to be replaced")
    rng = random.Random(seed)  # noqa: S311  # shuffling, not secrets
    strata = strata_of(_groups(rows, by, group), lambda row: str(_value(row, by)) if by else "", rng)
    total = sum(map(len, strata))
    first, *others = shares
    found: dict[str, list[ExampleRow]] = {}
    for part in others:
        chosen, strata = take(strata, round(total * shares[part]))
        found[part] = [row for one in chosen for row in one]
    found[first] = [row for stratum in strata for one in stratum for row in one]
    for part, target in targets.items():
        _write(target, sorted(found[part], key=lambda row: row.number))
    return {target: len(found[part]) for part, target in targets.items()}


def _read(source: Path, columns: Sequence[str], delimiter: str | None) -> list[ExampleRow]:
    """Return the rows of a file, which must have ``columns``.

    Raises:
        ConfigurationError: it cannot be read, or a row lacks one of them.
    """
    if source.suffix.lower() not in (*_TABLES, ".jsonl", ".ndjson"):
        raise ConfigurationError(f"{source}: expected a .jsonl, .csv or .tsv file")
    rows = list(read_file(source, "data", delimiter=delimiter, known=columns))
    for row in rows:
        if row.problem is not None or not isinstance(row.value, Mapping):
            what = row.problem.message if row.problem else "is not an object with names and values"
            raise ConfigurationError(f"{source}: {row.label} {what}")
    for column in columns:
        if not all(_has(row, column) for row in rows):
            raise ConfigurationError(f"{source}: not every row has the column {column!r}")
    return rows


def _groups(rows: Sequence[ExampleRow], by: str | None, group: str | None) -> list[list[ExampleRow]]:
    """Return rows that have to stay together: of the same group, or near repetitions of each other."""
    parents = list(range(len(rows)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    seen: dict[Any, int] = {}
    columns = _input_columns([row.value for row in rows if not _is_nested(row)], {by, group})
    for place, row in enumerate(rows):
        inputs = row.value["inputs"] if _is_nested(row) else {name: row.value.get(name) for name in columns}
        keys: list[Any] = [("near", near_key(_without_order(jsonable(inputs))))]
        keys += [("group", near_key(_value(row, group)))] if group else []
        for key in keys:
            parents[root(place)] = root(seen.setdefault(key, place))
    found: dict[int, list[ExampleRow]] = defaultdict(list)
    for place, row in enumerate(rows):
        found[root(place)].append(row)
    return list(found.values())


def _is_nested(row: ExampleRow) -> bool:
    return isinstance(row.value.get("inputs"), Mapping)


def _input_columns(rows: Sequence[Mapping[str, Any]], apart: Collection[str | None]) -> list[str]:
    """Return the columns of a table that are inputs; those in ``apart`` are none.

    Without labels and ids, rows that repeat each other are found. A column too few makes larger groups and no leak.
    """
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in apart]
    found = []
    for name in columns:
        texts = [str(row.get(name)) for row in rows]
        is_label = len(set(texts)) <= min(_MOST_LABELS, len(texts) // 4)
        is_id = len(set(texts)) == len(texts) and all(_ID.fullmatch(text) for text in texts)
        if not is_label and not is_id:
            found.append(name)
    return found or columns


def _without_order(value: Any) -> Any:
    """Return a value whose texts are lists, where they look like one, so that their order does not count."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            read = json.loads(value)
            if isinstance(read, (list, dict)):
                return read
        return sorted(part.strip().casefold() for part in _SEPARATORS.split(value))
    if isinstance(value, list):
        return [_without_order(item) for item in value]
    return {name: _without_order(item) for name, item in value.items()} if isinstance(value, dict) else value


def _has(row: ExampleRow, column: str) -> bool:
    return any(column in part for part in _places(row))


def _value(row: ExampleRow, column: str) -> Any:
    return next((part[column] for part in _places(row) if column in part), None)


def _places(row: ExampleRow) -> list[Mapping[str, Any]]:
    nested = (row.value.get(name) for name in ("inputs", "outputs"))
    return [row.value, *(part for part in nested if isinstance(part, Mapping))]


def _write(target: Path, rows: Sequence[ExampleRow]) -> None:
    delimiter = _TABLES.get(target.suffix.lower())
    if delimiter is None:
        atomic_write(target, (json.dumps(row.value, ensure_ascii=False).encode() + b"\n" for row in rows))
        return
    columns = list(dict.fromkeys(name for row in rows for name in row.value))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(row.value for row in rows)
    atomic_write(target, [text.getvalue().encode()])
