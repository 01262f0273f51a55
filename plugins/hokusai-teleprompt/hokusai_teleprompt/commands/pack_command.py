"""``hokusai pack``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["pack"]


@click.group()
def pack() -> None:
    """Make an installable pack of optimized signatures."""


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
def build(folder: Path, output: Path, name: str | None, version: str, summary: str) -> None:
    """Build a wheel from the optimized signatures (*.json) in FOLDER.

    \b
    hokusai pack build signatures/ --name acme-support
    pip install dist/acme_support-1.0.0-py3-none-any.whl
    hokusai list
    """
    from hokusai_teleprompt.pack_builder import build_pack

    built = build_pack(folder, output, name=name, version=version, summary=summary)
    click.echo(f"{built.path}: {', '.join(built.signatures)}")
    click.echo(f"install it with: pip install {built.path}")
