"""``hokusai new-signature``."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import metadata
from pathlib import Path

import click

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json

__all__ = ["new_signature"]

_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SIGNATURE = re.compile(r"[A-Z][A-Za-z0-9]*")


@click.command("new-signature")
@click.argument("name")
@click.option("--signature", help="Name of its first signature; left out, NAME in capitals: acme-mail, AcmeMail.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the project; left out, NAME in the current folder.",
)
@json_option
@click.pass_context
def new_signature(ctx: click.Context, name: str, signature: str | None, directory: Path | None, as_json: bool) -> None:
    """Start a signature pack: a project NAME with a signature, its entry point and tests that pass.

    Existing files are not changed.
    """
    module, plugin = name.replace("-", "_"), name.removeprefix("hokusai-")
    _check_name(name, module)
    signature = "".join(part.capitalize() for part in name.split("-")) if signature is None else signature
    _check_signature(signature)
    _check_free(ctx, name, plugin, signature)
    from hokusai.scaffold import project_files

    folder = directory if directory is not None else Path(name)
    files = project_files(distribution=name, module=module, plugin=plugin, signature=signature)
    taken = sorted(path for path in files if (folder / path).exists() or (folder / path).is_symlink())
    if taken:
        raise CommandFailure(f"{folder} has {', '.join(taken)} already; choose another --directory, or move them away")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        print_json({"directory": str(folder), "files": list(files), "signature": signature})
        return
    click.echo(f"{folder}: {len(files)} files. Next:\n  cd {folder}\n  pip install -e . pytest\n  python -m pytest")
    click.echo(f"  hokusai show {signature}")


def _check_name(name: str, module: str) -> None:
    if not _DISTRIBUTION.fullmatch(name):
        raise CommandMisuse(f"{name!r}: a name has lower-case letters, digits and single hyphens, such as acme-mail")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module == "tests":
        raise CommandMisuse(f"{name!r}: Python has its own {module!r}; choose another name, such as {name}-signatures")


def _check_signature(signature: str) -> None:
    if not _SIGNATURE.fullmatch(signature) or keyword.iskeyword(signature):
        raise CommandMisuse(f"{signature!r}: a signature is named like a class, such as SummarizeContract")


def _check_free(ctx: click.Context, name: str, plugin: str, signature: str) -> None:
    """Refuse names that are installed already: the new pack would be taken for the other one."""
    module = name.replace("-", "_")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    if version:
        raise CommandMisuse(f"{name} {version} is installed already; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise CommandMisuse(f"a module {module!r} can be imported already; choose another name")
    for record in installed(ctx).plugins.records():
        if plugin == record.name:
            owner = " ".join(part for part in (record.distribution, record.version) if part) or record.origin
            raise CommandMisuse(f"{owner} has a plugin {plugin!r} already; choose another name")
    for entry in installed(ctx).signatures.list():
        if signature == entry.name or signature in entry.spec.aliases:
            raise CommandMisuse(f"{entry.qualified_name} is installed already; choose another --signature")
