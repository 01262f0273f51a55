"""``hokusai export`` and ``hokusai import``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from hokusai.imported_signatures import imported_file, imported_names, remove_imported, write_imported
from hokusai_core.cli_support.completion import complete_file, complete_signature
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option, signature_argument
from hokusai_core.cli_support.signature_argument import registered
from hokusai_core.cli_support.tables import print_json
from hokusai_core.plugin_api import atomic_write, describe_os_error

__all__ = ["export_signature", "import_signature"]

_NAME = re.compile(r"[A-Za-z_]\w*")


@click.command("export")
@signature_argument
@click.option("-o", "--output", metavar="FILE", shell_complete=complete_file, help="Write here. [default: stdout]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which is the only form.")
@click.pass_context
def export_signature(ctx: click.Context, name: str, output: str | None, as_json: bool) -> None:
    """Write signature NAME as JSON: fields, types, instructions, examples and demos, without code.

    \b
    hokusai export ClassifyText -o classify.json
    hokusai run classify.json -i text="Late!" -i categories="Praise, Complaint"
    """
    entry = registered(installed(ctx).signatures, name)
    if entry.program is not None:
        raise CommandFailure(f"{name} is a DSPy program, whose code no JSON can hold; export its signature")
    text = json.dumps(entry.spec.to_dict(), indent=2, ensure_ascii=False)
    if output is None or output == "-":
        click.echo(text)
        return
    try:
        atomic_write(Path(output).expanduser(), [text.encode("utf-8", "replace"), b"\n"])
    except OSError as error:
        raise CommandFailure(describe_os_error(error, output)) from error
    click.echo(f"hokusai: {entry.qualified_name} {entry.spec.version} written to {output}", err=True)


@click.command("import")
@click.argument("source", required=False, metavar="[SIGNATURE]", shell_complete=complete_signature)
@click.option("--as", "name", metavar="NAME", help="Name under which it is found. [default: its own]")
@click.option("--replace", is_flag=True, help="Replace what was imported under that name.")
@click.option("--remove", metavar="NAME", help="Remove what was imported under NAME.")
@json_option
@click.pass_context
def import_signature(
    ctx: click.Context, source: str | None, name: str | None, replace: bool, remove: str | None, as_json: bool
) -> None:
    """Keep SIGNATURE for this user under a name: a JSON file, FILE.py:Class, MODULE:Class or "question -> answer".

    It is then a signature of the pack "imported", for every command and every program of this user. Without SIGNATURE
    the names of those that are kept are printed.

    \b
    hokusai import classify.json --as Triage
    hokusai import "text -> language, certain: bool" --as GuessLanguage
    hokusai run Triage -i text="Late!" -i categories="Praise, Complaint"
    """
    if remove is not None:
        remove_imported(remove)
        _say(f"removed {remove}", {"removed": remove}, as_json=as_json)
        return
    if source is None:
        found = imported_names()
        _say("\n".join(found) or "nothing was imported", {"imported": found}, as_json=as_json)
        return
    registry = installed(ctx).signatures
    spec = registered(registry, source).spec
    if "->" in source and name is None:
        raise CommandMisuse('give it a name: hokusai import "..." --as NAME')
    name = name or spec.name
    if not _NAME.fullmatch(name):
        raise CommandMisuse(f"{name!r}: a signature is named like a class, such as SummarizeContract")
    if imported_file(name).exists() and not replace:
        raise CommandFailure(f"{name} was imported before; --replace replaces it, --as NAME takes another name")
    for entry in registry.list():
        if name in (entry.name, *entry.spec.aliases) and entry.owner.plugin not in ("imported", "local"):
            raise CommandFailure(f"{entry.qualified_name} has that name; choose another with --as NAME")
    path = write_imported(name, spec.evolve(name=name))
    _say(f"imported/{name}: {path}", {"imported": name, "file": str(path)}, as_json=as_json)


def _say(text: str, record: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        click.echo(text)
