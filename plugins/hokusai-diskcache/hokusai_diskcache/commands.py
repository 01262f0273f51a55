"""``hokusai cache``: show, explain and clear stored answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from attrs import define

from hokusai_core import Executor
from hokusai_core.errors import HokusaiError
from hokusai_core.plugin_api import CacheEntry
from hokusai_diskcache.cache import DiskCache
from hokusai_diskcache.inputs import gather_inputs

__all__ = ["cache"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Age(click.ParamType[float]):
    """A span of time such as ``90s``, ``12h`` or ``7d``, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no age; write it as 90s, 30m, 12h, 7d or 2w", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


_directory = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the cache; left out, HOKUSAI_CACHE_DIR, else the one in the user's cache.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def cache() -> None:
    """Show, explain and clear stored answers."""


@cache.command()
@_directory
@_as_json
def stats(directory: Path | None, as_json: bool) -> None:
    """Show what is stored, per signature."""
    with _opened(directory) as store:
        if not store.directory.exists():
            figures: dict[str, Any] = {"location": str(store.directory), "entries": 0, "signatures": {}}
        else:
            usage = _usage_by_signature(store)
            # Afterwards, since going through the entries is what finds damage.
            figures = {**store.stats(), "signatures": {name: used.to_dict() for name, used in usage.items()}}
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    rows = [
        (name, used["entries"], used["expired"], _size(used["bytes"]), _ago(used["oldest"]), _ago(used["newest"]))
        for name, used in sorted(figures.pop("signatures").items())
    ]
    click.echo(_table(("", ""), [(name.replace("_", " "), _plain(name, value)) for name, value in figures.items()]))
    if rows:
        click.echo()
        click.echo(_table(("signature", "entries", "expired", "answers", "oldest", "newest"), rows))


@cache.command()
@click.option("--signature", help="Only answers of this signature: pack/Name, or Name for every pack's.")
@click.option("--older-than", type=_Age(), help="Only answers stored longer ago than this: 90s, 30m, 12h, 7d, 2w.")
@_directory
@_as_json
def clear(signature: str | None, older_than: float | None, directory: Path | None, as_json: bool) -> None:
    """Remove stored answers: all, or those that the options describe."""
    removed = 0
    with _opened(directory) as store:
        if store.directory.exists():
            names: Sequence[str | None] = [signature]
            if signature is not None and "/" not in signature:
                names = [name for name in _usage_by_signature(store) if name.rpartition("/")[2] == signature]
            removed = sum(store.remove(signature=name, older_than=older_than) for name in names)
    told = f"{removed} answer{'' if removed == 1 else 's'} removed from {store.directory}"
    click.echo(json.dumps({"removed": removed}) if as_json else told)


@cache.command()
@click.argument("name")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FIELD=VALUE",
    help="One input, as hokusai run takes it: FIELD=@FILE, FIELD=@- for stdin, FIELD:=JSON; twice for a list.",
)
@click.option("--lm", help="Language model that would answer, such as openai/gpt-5-mini.")
@click.option("--namespace", help="Namespace of the executor; left out, HOKUSAI_NAMESPACE, else 'default'.")
@_directory
@_as_json
def explain(
    name: str, inputs: tuple[str, ...], lm: str | None, namespace: str | None, directory: Path | None, as_json: bool
) -> None:
    """Tell whether signature NAME would be answered from the cache, and if not, what differs."""
    given = gather_inputs(inputs)
    options: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    with _opened(directory) as store, Executor(cache=store, **options) as executor:
        executor.check_inputs(name, given)  # before a language model is loaded that nobody may need
        found = executor.explain(name, given, lm=lm)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    click.echo(str(found))
    rows = [("key", found.key or "none"), *found.tiers.items()]
    other = found.nearest.key if found.nearest else ""
    rows += [("nearest", other)] if other else []
    rows += [(part, f"{digest}{'  differs' if part in found.differs else ''}") for part, digest in found.parts.items()]
    click.echo(_table(("", ""), rows))


@contextmanager
def _opened(directory: Path | None) -> Iterator[DiskCache]:
    store = DiskCache(directory, busy_timeout=5.0)
    try:
        yield store
    except HokusaiError as error:
        raise click.ClickException(str(error)) from error
    finally:
        store.close()


@define
class _SignatureUsage:
    """What is stored of one signature."""

    entries: int = 0
    expired: int = 0
    bytes: int = 0
    oldest: float = float("inf")
    newest: float = 0.0

    def add(self, entry: CacheEntry, now: float) -> None:
        self.entries += 1
        self.expired += entry.expired(now)
        self.bytes += len(entry.outputs)
        self.oldest, self.newest = min(self.oldest, entry.created_at), max(self.newest, entry.created_at)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("entries", "expired", "bytes", "oldest", "newest")}


def _usage_by_signature(store: DiskCache) -> dict[str, _SignatureUsage]:
    usage: dict[str, _SignatureUsage] = {}
    now = time.time()
    for entry in store.entries():
        usage.setdefault(entry.signature, _SignatureUsage()).add(entry, now)
    return usage


def _plain(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return _size(value) if name in ("bytes", "size_limit") else str(value)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _ago(when: float) -> str:
    seconds = max(0.0, time.time() - when)
    unit = next((unit for unit in ("d", "h", "m") if seconds >= 2 * _UNITS[unit]), "s")
    return f"{seconds / _UNITS[unit]:.0f}{unit} ago"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    texts = [[str(cell) for cell in row] for row in ([head, *rows] if any(head) else rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)
