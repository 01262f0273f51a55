"""``hokusai pack build`` and ``hokusai pack install``."""

from __future__ import annotations

from pathlib import Path

import click

from hokusai_core.cli_support.failures import CommandMisuse
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json

__all__ = ["pack"]

_RENAME = click.option(
    "--rename", "renames", multiple=True, metavar="OLD=NEW", help="Give a signature another name; repeat for more."
)


@click.group()
def pack() -> None:
    """Make and install packs of optimized signatures."""


@pack.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Folder for the wheel.",
)
@click.option("--name", help="Name of the distribution, such as acme-support; left out, the name of the folder.")
@click.option("--version", default="1.0.0", show_default=True, help="Its version.")
@click.option("--summary", default="", help="One line for package indexes.")
@_RENAME
@json_option
def build(
    folder: Path, output: Path, name: str | None, version: str, summary: str, renames: tuple[str, ...], as_json: bool
) -> None:
    """Build a wheel from the optimized signatures (*.json) in FOLDER.

    \b
    hokusai pack build signatures/ --name acme-support
    pip install dist/acme_support-1.0.0-py3-none-any.whl
    hokusai list
    """
    from hokusai_teleprompt.pack_builder import build_pack

    built = build_pack(folder, output, name=name, version=version, summary=summary, rename=_renamed(renames))
    if as_json:
        print_json({"wheel": str(built.path), "signatures": list(built.signatures)})
        return
    click.echo(f"{built.path}: {', '.join(built.signatures)}")
    click.echo(f"install it with: hokusai pack install {built.path}")


@pack.command()
@click.argument("source", metavar="WHEEL|NAME")
@_RENAME
@json_option
def install(source: str, renames: tuple[str, ...], as_json: bool) -> None:
    """Install a pack with pip, and tell what its signatures are called.

    Names that work keep their meaning. A signature whose name is taken is written pack/Name, or renamed. Signatures can
    be renamed in the wheel of a pack that was built with `hokusai pack build`. Options for pip are in its variables,
    such as PIP_NO_INDEX.

    \b
    hokusai pack install dist/acme_support-1.0.0-py3-none-any.whl --rename ClassifyText=SortMail
    """
    from hokusai_teleprompt.pack_install import install_pack, pip_install

    lines = list(install_pack(source, _renamed(renames), pip_install))
    if as_json:
        print_json({"installed": source, "notes": lines})
        return
    for line in lines:
        click.echo(f"hokusai: {line}")


def _renamed(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return new names by old ones.

    Raises:
        CommandMisuse: a pair has another form, or a name is there twice.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        old, separator, new = (part.strip() for part in pair.partition("="))
        if not separator or not old or not new or old in names:
            raise CommandMisuse(f"--rename {pair}: write --rename OLD=NEW, each signature once")
        names[old] = new
    return names
