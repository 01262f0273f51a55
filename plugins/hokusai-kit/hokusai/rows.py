"""Read the rows of a batch from a file of JSON lines, a JSON array, a table, or stdin, one at a time."""

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

from hokusai_core.cli_support.data_files import HEAD, find_delimiter, form_of, rows_of_json, without_repetition
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.media_folder import MediaFolder
from hokusai_core.errors import InputError
from hokusai_core.plugin_api import describe_os_error

if TYPE_CHECKING:
    from hokusai_core import SignatureSpec

__all__ = ["BrokenLine", "RowFile"]

#: Characters that one cell of a table may have; the standard library's own limit is less than a long document.
_LONGEST_CELL = 100_000_000
_TABLES = ("csv", "tsv")


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
    """The rows of a file; reading it again begins anew, except for stdin and pipes.

    A line that cannot be read is a row that fails, and is reported on stderr; the other rows are run. A file that
    cannot be read at all is refused before any row is run. Of stdin that shows only on the way.

    Args:
        source: path of the file, ``-`` for stdin.
        form: ``jsonl``, ``json``, ``csv`` or ``tsv``; None for what its name and its beginning say.
        mapping: column -> input field; with any, columns that are neither mapped nor fields are left out.
        spec: the signature.
        media_folder: folder of the files that rows name; None for that of ``source``.
        delimiter: what separates the columns of a table; None for what the first line says.
        constants: inputs that all rows have alike; what a row says itself goes before them.

    Raises:
        CommandFailure: it cannot be opened, or is not text.
        ConfigurationError: it is something else, such as a spreadsheet.
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
        *,
        delimiter: str | None = None,
        constants: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._source, self._mapping = source, mapping
        folder = media_folder or (None if source == "-" else Path(source).parent)
        self._media = MediaFolder(spec.media_inputs, None if folder is None else Path(folder))
        names = [(item.name, *item.aliases) for item in spec.inputs.values()]
        self._fields = fields = frozenset(name for known in names for name in known)
        self._required = [known for known in names if spec.inputs[known[0]].required]
        self._lacking = set(mapping)
        self._constants = constants
        #: Every name of a field -> all its names.
        self._names_of = {name: known for known in names for name in known}
        self.name = "stdin" if source == "-" else source
        unknown = sorted(set(mapping.values()) - fields)
        if unknown:
            raise CommandMisuse(f"--map: the signature has no input {unknown[0]!r}; it has {', '.join(sorted(fields))}")
        unknown = sorted(constants.keys() - fields)
        if unknown:
            raise CommandMisuse(f"-i: the signature has no input {unknown[0]!r}; it has {', '.join(sorted(fields))}")
        if source == "-" and sys.stdin is None:  # the process was started without one
            raise CommandFailure("stdin is closed, so no rows can be read from it; give the name of a file")
        # A pipe can be read once only, as stdin.
        piped = source != "-" and (path := Path(source).expanduser()).exists() and not path.is_file()
        stream = _peekable(sys.stdin.buffer) if source == "-" else self._opened() if piped else None
        head = self._head(stream)
        known = self.name if stream is None else "stdin"
        self._form = form or form_of(known, head, more="; say with --format what is in it")
        if self._form in _TABLES:
            csv.field_size_limit(_LONGEST_CELL)
        found = find_delimiter(head.decode("utf-8-sig", "replace"), [*fields, *mapping])
        self._delimiter = delimiter or ("\t" if self._form == "tsv" else found)
        self._stream = None if stream is None else _text(stream)

    def __length_hint__(self) -> int:
        """Return how many rows there are; it is not known for stdin and pipes."""
        if self._stream is not None:
            return NotImplemented  # type: ignore[no-any-return]  # as the protocol says
        with self._open() as file, self._reading():
            if self._form == "jsonl":
                return sum(1 for line in file if line.strip())
            if self._form == "json":
                return len(rows_of_json(file.read(), self.name))
            table = self._table(file)
            self._check_header(_first_row(table))
            return sum(1 for cells in table if cells)

    def __iter__(self) -> Iterator[Any]:
        if self._stream is not None:
            yield from self._rows(self._stream)
            return
        with self._open() as file:
            yield from self._rows(file)

    def _rows(self, file: IO[str]) -> Iterator[Any]:
        with self._reading():
            if self._form == "jsonl":
                yield from self._lines(file)
            elif self._form == "json":
                yield from self._items(file)
            else:
                yield from self._cells(file)

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
                yield self._broken(f"line {number}", f"is not JSON ({error})")
                continue
            yield self._object(row, f"line {number}")

    def _items(self, file: IO[str]) -> Iterator[Any]:
        for number, row in enumerate(rows_of_json(file.read(), self.name), 1):
            yield self._object(row, f"item {number}")

    def _object(self, row: Any, where: str) -> Any:
        if not isinstance(row, dict):
            return self._broken(where, "is not a JSON object")
        if self._lacking:
            self._tell_lacking(row, where)
        return self._given(self._mapped(row), where)

    def _cells(self, file: IO[str]) -> Iterator[Any]:
        table = self._table(file)
        header = self._check_header(_first_row(table))
        for cells in table:
            if not cells:
                continue
            if len(cells) > len(header):
                yield self._broken(f"line {table.line_num}", f"has {len(cells)} cells for {len(header)} columns")
                continue
            # An empty cell gives nothing, so that an input with a default keeps it.
            row = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
            yield self._given(self._mapped(row), f"line {table.line_num}")

    def _broken(self, where: str, what: str) -> BrokenLine:
        line = BrokenLine(f"{self.name} {where} {what}")
        click.echo(f"hokusai: {line.what}; it counts as failed", err=True)
        return line

    def _table(self, file: IO[str]) -> Any:
        # Strict, as a quote that nothing closes would else make one cell of all that follows.
        return csv.reader(file, delimiter=self._delimiter, strict=True)

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
        given = {self._mapping.get(name, name) for name in header} | self._constants.keys()
        for names in self._required:
            if given.isdisjoint(names):
                raise CommandMisuse(
                    f"{self.name} has no column for {names[0]!r}, which the signature needs; it has "
                    f"{', '.join(header)}. Choose one with --map column={names[0]}, or give all rows one value with "
                    f"-i {names[0]}=..."
                )
        return header

    def _tell_lacking(self, row: Mapping[str, Any], where: str) -> None:
        """Say once of each mapped column that a line has no such thing: it may be a slip of the pen."""
        for name in sorted(self._lacking - row.keys()):
            self._lacking.discard(name)
            click.echo(f"hokusai: {self.name} {where} has no {name!r}, which --map names", err=True)

    def _given(self, row: dict[str, Any], where: str) -> Any:
        if self._constants:
            row = self._with_constants(row)
        if self._media.media.keys().isdisjoint(row):
            return row
        try:
            return self._media.row(row)
        except InputError as error:
            return self._broken(where, f"cannot be used: {error}")

    def _with_constants(self, row: dict[str, Any]) -> dict[str, Any]:
        given = {other for name in row for other in self._names_of.get(name, ())}
        return {**{name: value for name, value in self._constants.items() if name not in given}, **row}

    def _mapped(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self._mapping:
            return row
        kept = {self._mapping[name]: value for name, value in row.items() if name in self._mapping}
        # A column that is called like a field is that field, unless another is mapped to it.
        same = {name: value for name, value in row.items() if name in self._fields and name not in self._mapping}
        return same | kept

    def _head(self, stream: io.BufferedReader | None) -> bytes:
        """Return the first bytes, by which form and delimiter are known."""
        if stream is not None:
            return stream.peek(HEAD)
        with self._opened() as file:
            return file.read(HEAD)

    def _open(self) -> IO[str]:
        return _text(self._opened())

    def _opened(self) -> io.BufferedReader:
        try:
            return Path(self._source).expanduser().open("rb")
        except OSError as error:
            raise CommandFailure(describe_os_error(error, self._source)) from error


def _first_row(table: Iterator[list[str]]) -> list[str] | None:
    """Return the first row that has something in it, None if there is none."""
    return next((cells for cells in table if any(cell.strip() for cell in cells)), None)


def _peekable(file: Any) -> io.BufferedReader:
    return file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)


def _text(file: Any) -> IO[str]:
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
