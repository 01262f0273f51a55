"""What a shell offers when a word is completed: names of signatures, fields, models and metrics, and files.

What is installed is looked up anew: click has closed the context of the command, and what hangs off it, by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hokusai_core.signatures import FieldSpec, SignatureSpec
    from hokusai_core.signatures.field_types import Shape

__all__ = [
    "complete_component",
    "complete_field",
    "complete_file",
    "complete_mapping",
    "complete_model",
    "complete_signature",
]

#: Kinds of files that hold a signature, or Python code with one.
_SIGNATURE_FILES = (".json", ".py", ".toml", ".yaml", ".yml")
_LONGEST_HEADER: Final = 65_536


def complete_signature(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of signatures, aliases, and files that may hold a signature."""
    from hokusai_core.cli_support.aliases import read_aliases
    from hokusai_core.cli_support.installed import Installed

    if ".py:" in incomplete:
        path, _, start = incomplete.rpartition(":")
        return [_item(f"{path}:{name}", text) for name, text in _classes(path).items() if name.startswith(start)]
    registry = Installed().signatures
    names: dict[str, str] = {}
    for entry in registry.list():
        names[registry.display_name(entry)] = entry.spec.instructions.strip().partition("\n")[0]
        if "/" in incomplete:
            names[entry.qualified_name] = names[registry.display_name(entry)]
    names.update({name: target for name, target in read_aliases().items() if "->" not in target})
    found = _matching(names, incomplete)
    return found if found and "." not in incomplete else [*found, *_files(incomplete, _SIGNATURE_FILES)]


def complete_field(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ``FIELD=`` for the inputs of the signature that the command names, and values and files after it.

    Values are those of a choice, an enum or a boolean; files follow ``FIELD=@``.
    """
    field, separator, value = incomplete.partition("=")
    spec = _spec_of(ctx)
    fields = {} if spec is None else {name: one for one in spec.inputs.values() for name in (one.name, *one.aliases)}
    if separator and value.startswith("@"):
        return [_item(f"{field}=@{path.value}") for path in _files(value[1:])]
    if separator:
        known = fields.get(field)
        values = [] if known is None else _choices(known.shape)
        return [_item(f"{field}={one}") for one in values if one.lower().startswith(value.lower())]
    given = {pair.partition("=")[0].removesuffix(":") for pair in ctx.params.get("inputs") or ()}
    open_fields = [] if spec is None else [one for one in spec.inputs.values() if one.name not in given or _many(one)]
    return _matching({f"{one.name}=": one.description for one in open_fields}, incomplete)


def complete_mapping(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ``COLUMN=`` for the columns of the table that the command names, and the inputs after it."""
    column, separator, _ = incomplete.partition("=")
    if separator:
        spec = _spec_of(ctx)
        return _matching({f"{column}={name}": "" for name in ([] if spec is None else spec.inputs)}, incomplete)
    words = [str(value) for value in (*ctx.params.values(), *ctx.args) if isinstance(value, (str, Path))]
    return _matching({f"{name}=": "" for word in words for name in _columns(word)}, incomplete)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of language models."""
    from hokusai_core.cli_support.installed import Installed
    from hokusai_core.cli_support.model_list import known_models, own_models

    names = {one.name: one.provider for one in own_models(Installed())}
    if "/" in incomplete:  # the list is long, and reading it takes a moment
        names |= {one.name: one.provider for one in known_models() if one.name.startswith(incomplete)}
    else:
        names |= {f"{provider}/": "" for provider in ("openai", "anthropic", "gemini")}
    return _matching(names, incomplete)


def complete_component(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a function that returns the names of a kind of components, such as ``metric`` or ``strategy``."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from hokusai_core.cli_support.installed import Installed

        offered = Installed().plugins.components(kind)
        return _matching({one.name: one.summary for one in offered}, incomplete)

    return complete


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return files and folders."""
    return list(_files(incomplete))


def _choices(shape: Shape) -> list[str]:
    """Return the texts that a value of a type may have, none if there are too many to say."""
    match shape.kind:
        case "bool":
            return ["true", "false"]
        case "literal":
            return [str(value).lower() if isinstance(value, bool) else str(value) for value in shape.values]
        case "enum":
            return [str(member.value) for member in shape.cls]
        case "union" | "constrained" | "list" | "set" | "frozenset" | "tuple":
            return [text for part in shape.args for text in _choices(part)]
    return []


def _many(field: FieldSpec) -> bool:
    return any(one.kind in ("list", "tuple", "set", "frozenset") for one in field.shape.members)


def _classes(path: str) -> dict[str, str]:
    """Return the classes of a Python file with what each says of itself; the file is read, not run."""
    import ast  # few words are completed that need it

    try:
        tree = ast.parse(Path(path).expanduser().read_bytes())
    except (OSError, ValueError, SyntaxError):
        return {}
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    return {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in found}


def _columns(name: str) -> list[str]:
    """Return the columns of a table, none if the file is something else."""
    if not name.lower().endswith((".csv", ".tsv", ".tab")):
        return []
    import csv  # few words are completed that need it

    from hokusai_core.cli_support.data_files import find_delimiter

    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            line = file.readline(_LONGEST_HEADER)
    except (OSError, ValueError):
        return []
    return next(csv.reader([line], delimiter=find_delimiter(line)), [])


def _spec_of(ctx: click.Context) -> SignatureSpec | None:
    """Return the signature that the command line names so far."""
    from hokusai_core.cli_support.aliases import resolve_alias
    from hokusai_core.cli_support.installed import Installed
    from hokusai_core.cli_support.signature_argument import registered

    # Where an option still lacks its value, click leaves the arguments unread.
    name = str(ctx.params.get("name") or next(iter(ctx.args), ""))
    try:
        return registered(Installed().signatures, resolve_alias(name)).spec
    except Exception:  # a name that is not finished: nothing is offered
        return None


def _matching(names: dict[str, str], incomplete: str) -> list[CompletionItem]:
    return [_item(name, text) for name, text in sorted(names.items()) if name.lower().startswith(incomplete.lower())]


def _files(incomplete: str, endings: tuple[str, ...] = ()) -> Iterable[CompletionItem]:
    """Yield the files and folders that begin like this; of files those with one of the endings."""
    folder, _, start = incomplete.rpartition("/")
    try:
        entries = sorted(os.scandir(os.path.expanduser(folder) or ("/" if incomplete.startswith("/") else ".")),
                         key=lambda entry: entry.name)  # fmt: skip
    except OSError:
        return
    before = f"{folder}/" if "/" in incomplete else ""
    for entry in entries:
        if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
            continue
        if entry.is_dir():
            yield _item(f"{before}{entry.name}/")
        elif not endings or entry.name.endswith(endings):
            yield _item(f"{before}{entry.name}")


def _item(value: str, text: str = "") -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(value, help=" ".join(text.split())[:60] or None)
