"""``hokusai batch``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hokusai.cli_errors import INTERRUPTED
from hokusai.execution_flags import execution_flags
from hokusai.rows import RowFile
from hokusai_core.cli_support.completion import complete_component, complete_file
from hokusai_core.cli_support.data_files import FORMS
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import (
    column_mapping,
    column_option,
    delimiter_option,
    input_option,
    inputs_option,
    json_option,
    signature_argument,
)
from hokusai_core.cli_support.tables import print_json
from hokusai_core.plugin_api import atomic_write, describe_os_error

if TYPE_CHECKING:
    from hokusai_core.types import BatchRow

__all__ = ["batch"]

_SOME_FAILED = 3


@click.command()
@signature_argument
@click.argument("rows_file", metavar="IN", shell_complete=complete_file)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write here, and keep a journal beside it. [default: -, which is stdout]",
)
@input_option
@inputs_option
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True, help="Rows that run at once.")
@click.option(
    "--backend",
    metavar="NAME",
    default="local",
    shell_complete=complete_component("backend"),
    help="Ask the model elsewhere, such as openai-batch. [default: here]",
)
@column_option
@click.option("--format", "form", type=click.Choice(FORMS), help="Form of IN. [default: by its name]")
@delimiter_option
@execution_flags(
    "lm", "strategy", "parameters", "timeout", "max_retries", "prices", "max_cost", "budget_file", "unpriced"
)
@click.option(
    "--media-folder", metavar="DIR", help="Folder of the pictures and files that rows name. [default: that of IN]"
)
@click.option("--sensitive", is_flag=True, help="Write values of sensitive fields, too.")
@click.option("--track", is_flag=True, help="Record the rows in MLflow.")
@click.option("--progress/--no-progress", default=None, help="Show how far it is. [default: if it takes a while]")
@json_option
def batch(
    name: str,
    rows_file: str,
    output: str | None,
    inputs: tuple[str, ...],
    source: str | None,
    workers: int,
    backend: str,
    pairs: tuple[str, ...],
    form: str | None,
    delimiter: str | None,
    media_folder: str | None,
    sensitive: bool,
    track: bool,
    progress: bool | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Run signature NAME on every row of file IN: JSON lines, a JSON array, .csv, .tsv, or - for stdin.

    Each row becomes a JSON object on a line. -i gives all rows a value. With -o, --json prints the totals.

    With -o, rows that are over are kept in FILE.journal: after an interruption or a failure, the same command goes on
    where it stopped. FILE is written when all rows are over, in their order. Exit code 3: some rows failed.

    \b
    hokusai batch ClassifyText mails.csv -o classes.jsonl --map body=text -i categories="Praise, Complaint"
    """
    from hokusai.command_executor import make_executor
    from hokusai_core.cli_support.signature_argument import signature_called

    mapping = column_mapping(pairs)
    output = None if output in (None, "-") else str(Path(output).expanduser())
    check_output(output, rows_file)
    journal = None if output is None else f"{output}.journal"
    if rows_file == "-" and (source == "-" or any(pair.partition("=")[2] == "@-" for pair in inputs)):
        raise CommandMisuse("stdin gives the rows, so an input cannot come from it")
    with make_executor(options, track=track, max_workers=workers) as executor:
        signature = signature_called(executor, name)
        spec = executor.signature(signature).spec
        constants = gather_inputs(inputs, source, spec.media_inputs)
        rows = RowFile(rows_file, form, mapping, spec, media_folder, delimiter=delimiter, constants=constants)
        tally = _Tally()
        try:
            with executor.iter_batch(
                signature, rows, journal=journal, progress=progress, backend=backend, **options
            ) as outcomes:
                write_lines(tally.watch(outcomes, sensitive), output)
        except KeyboardInterrupt as stop:  # wherever it came, leaving the block has waited for the rows under way
            hint = (
                "run the same command again to go on with the rest"
                if journal
                else "without -o nothing is kept for another run"
            )
            click.echo(f"hokusai: interrupted with {counted(tally.done, 'row')} over; {hint}", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from stop
    if not tally.done:
        click.echo(f"hokusai: {rows.name} has no rows, so nothing was run", err=True)
    if as_json and output is not None:  # without it the rows are on stdout, which are JSON
        print_json(tally.to_dict(output))
    tally.report(output)
    if tally.failed:
        raise click.exceptions.Exit(_SOME_FAILED)


class _Tally:
    """Counts rows on their way to the output."""

    def __init__(self) -> None:
        self.done = self.failed = self.kept = self.tokens = 0
        self.cost = 0.0
        self.first_error = ""

    def watch(self, rows: Iterable[BatchRow], sensitive: bool) -> Iterator[bytes]:
        """Yield every row as a line, in the order of the input."""
        waiting: dict[int, bytes] = {}
        due = 0
        for row in rows:
            self._count(row)
            waiting[row.index] = row.to_json(sensitive=sensitive) + b"\n"
            while due in waiting:
                yield waiting.pop(due)
                due += 1

    def to_dict(self, output: str | None) -> dict[str, Any]:
        """Return the totals for scripts."""
        figures = {"rows": self.done, "failed": self.failed, "kept": self.kept, "tokens": self.tokens}
        return {**figures, "cost": self.cost, "output": output, "first_error": self.first_error or None}

    def report(self, output: str | None) -> None:
        """Say on stderr how it went."""
        parts = [counted(self.done, "row")]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.kept} kept from before"] if self.kept else []
        parts.append(f"{self.tokens:,} tokens")
        parts += [f"${self.cost:.4f}"] if self.cost else []
        where = f"; {output}" if output else ""
        click.echo(f"hokusai: {', '.join(parts)}{where}", err=True)
        if self.failed:
            again = " The same command tries the failed rows again." if output else ""
            click.echo(f"hokusai: first failure: {self.first_error}.{again}", err=True)

    def _count(self, row: BatchRow) -> None:
        outcome = row.outcome
        self.done += 1
        self.tokens += outcome.usage.total_tokens
        self.cost += outcome.cost or 0.0
        error = row.error
        if error is not None:
            self.failed += 1
            if self.failed == 1:
                message = " ".join(str(error).split())[:300].rstrip(".")
                self.first_error = f"row {row.index}: {type(error).__name__}: {message}"
        elif outcome.cached == "journal":  # type: ignore[union-attr]  # only results have no error
            self.kept += 1


def counted(number: int, what: str) -> str:
    """Return a number with its word."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def check_output(output: str | None, source: str) -> None:
    """Refuse an output that cannot be written, before anything is paid."""
    if output is None:
        return
    target = Path(output)
    if target.is_dir():
        raise CommandFailure(f"{output} is a folder; name a file")
    if target.exists() and not target.is_file():  # putting a file in its place would break it
        raise CommandFailure(f"{output} is not a regular file; leave -o out for stdout, and send that there")
    if source != "-" and target.exists() and Path(source).expanduser().exists() and target.samefile(source):
        raise CommandMisuse(f"{output} is the input, too; give the output another name")


def write_lines(lines: Iterator[bytes], output: str | None) -> None:
    """Write lines to stdout, or to a file that appears when it is complete."""
    if output is None:
        for line in lines:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        return
    try:
        # A run may take hours, and be killed. The journal keeps out a second one.
        atomic_write(output, lines, sole_writer=True)
    except OSError as error:
        raise CommandFailure(describe_os_error(error, output)) from error
