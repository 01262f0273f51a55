"""``hokusai data``: check, split and import data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click
from attrs import asdict

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
from hokusai_core.cli_support.signature_argument import signature_called
from hokusai_core.cli_support.tables import print_json, print_table, printable

__all__ = ["data"]

#: Exit code of a check that found an error, as of a gate that is not passed.
_FOUND: Final = 4
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def data() -> None:
    """Check, split and import data sets."""


@data.command()
@signature_argument
@click.argument("files", nargs=-1, required=True, type=_FILE)
@input_option
@inputs_option
@column_option
@delimiter_option
@click.option(
    "--max-characters", type=click.IntRange(min=1), default=20_000, show_default=True, help="Of a row's inputs."
)
@click.option("--strict", is_flag=True, help="Exit code 4 for warnings, too.")
@json_option
def check(
    name: str,
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    source: str | None,
    pairs: tuple[str, ...],
    delimiter: str | None,
    max_characters: int,
    strict: bool,
    as_json: bool,
) -> None:
    """Check FILES against signature or chain NAME, and against each other.

    Errors: rows that do not fit, rows with the same inputs and different outputs, and inputs that are in two files.
    Warnings: repetitions, rare and overwhelming labels, empty values, long inputs. Exit code 4: errors were found.

    \b
    hokusai data check ClassifyText tickets.train.jsonl tickets.test.jsonl
    """
    from hokusai_core import Executor, Settings
    from hokusai_evaluate.commands.target_argument import target_called
    from hokusai_evaluate.dataset_check import check_data
    from hokusai_evaluate.systems import spec_of

    with Executor(Settings.from_environment(mode="testing", trackers=[], cache_enabled=False)) as executor:
        spec, media = spec_of(executor, target_called(executor, name)), executor.config.media_policy
    found = check_data(
        spec,
        files,
        mapping=column_mapping(pairs),
        constants=gather_inputs(inputs, source, media=spec.media_inputs),
        delimiter=delimiter,
        most_characters=max_characters,
        media=media,
    )
    if as_json:
        print_json({"ok": found.ok, **asdict(found)})
    else:
        labels = [
            ", ".join(f"{label}: {count}" for counts in file.labels.values() for label, count in counts.items())
            for file in found.files
        ]
        table = [
            (file.name, str(file.rows), file.digest[:8], text) for file, text in zip(found.files, labels, strict=True)
        ]
        print_table(("file", "rows", "digest", "labels"), table)
        for finding in found.findings:
            click.echo(printable(f"{finding.severity}: {finding.file}: {finding.message}"))
        if not found.findings:
            click.echo("nothing to correct")
    if not found.ok or (strict and found.findings):
        raise click.exceptions.Exit(_FOUND)


@data.command()
@click.argument("file", type=_FILE)
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME=SHARE",
    help="A part and its share. [default: train=0.6, dev=0.2, test=0.2]",
)
@click.option("--by", metavar="COLUMN", help="A label that is spread evenly over the parts.")
@click.option("--group", metavar="COLUMN", help="Rows with the same value stay in one part.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the shuffling.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Folder of the parts."
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@delimiter_option
@json_option
def split(
    file: Path,
    parts: tuple[str, ...],
    by: str | None,
    group: str | None,
    seed: int,
    output: Path | None,
    force: bool,
    delimiter: str | None,
    as_json: bool,
) -> None:
    """Split FILE into parts: tickets.jsonl into tickets.train.jsonl, tickets.dev.jsonl and tickets.test.jsonl.

    The same seed makes the same parts. Rows that differ in case, blanks or the order of a list only stay together.
    """
    from hokusai_evaluate.dataset_split import split_data

    shares = dict(map(_share, parts)) if parts else {"train": 0.6, "dev": 0.2, "test": 0.2}
    written = split_data(file, shares, by=by, group=group, seed=seed, folder=output, force=force, delimiter=delimiter)
    if as_json:
        print_json({"files": {str(target): count for target, count in written.items()}})
        return
    for target, count in written.items():
        click.echo(f"{target}: {count} rows")


@data.command("import")
@signature_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--min-rating", type=click.IntRange(1, 5), default=4, show_default=True, help="Least rating that counts.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def import_(name: str, file: Path, min_rating: int, force: bool, as_json: bool) -> None:
    """Write a data set FILE (.jsonl) out of the feedback on executions of signature NAME.

    People correct what is wrong and are silent about the rest, so such rows are no random sample of the executions.
    """
    from hokusai_core import Executor, Settings
    from hokusai_core.plugin_api import atomic_write
    from hokusai_evaluate.dataset_import import feedback_store_of, rows_of_feedback

    if file.suffix != ".jsonl":
        raise CommandMisuse(f"{file}: give a name that ends in .jsonl")
    if file.exists() and not force:
        raise CommandFailure(f"{file} is there already; give another name, or --force")
    with Executor(Settings.from_environment(mode="testing", trackers=[], cache_enabled=False)) as executor:
        store: Any = feedback_store_of(executor)
        try:
            target = signature_called(executor, name)
            # Feedback outlives signatures: a name need not be installed any more.
            kept_as = name if target == name else executor.signature(target).qualified_name
            rows = list(rows_of_feedback(store, kept_as, min_rating=min_rating))
        finally:
            store.close()
    if not rows:
        raise CommandFailure(f"there is no correction and no rating of {min_rating} or higher for {name}")
    atomic_write(file, (json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in rows))
    if as_json:
        print_json({"file": str(file), "rows": len(rows)})
        return
    click.echo(f"{file}: {len(rows)} rows. Check them with: hokusai data check {name} {file}")
    click.echo(
        "They are no random sample: people correct what is wrong and are silent about the rest. To learn from feedback "
        f"and compare on all executions: hokusai optimize {name} --from-feedback"
    )


def _share(text: str) -> tuple[str, float]:
    name, separator, value = text.partition("=")
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not separator or not name.strip().isidentifier() or not 0 < share < 1:
        raise CommandMisuse(f"--part {text!r}: write --part NAME=SHARE, such as --part test=0.2")
    return name.strip(), share
