"""``hokusai verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import (
    column_mapping,
    column_option,
    delimiter_option,
    input_option,
    inputs_option,
    json_option,
)
from hokusai_core.cli_support.tables import print_json, printable
from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import read_artifact

__all__ = ["verify"]

#: Exit codes: nothing is wrong, but not everything could be computed; something is not what it is said to be.
_INCOMPLETE: Final = 3
_WRONG: Final = 4
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option(
    "--digest", metavar="DIGEST", help="Digest that FILE is to have; its first 16 characters or more will do."
)
@click.option("--data", multiple=True, type=_FILE, help="A file with examples of the optimization; may be repeated.")
@input_option
@inputs_option
@column_option
@delimiter_option
@json_option
def verify(
    file: Path,
    digest: str | None,
    data: tuple[Path, ...],
    inputs: tuple[str, ...],
    source: str | None,
    pairs: tuple[str, ...],
    delimiter: str | None,
    as_json: bool,
) -> None:
    """Compute every figure of the comparison in FILE again, from its recorded answers. No language model is called.

    FILE holds an optimized signature. Without --digest, it is compared with its scorecard, if there is one in the
    folder evaluation beside it. With --data, the examples of the optimization are checked to be those in the data.

    Exit codes: 0, everything is right; 3, nothing is wrong, but FILE has no certificate or some scores could only be
    taken as recorded; 4, something is wrong.

    \b
    hokusai verify better.json --digest 1f3a5b7c9d1f3a5b --data mail.jsonl
    """
    from hokusai_teleprompt.verification import verify as run

    try:
        found = run(
            file,
            digest=digest,
            data=data,
            inputs=gather_inputs(inputs, source, read_artifact(file).base.media_inputs),
            mapping=column_mapping(pairs),
            delimiter=delimiter,
        )
    except ArtifactError as error:
        click.echo(printable(f"hokusai: {error}"), err=True)
        raise click.exceptions.Exit(_WRONG) from error
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(str(found))
    if not found.passed:
        raise click.exceptions.Exit(_WRONG)
    if not found.complete:
        raise click.exceptions.Exit(_INCOMPLETE)
