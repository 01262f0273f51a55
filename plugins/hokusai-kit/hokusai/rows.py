"""Read the rows of a batch from a file of JSON lines, a table, or stdin, one at a time."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.inputs import without_repetition
from hokusai_core.cli_support.media_folder import MediaFolder
from hokusai_core.errors import InputError
from hokusai_core.plugin_api import describe_os_error

if TYPE_CHECKING:
    from hokusai_core import SignatureSpec

__all__ = ["BrokenLine", "RowFile", "parse_mapping"]

#: Characters that one cell of a table may have; the standard library's own limit is less than a long document.
_LONGEST_CELL = 100_000_000
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Return column -> field for options such as ``--map body=document``.

    Raises:
        CommandMisuse: a pair has another form, or two are for one column.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        column, separator, field = (part.strip() for part in pair.partition("="))
        if not separator or not column or not field:
            raise CommandMisuse(f"--map {pair!r}: write --map column=field")
        if column in mapping or field in mapping.values():
            raise CommandMisuse(f"--map {pair!r}: column and field are each mapped once")
        mapping[column] = field
    return mapping


class BrokenLine(Mapping[str, Any]):
    """A line that cannot be read. Reading a value from it raises the error, so that its row fails with it.

    Args:
        what: what is wrong, with the place.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def _ask(self, *_: object) -> NoReturn:
        raise InputError(self.what)

    __getitem__ = __iter__ = __len__ = _ask


class RowFile:
    """The rows of a file; reading it again begins anew, except for stdin.

    A line that cannot be read is a row that fails, and is reported on stderr; the other rows are run. A file that
    cannot be read at all is refused before any row is run. Of stdin that shows only on the way.

    Args:
        source: path of the file, ``-`` for stdin.
        form: ``jsonl``, ``csv`` or ``tsv``; None for what the name says.
        mapping: column -> input field; with any, columns that are neither mapped nor fields are left out.
        spec: the signature.
        media_folder: folder of the files that rows name; None for that of ``source``.
        constants: inputs that all rows have alike; what a row says itself goes before them.

    Raises:
        CommandFailure: it cannot be opened, or is not text.
        CommandMisuse: the columns of a table are not those of the signature and nothing maps them, or a mapping is
            wrong.
    """

    def __init__(
        self,
        source: str,
        form: str | None,
        mapping: Mapping[str, str],
        spec: SignatureSpec,
        media_folder: str | None = None,
        constants: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._source, self._mapping, self._constants = source, mapping, constants
        folder = media_folder or (None if source == "-" else Path(source).parent)
        self._media = MediaFolder(spec.media_inputs, None if folder is None else Path(folder))
        names = [(item.name, *item.aliases) for item in spec.inputs.values()]
        self._fields = fields = frozenset(name for known in names for name in known)
        self._required = [known for known in names if spec.inputs[known[0]].required]
        self._lacking = set(mapping)
        self._form = form or {".csv": "csv", ".tsv": "tsv"}.get(Path(source).suffix.lower(), "jsonl")
        self.name = "stdin" if source == "-" else source
        for option, chosen in (("--map", mapping.values()), ("-i", constants)):
            unknown = sorted(set(chosen) - fields)
            if unknown:
                known = ", ".join(sorted(fields))
                raise CommandMisuse(f"{option}: the signature has no input {unknown[0]!r}; it has {known}")
        if self._form in _DELIMITERS:
            csv.field_size_limit(_LONGEST_CELL)
        if source == "-" and sys.stdin is None:  # the process was started without one
            raise CommandFailure("stdin is closed, so no rows can be read from it; give the name of a file")
        self._stdin = _text(sys.stdin.buffer) if source == "-" else None

    def __length_hint__(self) -> int:
        """Return how many rows there are; it is not known for stdin."""
        if self._stdin is not None:
            return NotImplemented  # type: ignore[no-any-return]  # as the protocol says
        with self._open() as file, self._reading():
            if self._form == "jsonl":
                return sum(1 for line in file if line.strip())
            table = self._table(file)
            self._check_header(next(table, None))
            return sum(1 for cells in table if cells)

    def __iter__(self) -> Iterator[Any]:
        if self._stdin is not None:
            yield from self._rows(self._stdin)
            return
        with self._open() as file:
            yield from self._rows(file)

    def _rows(self, file: IO[str]) -> Iterator[Any]:
        with self._reading():
            yield from self._lines(file) if self._form == "jsonl" else self._cells(file)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise CommandFailure(
                f"{self.name} is not UTF-8 text; convert it first, for example with iconv -t UTF-8"
            ) from error
        except csv.Error as error:
            raise CommandFailure(f"{self.name} cannot be read as a table: {error}; look at its quotes") from error

    def _lines(self, file: IO[str]) -> Iterator[Any]:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=without_repetition)
            except (ValueError, RecursionError) as error:
                yield self._broken(number, f"is not JSON ({error})")
                continue
            if not isinstance(row, dict):
                yield self._broken(number, "is not a JSON object")
                continue
            if self._lacking:
                self._tell_lacking(row, number)
            yield self._given(self._mapped(row), number)

    def _cells(self, file: IO[str]) -> Iterator[Any]:
        table = self._table(file)
        header = self._check_header(next(table, None))
        for cells in table:
            if not cells:
                continue
            if len(cells) > len(header):
                yield self._broken(table.line_num, f"has {len(cells)} cells for {len(header)} columns")
                continue
            # An empty cell gives nothing, so that an input with a default keeps it.
            row = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
            yield self._given(self._mapped(row), table.line_num)

    def _broken(self, number: int, what: str) -> BrokenLine:
        line = BrokenLine(f"{self.name} line {number} {what}")
        click.echo(f"hokusai: {line.what}; it counts as failed", err=True)
        return line

    def _table(self, file: IO[str]) -> Any:
        # Strict, as a quote that nothing closes would else make one cell of all that follows.
        return csv.reader(file, delimiter=_DELIMITERS[self._form], strict=True)

    def _check_header(self, header: Sequence[str] | None) -> Sequence[str]:
        """Refuse a header that cannot give the signature its inputs, and return it."""
        if header is None:
            return ()
        twice = sorted(name for name, times in Counter(header).items() if times > 1)
        if twice:
            raise CommandMisuse(f"{self.name} has the column {twice[0]!r} more than once; keep one of them")
        missing = sorted(set(self._mapping) - set(header))
        if missing:
            raise CommandMisuse(f"--map: {self.name} has no column {missing[0]!r}; it has {', '.join(header)}")
        unknown = [name for name in header if name not in self._fields]
        if unknown and not self._mapping:
            raise CommandMisuse(
                f"{self.name}: column {unknown[0]!r} is not an input of the signature, which has "
                f"{', '.join(sorted(self._fields))}; choose columns with --map column=field"
            )
        given = {*self._constants, *(self._mapping.get(name, name) for name in header)}
        for names in self._required:
            if given.isdisjoint(names):
                raise CommandMisuse(
                    f"{self.name} has no column for {names[0]!r}, which the signature needs; it has "
                    f"{', '.join(header)}. Choose one with --map column={names[0]}, or give all rows the same with -i"
                )
        return header

    def _tell_lacking(self, row: Mapping[str, Any], number: int) -> None:
        """Say once of each mapped column that a line has no such thing: it may be a slip of the pen."""
        for name in sorted(self._lacking - row.keys()):
            self._lacking.discard(name)
            click.echo(f"hokusai: {self.name} line {number} has no {name!r}, which --map names", err=True)

    def _given(self, row: dict[str, Any], number: int) -> Any:
        try:
            given = row if self._media.media.keys().isdisjoint(row) else self._media.row(row)
            return {**self._constants, **given}
        except InputError as error:
            return self._broken(number, f"cannot be used: {error}")

    def _mapped(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self._mapping:
            return row
        kept = {self._mapping[name]: value for name, value in row.items() if name in self._mapping}
        # A column that is called like a field is that field, unless another is mapped to it.
        same = {name: value for name, value in row.items() if name in self._fields and name not in self._mapping}
        return same | kept

    def _open(self) -> IO[str]:
        try:
            return _text(Path(self._source).expanduser().open("rb"))
        except OSError as error:
            raise CommandFailure(describe_os_error(error, self._source)) from error


def _text(file: Any) -> IO[str]:
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
