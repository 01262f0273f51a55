"""``hokusai new-plugin``, and ``hokusai new-signature`` for signature packs."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import metadata
from pathlib import Path

import click

from hokusai.scaffold import KINDS, SIGNATURE, ProjectNames, project_files
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json
from hokusai_core.plugin_api import did_you_mean

__all__ = ["new_plugin", "new_signature"]

_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SIGNATURE = re.compile(r"[A-Z][A-Za-z0-9]*")

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the project; left out, NAME in the current folder.",
)


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", required=True, help=f"What it offers: {', '.join(KINDS)}.")
@_directory
@json_option
@click.pass_context
def new_plugin(ctx: click.Context, name: str, kind: str, directory: Path | None, as_json: bool) -> None:
    """Start a plugin: a project NAME with a component that works, its entry point, tests and types.

    Existing files are not changed.
    """
    kind = kind.replace("-", "_")
    if kind not in KINDS:
        raise CommandMisuse(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    _write(ctx, ProjectNames(name, kind, _class_name(name)), directory, as_json)


@click.command("new-signature")
@click.argument("name")
@click.option("--signature", help="Name of its first signature; left out, NAME in capitals: acme-mail, AcmeMail.")
@_directory
@json_option
@click.pass_context
def new_signature(ctx: click.Context, name: str, signature: str | None, directory: Path | None, as_json: bool) -> None:
    """Start a signature pack: ``new-plugin NAME --kind signature``, with a name for its first signature.

    Existing files are not changed.
    """
    chosen = _class_name(name) if signature is None else signature
    _write(ctx, ProjectNames(name, SIGNATURE, chosen), directory, as_json)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _write(ctx: click.Context, names: ProjectNames, directory: Path | None, as_json: bool) -> None:
    _check_name(names)
    if names.kind == SIGNATURE:
        _check_signature(names.class_name)
    _check_free(ctx, names)
    folder = directory if directory is not None else Path(names.distribution)
    files = project_files(names)
    taken = sorted(path for path in files if (folder / path).exists() or (folder / path).is_symlink())
    if taken:
        raise CommandFailure(f"{folder} has {', '.join(taken)} already; choose another --directory, or move them away")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        facts = {"directory": str(folder), "files": list(files), "plugin": names.plugin, "kind": names.kind}
        print_json(facts | ({"signature": names.class_name} if names.kind == SIGNATURE else {}))
        return
    click.echo(f"{folder}: {len(files)} files. Next:\n  cd {folder}\n  pip install -e . --group dev")
    click.echo(f"  python -m pytest\n  hokusai plugins check {names.plugin}")
    if names.kind == SIGNATURE:
        click.echo(f"  hokusai show {names.class_name}")


def _check_name(names: ProjectNames) -> None:
    name, module = names.distribution, names.module
    if not _DISTRIBUTION.fullmatch(name):
        raise CommandMisuse(f"{name!r}: a name has lower-case letters, digits and single hyphens, such as acme-mail")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module == "tests":
        raise CommandMisuse(f"{name!r}: Python has its own {module!r}; choose another name, such as {name}-plugin")


def _check_signature(signature: str) -> None:
    if not _SIGNATURE.fullmatch(signature) or keyword.iskeyword(signature):
        raise CommandMisuse(f"{signature!r}: a signature is named like a class, such as SummarizeContract")


def _check_free(ctx: click.Context, names: ProjectNames) -> None:
    """Refuse names that are installed already: the new plugin would be taken for the other one."""
    try:
        version = metadata.version(names.distribution)
    except metadata.PackageNotFoundError:
        version = ""
    if version:
        raise CommandMisuse(f"{names.distribution} {version} is installed already; choose another name")
    if importlib.util.find_spec(names.module) is not None:
        raise CommandMisuse(f"a module {names.module!r} can be imported already; choose another name")
    plugins = installed(ctx).plugins
    for record in plugins.records():
        if names.plugin == record.name:
            owner = " ".join(part for part in (record.distribution, record.version) if part) or record.origin
            raise CommandMisuse(f"{owner} has a plugin {names.plugin!r} already; choose another name")
    if names.kind != SIGNATURE:
        taken = [item.qualified_name for item in plugins.components(names.kind) if item.name == names.component]
        if taken:
            raise CommandMisuse(f"there is a {names.kind} {taken[0]} already; choose another name")
        return
    for entry in installed(ctx).signatures.list():
        if names.class_name == entry.name or names.class_name in entry.spec.aliases:
            raise CommandMisuse(f"{entry.qualified_name} is installed already; choose another --signature")
