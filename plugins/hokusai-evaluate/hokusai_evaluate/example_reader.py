"""Read examples from files and in any of their other forms, and check them before anything is paid for."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from attrs import evolve, field, frozen

from hokusai_core.cli_support.data_files import HEAD, find_delimiter, form_of, rows_of_json
from hokusai_core.cli_support.media_folder import MediaFolder
from hokusai_core.errors import ConfigurationError, InputError
from hokusai_core.plugin_api import MediaPolicy, OptimizationExample, Problem, SignatureSpec, did_you_mean, jsonable

__all__ = [
    "ExampleRow",
    "Examples",
    "dataset_hash",
    "example_key",
    "input_key",
    "keys_hash",
    "match_rows",
    "near_key",
    "read_examples",
    "read_file",
]

_SHOWN = 25
#: Rows with the same problem that have a line each; more have one line together.
_ALIKE = 3
_PARTS = ("inputs", "outputs")
_NOTHING: Mapping[str, Any] = {}
_MEDIA = MediaPolicy()


@frozen
class Examples:
    """Examples that fit a signature.

    Args:
        items: the examples, inputs bound and outputs typed.
        notes: what was left out, for the report.
        keys: digest of each example; see ``example_key``.
        numbers: number of each example in its source, from 1.
        extras: of each example, the values of the columns that are no fields of the signature.
    """

    items: tuple[OptimizationExample, ...]
    notes: tuple[str, ...] = field(default=())
    keys: tuple[str, ...] = field(default=())
    numbers: tuple[int, ...] = field(default=())
    extras: tuple[Mapping[str, Any], ...] = field(default=())


def read_examples(
    spec: SignatureSpec,
    source: Any,
    what: str = "examples",
    *,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    delimiter: str | None = None,
    other_columns: Sequence[str] = (),
    media: MediaPolicy = _MEDIA,
) -> Examples:
    """Return examples, checked and typed, without exact repetitions.

    Args:
        spec: the signature that they are for.
        source: a list of ``{"inputs": {...}, "outputs": {...}}``, of flat ``{field: value}`` mappings, of
            ``dspy.Example`` or of ``OptimizationExample``; a pandas frame; or the path of a JSONL, JSON or CSV file.
        what: their name in errors.
        mapping: column -> field, for columns that are called otherwise.
        constants: inputs that all examples have alike; what a row says itself goes before them.
        delimiter: what separates the columns of a CSV file; None for what its first line says.
        other_columns: columns that are no fields and are used anyway, so that no note says that they were left out.
        media: which pictures, sounds and files are taken. A file of rows names them relative to its own folder.

    Raises:
        InputError: some do not fit the signature; carries every problem with the number of its row, from 1.
        ConfigurationError: the source cannot be read as examples, or holds none.
    """
    items: list[OptimizationExample] = []
    extras: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    unused: dict[str, None] = {}
    repeated = 0
    rows = match_rows(spec, source, what, mapping=mapping, constants=constants, delimiter=delimiter, media=media)
    for row, example, found, left in rows:
        problems += found
        if left:
            unused.update(dict.fromkeys(left))
        if example is None:
            continue
        key = example_key(example)
        if key in seen:
            repeated += 1
            continue
        seen[key] = row.number
        items.append(example)
        extras.append({name: row.value[name] for name in left if name in row.value} if left else _NOTHING)
    if problems:
        raise _error(spec, problems, what, list(unused))
    if not items:
        raise ConfigurationError(f"{what}: empty; give at least one example with inputs and outputs")
    notes = [f"{repeated} of the {what} repeated others and were left out"] if repeated else []
    unused = {name: None for name in unused if name not in other_columns}
    if unused:
        notes.append(f"columns that {spec.name} does not have were left out: {', '.join(unused)}")
    return Examples(tuple(items), tuple(notes), tuple(seen), tuple(seen.values()), tuple(extras))


def match_rows(
    spec: SignatureSpec,
    source: Any,
    what: str = "examples",
    *,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    delimiter: str | None = None,
    media: MediaPolicy = _MEDIA,
) -> Iterator[tuple[ExampleRow, OptimizationExample | None, list[Problem], list[str]]]:
    """Yield every row with its example, its problems, and the columns that are no fields; arguments as above.

    A row that does not fit the signature has no example.

    Raises:
        ConfigurationError: the source cannot be read as examples.
    """
    input_names = frozenset(name for item in spec.inputs.values() for name in (item.name, *item.aliases))
    folder = None
    if spec.media_inputs and isinstance(source, (str, os.PathLike)):
        folder = MediaFolder(spec.media_inputs, Path(source).parent)
    for row in _rows(source, what, delimiter, [*input_names, *spec.outputs, *(mapping or ())]):
        if mapping or constants:
            row = _adapted(row, mapping or {}, constants or {})
        example, found, left = _example(spec, row, input_names, folder, media)
        if found:
            found = [Problem(f"{row.label}: {item.field}", item.code, item.message) for item in found]
        yield row, example, found, left


def example_key(example: OptimizationExample) -> str:
    """Return a digest of inputs and outputs."""
    return _digest([example.inputs, example.outputs])


def input_key(example: OptimizationExample) -> str:
    """Return a digest of the inputs; examples with the same one belong in the same set."""
    return _digest(example.inputs)


def near_key(values: Any) -> str:
    """Return a digest of values that is the same for those that differ in case, blanks or the order of a list only."""
    return _digest(_simplified(jsonable(values)))


def _simplified(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, list):
        return sorted((_simplified(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return {name: _simplified(item) for name, item in value.items()} if isinstance(value, dict) else value


def dataset_hash(*parts: Sequence[OptimizationExample]) -> str:
    """Return a digest of sets of examples, in their order."""
    return keys_hash(*([example_key(example) for example in part] for part in parts))


def keys_hash(*parts: Sequence[str]) -> str:
    """Return the digest of sets of examples whose keys are known; see ``dataset_hash``."""
    return _digest([list(part) for part in parts])


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()[:32]


def _canonical(value: Any) -> bytes:
    """Return the JSON text of a value: sorted, without blanks, in ASCII."""
    if _holds_texts(value if type(value) is list else [value]):
        # Of ASCII texts orjson makes the same, in a fifth of the time.
        try:
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # a text that is not Unicode
            text = b"\xff"
        if text.isascii():
            return text
    return json.dumps(jsonable(value), sort_keys=True, separators=(",", ":")).encode()


def _holds_texts(parts: list[Any]) -> bool:
    """Return whether values are mappings of texts, as nearly all are. Plain loops are the quickest here."""
    for part in parts:
        if type(part) is not dict:
            return False
        for value in part.values():
            if type(value) is not str:
                return False
    return True


def _rows(source: Any, what: str, delimiter: str | None, known: Collection[str]) -> Iterator[ExampleRow]:
    if isinstance(source, (str, os.PathLike)):
        yield from read_file(source, what, delimiter=delimiter, known=known)
        return
    if hasattr(source, "to_dict") and hasattr(source, "columns"):  # a pandas frame, without importing pandas
        for number, record in enumerate(source.to_dict("records"), 1):
            yield ExampleRow(number, f"row {number}", _without_gaps(record), flat=True)
        return
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise ConfigurationError(
            f"{what}: expected a list of {{'inputs': {{...}}, 'outputs': {{...}}}}, a pandas frame, or the path of a "
            f"JSONL or CSV file, not {type(source).__name__}"
        )
    for number, item in enumerate(source, 1):
        yield ExampleRow(number, f"row {number}", item)


def _adapted(row: ExampleRow, mapping: Mapping[str, str], constants: Mapping[str, Any]) -> ExampleRow:
    """Return a row with its columns renamed and with the inputs that all rows have alike."""
    value = row.value
    if row.problem is not None:
        return row
    if isinstance(value, OptimizationExample):
        return row._replace(value=evolve(value, inputs={**constants, **value.inputs}))
    if not isinstance(value, Mapping):
        return row
    if not row.flat and all(isinstance(value.get(part), Mapping) for part in _PARTS):
        parts = {part: {mapping.get(name, name): item for name, item in value[part].items()} for part in _PARTS}
        return row._replace(value={**value, **parts, "inputs": {**constants, **parts["inputs"]}})
    return row._replace(value={**constants, **{mapping.get(name, name): item for name, item in value.items()}})


def _without_gaps(record: Mapping[str, Any]) -> dict[str, Any]:
    # A missing value of pandas is a float that does not equal itself, or an NA whose truth is undefined.
    return {str(key): value for key, value in record.items() if not (value is None or _is_gap(value))}


def _is_gap(value: Any) -> bool:
    if isinstance(value, float):
        return value != value
    return type(value).__name__ in {"NAType", "NaTType"}


def _example(
    spec: SignatureSpec,
    row: ExampleRow,
    input_names: frozenset[str],
    folder: MediaFolder | None,
    media: MediaPolicy,
) -> tuple[OptimizationExample | None, list[Problem], list[str]]:
    parts = row.problem or _parts(spec, row.value, input_names, flat=row.flat)
    if isinstance(parts, Problem):
        return None, [parts], []
    inputs, outputs, source, unused = parts
    problems: list[Problem] = []
    try:
        bound = spec.binder.bind(inputs if folder is None else folder.row(inputs), media)
        typed, misfits = spec.codec.settle(bound, outputs)
    except InputError as error:
        problems += error.problems or [Problem("inputs", "not_found", str(error))]
        bound, (typed, misfits) = {}, spec.codec.coerce(outputs)
    if not outputs or not spec.outputs.keys() >= outputs.keys():
        problems += _output_problems(spec, outputs)
    if misfits:  # one may give some of the outputs only
        problems += (item for item in misfits if item.code != "missing" and item.field in outputs)
    if not problems and not (_are_plain(inputs) and _are_plain(outputs)):
        problems = [  # neither providers nor files accept it
            Problem(str(name), "not_unicode", "holds half of a surrogate pair, which is not text")
            for part in (inputs, outputs)
            for name, value in part.items()
            if not _is_text(value)
        ]
    if problems:
        return None, problems, unused
    given = typed if len(outputs) == len(typed) else {name: typed[name] for name in spec.outputs if name in outputs}
    return OptimizationExample(bound, given, source), [], unused


def _are_plain(values: Mapping[str, Any]) -> bool:
    """Return whether all values are texts in ASCII, as nearly all are."""
    given = values.values()
    return {*map(type, given)} <= {str} and all(map(str.isascii, given))


def _is_text(value: Any) -> bool:
    try:
        json.dumps(jsonable(value), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


_Parts = tuple[Mapping[str, Any], Mapping[str, Any], str, list[str]]


def _parts(spec: SignatureSpec, value: Any, names: frozenset[str], *, flat: bool) -> _Parts | Problem:
    """Return inputs, outputs, source, and the names of values that are neither."""
    if isinstance(value, OptimizationExample):
        return value.inputs, value.outputs, value.source, []
    if type(value) is not dict:
        if hasattr(value, "toDict") and hasattr(value, "inputs"):  # a dspy.Example
            value, flat = _plain_example(value), True
        elif not isinstance(value, Mapping):
            return Problem("example", "wrong_type", f"expected a mapping, got {type(value).__name__}")
    if "inputs" in value and "outputs" in value and not flat:
        extra = [str(key) for key in value if key not in ("inputs", "outputs", "source")]
        for part in ("inputs", "outputs"):
            if not isinstance(value[part], Mapping):
                return Problem(part, "wrong_type", f"expected a mapping, got {type(value[part]).__name__}")
        return value["inputs"], value["outputs"], str(value.get("source") or ""), extra
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    unused: list[str] = []
    expected = spec.outputs
    for key, item in value.items():
        if key in names:
            inputs[key] = item
        if key in expected:
            outputs[key] = item
        elif key not in names and key != "source":
            unused.append(str(key))
    source = value.get("source") if "source" not in names and "source" not in spec.outputs else None
    return inputs, outputs, str(source or ""), unused


def _plain_example(value: Any) -> dict[str, Any]:
    return {key: item for key, item in value.items() if not key.startswith("dspy_") and key != "augmented"}


def _output_problems(spec: SignatureSpec, outputs: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(str(name), "unknown", f"is no output of {spec.name}{did_you_mean(str(name), spec.outputs)}")
        for name in outputs
        if name not in spec.outputs
    ]
    if not outputs:
        wanted = ", ".join(spec.outputs)
        problems.append(Problem("outputs", "missing", f"give the right answer for at least one of {wanted}"))
    return problems


def _error(spec: SignatureSpec, problems: Sequence[Problem], what: str, unused: Sequence[str]) -> InputError:
    shown = list(_grouped(problems))
    lines = [f"\n- {line}" for line in shown[:_SHOWN]]
    if len(shown) > _SHOWN:
        lines.append(f"\n- and {len(shown) - _SHOWN} more (error.problems has them all)")
    fields = [item.name for item in spec.fields]
    lines += (
        f"\n- column {name!r} is not a field of {spec.name}{did_you_mean(name, fields)}" for name in unused[:_SHOWN]
    )
    if unused and any(problem.code == "missing" for problem in problems):
        lines.append("\n- a column that is called otherwise is --map COLUMN=FIELD (mapping={column: field})")
    return InputError(f"{what} do not fit {spec.name}:{''.join(lines)}", problems=problems, signature=spec.name)


def _grouped(problems: Iterable[Problem]) -> Iterator[str]:
    """Yield a line for each problem, and one line for a problem that many rows have."""
    rows: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        row, _, name = problem.field.partition(": ")
        rows.setdefault((name, problem.message), []).append(row)
    for (name, message), found in rows.items():
        if len(found) > _ALIKE:
            yield f"{name}: {message}, in {len(found)} rows: {', '.join(found[:_ALIKE])} and so on"
        else:
            yield from (f"{row}: {name}: {message}" for row in found)


class ExampleRow(NamedTuple):
    """One example as it was read.

    Attributes:
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


def read_file(
    path: str | os.PathLike[str], what: str, *, delimiter: str | None = None, known: Collection[str] = ()
) -> Iterator[ExampleRow]:
    """Yield the rows of a JSONL, JSON or CSV file.

    Args:
        path: the file.
        what: what it is called in errors.
        delimiter: what separates the columns of a table; None for what its first line says.
        known: names that columns may have, by which the delimiter is found.

    Raises:
        ConfigurationError: the file cannot be read, or is not a file of rows.
    """
    source = Path(path)
    try:
        with source.open("rb") as file:
            head = file.read(HEAD)
        form = form_of(str(source), head)
        if form == "jsonl":
            yield from _jsonl(source)
        elif form == "json":
            yield from _json(source)
        else:
            found = find_delimiter(head.decode("utf-8-sig", "replace"), known)
            yield from _csv(source, delimiter or ("\t" if form == "tsv" else found))
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from error
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
    for number, item in enumerate(rows_of_json(path.read_text(encoding="utf-8-sig"), str(path)), 1):
        yield ExampleRow(number, f"item {number}", item)


def _csv(path: Path, delimiter: str) -> Iterator[ExampleRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        for number, record in enumerate(reader, 1):
            label = f"row {number}"
            if None in record:
                problem = Problem("example", "too_many_cells", "has more cells than there are columns")
                yield ExampleRow(number, label, problem=problem)
                continue
            cells = {name: cell for name, cell in record.items() if cell not in (None, "")}
            yield ExampleRow(number, label, cells, flat=True)
