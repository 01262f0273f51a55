"""``hokusai alias``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from hokusai_core.cli_support.aliases import read_aliases, remove_alias, set_alias
from hokusai_core.cli_support.completion import complete_signature
from hokusai_core.cli_support.failures import CommandMisuse
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.listing_group import ListingGroup
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table
from hokusai_core.plugin_api import did_you_mean

__all__ = ["alias"]


@click.group(cls=ListingGroup)
def alias() -> None:
    """Keep short names for signatures and language models, which every command takes. Alone, it lists them."""


@alias.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the aliases."""
    found = read_aliases()
    if as_json:
        print_json({"aliases": dict(found)})
    elif found:
        print_table(("alias", "stands for"), list(found.items()))
    else:
        click.echo("hokusai: there is no alias; hokusai alias set NAME TARGET makes one", err=True)


@alias.command("set")
@click.argument("name")
@click.argument("target", shell_complete=complete_signature)
@json_option
@click.pass_context
def set_(ctx: click.Context, name: str, target: str, as_json: bool) -> None:
    """Let NAME stand for TARGET: a signature in any of its forms, or a language model.

    \b
    hokusai alias set sum SummarizeText
    hokusai alias set mini openai/gpt-5-mini
    hokusai run sum -i document=@report.txt --lm mini
    """
    found = installed(ctx)
    known = {known for entry in found.signatures.list() for known in (entry.name, *entry.spec.aliases)}
    if name in known:
        raise CommandMisuse(f"{name} is a signature; an alias would hide it, so choose another name")
    if name in {one.name for one in found.plugins.components("language_model")}:
        raise CommandMisuse(f"{name} is a language model; an alias would hide it, so choose another name")
    target = _checked(target, known)
    set_alias(name, target)
    if as_json:
        print_json({"alias": name, "target": target})
    else:
        click.echo(f"{name} stands for {target}")


@alias.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove alias NAME."""
    remove_alias(name)
    if as_json:
        print_json({"removed": name})
    else:
        click.echo(f"removed {name}")


def _checked(target: str, known: set[str]) -> str:
    """Return a target; of a file its whole path, as an alias holds in every folder."""
    file = re.fullmatch(r"(.+\.(?:py|json|toml|yaml|yml))(:\w+)?", target)
    if file is not None and "->" not in target:
        path = Path(file[1]).expanduser()
        if not path.is_file():
            raise CommandMisuse(f"the file {path} was not found")
        return f"{path.resolve()}{file[2] or ''}"
    if target in known or "->" in target or "/" in target or ":" in target or target == "local":
        return target
    raise CommandMisuse(
        f"{target!r} is not a signature{did_you_mean(target, known)}; a language model is written provider/model"
    )
