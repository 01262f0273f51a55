"""``hokusai init``."""

from __future__ import annotations

from pathlib import Path

import click

from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json

__all__ = ["init"]


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@json_option
def init(directory: Path, as_json: bool) -> None:
    """Start an application in DIRECTORY: a signature, a program, rows to try it on, settings and tests.

    Existing files are not changed. For signatures that others install there is hokusai new-signature.

    \b
    hokusai init tickets
    """
    from hokusai.application_scaffold import APPLICATION_FILES

    taken = sorted(path for path in APPLICATION_FILES if (directory / path).exists())
    if taken:
        raise CommandFailure(f"{directory} has {', '.join(taken)} already; choose another folder")
    for path, text in APPLICATION_FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        with (directory / path).open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        print_json({"directory": str(directory), "files": list(APPLICATION_FILES)})
        return
    click.echo(f"{directory}: {len(APPLICATION_FILES)} files. Next:")
    steps = [] if directory == Path() else [f"cd {directory}"]
    steps += ["python app.py", "hokusai show signatures.py", "python -m pytest"]
    click.echo("\n".join(f"  {step}" for step in steps))
