"""``hokusai list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_columns, print_json, print_table
from hokusai_core.plugin_api import install_command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hokusai_core.cli_support.installed import Installed
    from hokusai_core.types import RegisteredSignature

__all__ = ["list_signatures"]


@click.command("list")
@click.option("--category", help="Only signatures of this category.")
@click.option("--tag", "tags", multiple=True, help="Only signatures with this tag; several have to match all.")
@click.option("--wide", is_flag=True, help="Also version, category and pack, and descriptions that are not cut.")
@json_option
@click.pass_context
def list_signatures(ctx: click.Context, category: str | None, tags: tuple[str, ...], wide: bool, as_json: bool) -> None:
    """List the signatures that are installed. hokusai show NAME tells the rest of one.

    \b
    hokusai list
    hokusai list --category analysis --wide
    """
    entries = installed(ctx).signatures.list()
    if category is not None:
        _check("category", category, {entry.spec.category for entry in entries if entry.spec.category})
    for tag in tags:
        _check("tag", tag, {known for entry in entries for known in entry.spec.tags})
    chosen = [
        entry
        for entry in entries
        if (category is None or entry.spec.category == category) and set(tags) <= set(entry.spec.tags)
    ]
    if as_json:
        print_json({"signatures": [_record(installed(ctx), entry) for entry in chosen]})
        return
    if not entries:
        click.echo(f"hokusai: {_nothing(installed(ctx))}", err=True)
        return
    if not chosen:
        click.echo("hokusai: no signature matches all of these", err=True)
        return
    if wide:
        columns = ("name", "version", "category", "pack", "description")
        print_table(columns, [_wide_row(installed(ctx), entry) for entry in chosen])
    else:
        print_columns(("name", "description"), [_row(installed(ctx), entry) for entry in chosen])
    for line in _shared_names(installed(ctx), chosen):
        click.echo(f"hokusai: {line}", err=True)


def _shared_names(found: Installed, entries: Iterable[RegisteredSignature]) -> Iterable[str]:
    """Yield what each short name means that several packs have, and how to change it."""
    for entry in entries:
        if found.signatures.display_name(entry) != entry.name:
            meant = found.signatures.meaning(entry.name)
            if meant is None:
                yield f"{entry.name} alone means nothing; write {entry.qualified_name}, or set HOKUSAI_PREFER"
            else:
                yield f"{entry.name} means {meant.qualified_name}, and {entry.qualified_name} has to be written in full"


def _nothing(found: Installed) -> str:
    disabled = ", ".join(record.name for record in found.plugins.records() if record.state == "disabled")
    if disabled:
        return f"no signature pack is enabled; HOKUSAI_PLUGINS or HOKUSAI_DISABLE_PLUGINS leaves out {disabled}"
    return f"no signature pack is installed; try: {install_command('hokusai-signatures')}"


def _check(kind: str, wanted: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if wanted not in names:
        from hokusai_core.plugin_api import did_you_mean

        raise CommandFailure(
            f"no signature has the {kind} {wanted!r}{did_you_mean(wanted, names)}; there are {', '.join(names)}"
        )


def _row(found: Installed, entry: RegisteredSignature) -> tuple[str, ...]:
    spec = entry.spec
    marks = ["deprecated"] * (spec.deprecated is not None) + ["promoted"] * (entry.edition is not None)
    mark = f"({', '.join(marks)}) " if marks else ""
    return found.signatures.display_name(entry), mark + _summary(spec.instructions)


def _wide_row(found: Installed, entry: RegisteredSignature) -> tuple[str, ...]:
    name, description = _row(found, entry)
    return name, entry.spec.version, entry.spec.category or "-", entry.owner.plugin, description


def _summary(instructions: str) -> str:
    """Return the first sentence of the instructions."""
    return " ".join(instructions.strip().partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _record(found: Installed, entry: RegisteredSignature) -> dict[str, Any]:
    spec = entry.spec
    return {
        "name": found.signatures.display_name(entry),
        "qualified_name": entry.qualified_name,
        "aliases": list(spec.aliases),
        "version": spec.version,
        "promoted": entry.edition is not None,
        "category": spec.category,
        "tags": list(spec.tags),
        "summary": spec.instructions.strip().partition("\n")[0],
        "inputs": list(spec.inputs),
        "outputs": list(spec.outputs),
        "deprecated": spec.deprecated,
        "shadows": list(entry.shadows),
        "owner": {
            "plugin": entry.owner.plugin,
            "distribution": entry.owner.distribution,
            "version": entry.owner.version,
        },
    }
