"""``hokusai init``."""

from __future__ import annotations

from pathlib import Path

import click

from hokusai.application_scaffold import EXAMPLES, FIRST_STEPS, example_files
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json

__all__ = ["init"]


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--example",
    type=click.Choice(EXAMPLES),
    default=EXAMPLES[0],
    show_default=True,
    help="What to start from: an application, or a task with letters to optimize.",
)
@json_option
def init(directory: Path, example: str, as_json: bool) -> None:
    """Start an application in DIRECTORY: a signature, a program, rows to try it on, settings and tests.

    Existing files are not changed. For signatures that others install there is hokusai new-signature.

    \b
    hokusai init tickets
    """
    files = example_files(example)
    taken = sorted(path for path in files if (directory / path).exists())
    if taken:
        raise CommandFailure(f"{directory} has {', '.join(taken)} already; choose another folder")
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        with (directory / path).open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        print_json({"directory": str(directory), "files": list(files)})
        return
    here = directory == Path()
    click.echo(f"{'this folder' if here else directory}: {len(files)} files. Next:")
    steps = [] if here else [f"cd {directory}"]
    click.echo("\n".join(f"  {step}" for step in [*steps, *FIRST_STEPS[example]]))
