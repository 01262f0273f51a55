"""``hokusai show``."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hokusai.standing_view import print_standing, standing_record
from hokusai.type_text import type_text
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option, signature_argument
from hokusai_core.cli_support.signature_argument import registered
from hokusai_core.cli_support.tables import print_json, print_table, section
from hokusai_core.cli_support.word_writer import line_width
from hokusai_core.plugin_api import jsonable
from hokusai_evaluate.standing import standing_of

if TYPE_CHECKING:
    from hokusai_core.plugin_api import FieldSpec
    from hokusai_core.types import Edition, RegisteredSignature

__all__ = ["show"]


@click.command()
@signature_argument
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show signature NAME: fields, examples, version, fingerprint, owner, and how good it was measured to be."""
    found = installed(ctx)
    entry = registered(found.signatures, name)
    edition, standing = entry.edition, standing_of(entry, found.plugins)
    if as_json:
        promoted = None if edition is None else _edition(edition)
        print_json({**_record(entry), "promoted": promoted, **standing_record(standing)})
        return
    spec = entry.spec
    facts = [
        f"{entry.qualified_name} {spec.version}",
        spec.instructions.strip(),
        "",
        f"category     {spec.category or '-'}",
        f"tags         {', '.join(spec.tags) or '-'}",
        f"owner        {entry.owner}",
        f"fingerprint  {spec.fingerprint}",
    ]
    facts += [f"aliases      {', '.join(spec.aliases)}"] if spec.aliases else []
    facts += [f"deprecated   {spec.deprecated or 'yes'}"] if spec.deprecated is not None else []
    facts += [f"demos        {len(spec.demos)}"] if spec.demos else []
    facts += [f"strategy     {spec.strategy}"] if spec.strategy is not None else []
    facts += [f"parameters   {_values_text(spec.parameters)}"] if spec.parameters else []
    facts += [f"promoted     {_edition_text(edition)}"] if edition is not None else []
    _print_lines("\n".join(facts))
    section("Inputs")
    columns = ("field", "type", "needed", "aliases", "description")
    print_table(columns, [_input_row(field) for field in spec.inputs.values()])
    section("Outputs")
    print_table(("field", "type", "description"), [_output_row(field) for field in spec.outputs.values()])
    for number, example in enumerate(spec.examples, 1):
        section(f"Example {number}")
        _print_values(entry, example["inputs"])
        click.echo("  ->")
        _print_values(entry, example["outputs"])
    print_standing(standing)


def _values_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _edition(edition: Edition) -> dict[str, Any]:
    return {"at": _when(edition.in_force_since).isoformat(timespec="seconds"), "note": edition.note}


def _edition_text(edition: Edition) -> str:
    note = " ".join(edition.note.split())
    return f"{_when(edition.in_force_since):%Y-%m-%d %H:%M}" + (f": {note}" if note else "")


def _when(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds).astimezone()


def _input_row(field: FieldSpec) -> tuple[str, ...]:
    needed = "required" if field.required else f"default {_brief(field.default)}"
    return field.name, type_text(field), needed, ", ".join(field.aliases) or "-", _description(field)


def _output_row(field: FieldSpec) -> tuple[str, ...]:
    return field.name, type_text(field), _description(field)


def _description(field: FieldSpec) -> str:
    return f"{field.description} (sensitive)".strip() if field.sensitive else field.description or "-"


def _brief(value: Any) -> str:
    return "none" if value is None or value == [] else str(value) or "empty"


def _print_values(entry: RegisteredSignature, values: Mapping[str, Any]) -> None:
    for name, value in entry.spec.redact(values).items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        _print_lines(f"{name}: " + shown.replace("\n", "\n  "), "  ")


def _print_lines(text: str, indent: str = "") -> None:
    """Print lines; on a terminal, they break between words."""
    width = line_width()
    for line in text.split("\n"):
        before = indent + line[: len(line) - len(line.lstrip())]
        fits = width is None or len(indent) + len(line) <= width
        click.echo(
            indent + line
            if fits
            else textwrap.fill(line.lstrip(), width or 0, initial_indent=before, subsequent_indent=before + indent)
        )


def _record(entry: RegisteredSignature) -> dict[str, Any]:
    spec = entry.spec
    owner = entry.owner
    return {
        "name": entry.name,
        "qualified_name": entry.qualified_name,
        "version": spec.version,
        "fingerprint": spec.fingerprint,
        "owner": {"plugin": owner.plugin, "distribution": owner.distribution, "version": owner.version},
        "instructions": spec.instructions,
        "category": spec.category,
        "tags": list(spec.tags),
        "aliases": list(spec.aliases),
        "deprecated": spec.deprecated,
        "demos": len(spec.demos),
        "strategy": None if spec.strategy is None else spec.strategy.identity,
        "parameters": dict(spec.parameters),
        "inputs": [
            {**_field(field), "required": field.required, "default": jsonable(field.default)}
            for field in spec.inputs.values()
        ],
        "outputs": [_field(field) for field in spec.outputs.values()],
        "examples": [
            {
                part: {name: jsonable(value) for name, value in spec.redact(values).items()}
                for part, values in item.items()
            }
            for item in spec.examples
        ],
    }


def _field(field: FieldSpec) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": type_text(field),
        "description": field.description,
        "aliases": list(field.aliases),
        "sensitive": field.sensitive,
    }
