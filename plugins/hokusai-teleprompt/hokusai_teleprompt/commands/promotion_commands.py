"""``hokusai promote``, ``rollback`` and ``promotions``."""

from __future__ import annotations

import time
from pathlib import Path

import click
from attrs import asdict

from hokusai_core.cli_support.completion import complete_signature
from hokusai_core.cli_support.options import json_option, signature_argument
from hokusai_core.cli_support.tables import print_json, print_table, printable
from hokusai_core.plugin_api import read_artifact
from hokusai_teleprompt.commands.command_helpers import make_executor
from hokusai_teleprompt.promotion import all_promotions, promote, promotions, rollback

__all__ = ["promote_command", "promotions_command", "rollback_command"]

_note_option = click.option("--note", default="", help="The reason; kept in the history.")


@click.command("promote")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--as", "name", metavar="NAME", help="Name of the signature; without it the one that FILE names.")
@_note_option
@click.option("--force", is_flag=True, help="Promote it although it was not found to be better.")
@json_option
def promote_command(file: Path, name: str | None, note: str, force: bool, as_json: bool) -> None:
    """Let the optimized signature in FILE replace the signature that it was made from.

    The name means it from then on, in every executor and command of this user that starts later, until hokusai
    rollback. A FILE whose comparison did not show it to be better is refused without --force.

    \b
    hokusai promote better.json --note "measured on reviews"
    """
    with make_executor(track=False) as executor:
        target = executor.signatures.resolve(name or read_artifact(file).base_name).qualified_name
        promotion = promote(executor, target, file, note=note, force=force)
    if as_json:
        print_json({"signature": target, **asdict(promotion)})
        return
    click.echo(printable(f"promoted {target} {promotion.version}; undo with: hokusai rollback {target}"))


@click.command("rollback")
@signature_argument
@_note_option
@click.option("--original", is_flag=True, help="Go back to the signature as it was before all promotions.")
@json_option
def rollback_command(name: str, note: str, original: bool, as_json: bool) -> None:
    """Go back to what signature NAME was before its latest promotion.

    \b
    hokusai rollback ClassifyText --note "complaints"
    """
    with make_executor(track=False) as executor:
        target = executor.signatures.resolve(name).qualified_name
        promotion = rollback(executor, target, note=note, original=original)
    if as_json:
        print_json({"signature": target, **asdict(promotion)})
        return
    now = "the original signature" if promotion.fingerprint is None else f"version {promotion.version}"
    click.echo(printable(f"rolled back {target}: it is {now} again"))


@click.command("promotions")
@click.argument("name", required=False, shell_complete=complete_signature)
@json_option
def promotions_command(name: str | None, as_json: bool) -> None:
    """Show what was promoted and rolled back, the latest last: of signature NAME, or of all.

    \b
    hokusai promotions ClassifyText
    """
    with make_executor(track=False) as executor:
        found = all_promotions(executor)
        if name is not None and name in found:  # a signature that only some program registers
            found = {name: found[name]}
        elif name is not None:
            found = {executor.signatures.resolve(name).qualified_name: promotions(executor, name)}
    if as_json:
        print_json({"promotions": {key: [asdict(entry) for entry in entries] for key, entries in found.items()}})
        return
    rows = [
        [
            key,
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at)),
            entry.action,
            "original" if entry.fingerprint is None else f"{entry.version} ({entry.fingerprint[:8]})",
            printable(entry.note),
        ]
        for key, entries in found.items()
        for entry in entries
    ]
    if rows:
        print_table(["signature", "time", "action", "then used", "note"], rows)
    else:
        click.echo("nothing was promoted")
