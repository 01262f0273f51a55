"""Check data sets: rows that do not fit, conflicts, repetitions, leaks between files, labels, gaps and long texts."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from attrs import frozen

from hokusai_core.plugin_api import MediaPolicy, OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import example_key, keys_hash, match_rows, near_key
from hokusai_evaluate.stratified_split import label_fields

__all__ = ["DataCheck", "DataFile", "Finding", "check_data"]

#: Rows that a finding names.
_NAMED: Final = 10
#: A label with fewer rows, and one with a larger share, are named.
_FEWEST: Final = 5
_LARGEST_SHARE: Final = 0.8
_MEDIA: Final = MediaPolicy()


@frozen
class Finding:
    """Something about a data set.

    Args:
        severity: ``error`` for what makes scores wrong, ``warning`` for what may.
        kind: ``misfit``, ``conflict``, ``leak``, ``repetition``, ``labels``, ``empty`` or ``long``.
        file: the file that it is in.
        message: what it is, with the rows. Of their values it holds labels only.
    """

    severity: Literal["error", "warning"]
    kind: str
    file: str
    message: str


@frozen
class DataFile:
    """A file with examples.

    Args:
        name: its name.
        rows: rows that fit the signature.
        digest: digest of these.
        labels: output -> label -> rows.
    """

    name: str
    rows: int
    digest: str
    labels: Mapping[str, Mapping[str, int]]


@frozen
class DataCheck:
    """The result of a check.

    Args:
        files: the files.
        findings: what was found, errors first.
    """

    files: tuple[DataFile, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)


_Rows = list[tuple[int, OptimizationExample]]


def check_data(
    spec: SignatureSpec,
    paths: Sequence[str | os.PathLike[str]],
    *,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    delimiter: str | None = None,
    most_characters: int = 20_000,
    media: MediaPolicy = _MEDIA,
) -> DataCheck:
    """Check files with examples, each by itself and against the others.

    Inputs that differ in case, blanks or the order of a list only count as the same.

    Args:
        spec: the signature that they are for.
        paths: the files, JSONL, JSON or CSV.
        mapping: column -> field, for columns that are called otherwise.
        constants: inputs that all rows have alike.
        delimiter: what separates the columns of CSV files; None for what their first lines say.
        most_characters: characters of the inputs of a row above which it is named as long.
        media: which pictures, sounds and files are taken.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    findings: list[Finding] = []
    files: list[DataFile] = []
    seen: dict[str, tuple[str, int]] = {}
    for path in paths:
        name = Path(path).name if len({Path(one).name for one in paths}) == len(paths) else os.fspath(path)
        rows: _Rows = []
        for row, example, problems, _ in match_rows(
            spec, path, name, mapping=mapping, constants=constants, delimiter=delimiter, media=media
        ):
            findings += (Finding("error", "misfit", name, str(problem)) for problem in problems)
            if example is not None:
                rows.append((row.number, example))
        examples = [example for _, example in rows]
        shown = [field for field in label_fields(spec, examples) if field not in spec.sensitive]
        labels = {field: Counter(str(one.outputs.get(field)) for one in examples) for field in shown}
        files.append(DataFile(name, len(rows), keys_hash([example_key(one) for one in examples]), labels))
        findings += _about_one_file(name, rows, labels, most_characters)
        findings += _leaks(name, rows, seen)
        if not rows:
            findings.append(Finding("error", "empty", name, "has no row that fits the signature"))
    return DataCheck(tuple(files), tuple(sorted(findings, key=lambda finding: finding.severity)))


def _about_one_file(
    name: str, rows: _Rows, labels: Mapping[str, Mapping[str, int]], most_characters: int
) -> Iterator[Finding]:
    groups: dict[str, _Rows] = defaultdict(list)
    for number, example in rows:
        groups[near_key(example.inputs)].append((number, example))
    for group in groups.values():
        numbers = [number for number, _ in group]
        if len({near_key(example.outputs) for _, example in group}) > 1:
            text = f"{_rows(numbers)} have the same inputs and different outputs; keep the right one"
            yield Finding("error", "conflict", name, text)
        elif len(group) > 1:
            same = len({example_key(example) for _, example in group}) == 1
            how = "repeat each other" if same else "repeat each other but for case, blanks or order"
            yield Finding("warning", "repetition", name, f"{_rows(numbers)} {how}")
    for field, counts in labels.items():
        rare = [label for label, count in counts.items() if count < _FEWEST]
        if rare:
            shown = ", ".join(f"{label} ({counts[label]})" for label in rare[:_NAMED])
            yield Finding("warning", "labels", name, f"{field}: fewer than {_FEWEST} rows for {shown}")
        label, most = max(counts.items(), key=lambda item: item[1])
        if most > _LARGEST_SHARE * len(rows):
            text = f"{field}: {most / len(rows):.0%} of the rows are {label}; look at macro_f1, not at accuracy alone"
            yield Finding("warning", "labels", name, text)
    gaps: dict[str, list[int]] = defaultdict(list)
    for number, example in rows:
        for field, value in (*example.inputs.items(), *example.outputs.items()):
            if value is None or (isinstance(value, str) and not value.strip()) or value in ([], {}):
                gaps[field].append(number)
    for field, numbers in gaps.items():
        yield Finding("warning", "empty", name, f"{field} is empty in {_rows(numbers)}")
    long = [number for number, example in rows if len(str(jsonable(example.inputs))) > most_characters]
    if long:
        yield Finding("warning", "long", name, f"more than {most_characters:,} characters of inputs: {_rows(long)}")


def _leaks(name: str, rows: _Rows, seen: dict[str, tuple[str, int]]) -> Iterator[Finding]:
    """Yield the rows whose inputs are in an earlier file, and note the others in ``seen``."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, example in rows:
        other, _ = seen.setdefault(near_key(example.inputs), (name, number))
        if other != name:
            found[other].append(number)
    for other, numbers in found.items():
        text = f"the inputs of {_rows(numbers)} are also in {other}; scores on one of the files say too much"
        yield Finding("error", "leak", name, text)


def _rows(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"row {shown}" if len(numbers) == 1 else f"rows {shown}{more}"
