"""``hokusai cache``: show, explain and clear stored answers."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from attrs import define

from hokusai_core import Executor
from hokusai_core.cli_support.failures import CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import (
    AgeType,
    ModelType,
    input_option,
    inputs_option,
    json_option,
    signature_argument,
)
from hokusai_core.cli_support.signature_argument import signature_called
from hokusai_core.cli_support.tables import age_text, print_figures, print_json, print_table, size_text
from hokusai_core.errors import HokusaiError
from hokusai_core.plugin_api import CacheEntry, CacheMaintenance, PluginManager, Settings
from hokusai_diskcache.cache import DiskCache

__all__ = ["cache"]

_OWN: Final = "diskcache"
#: A folder of this plugin's own cache, or the name of any cache.
Chosen = tuple[Path | None, str | None]


def _store_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a store; it gets the argument ``chosen``."""

    @functools.wraps(command)
    def run(directory: Path | None, cache_name: str | None, **arguments: Any) -> None:
        if directory is not None and cache_name not in (None, _OWN):
            raise CommandMisuse(f"--directory is a folder of {_OWN}; leave it or --cache out")
        command(chosen=(directory, cache_name), **arguments)

    directory_option = click.option(
        "--directory",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the cache; left out, HOKUSAI_CACHE_DIR, else the one in the user's cache.",
    )
    name_option = click.option(
        "--cache", "cache_name", metavar="NAME", help="Another cache, such as redis; left out, HOKUSAI_CACHE."
    )
    return directory_option(name_option(run))


@click.group()
def cache() -> None:
    """Show, explain and clear stored answers."""


@cache.command()
@_store_options
@json_option
def stats(chosen: Chosen, as_json: bool) -> None:
    """Show what is stored, per signature."""
    now, usage = time.time(), dict[str, _SignatureUsage]()
    with _opened(chosen) as store:
        if _is_missing(store):
            figures: dict[str, Any] = {"location": str(store.directory), "entries": 0, "signatures": {}}
        else:
            usage = _usage_by_signature(store)
            # Afterwards, since going through the entries is what finds damage.
            figures = {**store.stats(), "signatures": {name: used.to_dict() for name, used in usage.items()}}
    if as_json:
        print_json(figures)
        return
    del figures["signatures"]
    rows = [[name, *used.cells(now)] for name, used in sorted(usage.items())]
    print_figures({name.replace("_", " "): _plain(name, value) for name, value in figures.items()})
    if rows:
        click.echo()
        print_table(("signature", "entries", "expired", "answers", "oldest", "newest"), rows)


@cache.command()
@click.option("--signature", help="Only answers of this signature: pack/Name, or Name for every pack's.")
@click.option("--older-than", type=AgeType(), help="Only answers stored longer ago than this: 90s, 30m, 12h, 7d, 2w.")
@_store_options
@json_option
def clear(signature: str | None, older_than: float | None, chosen: Chosen, as_json: bool) -> None:
    """Remove stored answers: all, or those that the options describe."""
    removed = 0
    with _opened(chosen) as store:
        where = store.directory if isinstance(store, DiskCache) else store.stats().get("location", chosen[1])
        if not _is_missing(store):
            names: Sequence[str | None] = [signature]
            if signature is not None and "/" not in signature:
                names = [name for name in _usage_by_signature(store) if name.rpartition("/")[2] == signature]
            removed = sum(store.remove(signature=name, older_than=older_than) for name in names)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{removed} answer{'' if removed == 1 else 's'} removed from {where}")


@cache.command()
@signature_argument
@input_option
@inputs_option
@click.option("--lm", type=ModelType(), help="Language model that would answer, such as openai/gpt-5-mini.")
@click.option("--namespace", help="Namespace of the executor; left out, HOKUSAI_NAMESPACE, else 'default'.")
@_store_options
@json_option
def explain(
    name: str,
    inputs: tuple[str, ...],
    source: str | None,
    lm: str | None,
    namespace: str | None,
    chosen: Chosen,
    as_json: bool,
) -> None:
    """Tell whether signature NAME would be answered from the cache, and if not, what differs."""
    options: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    with _opened(chosen) as store, Executor(cache=store, **options) as executor:
        signature = signature_called(executor, name)
        given = gather_inputs(inputs, source, media=executor.signature(signature).spec.media_inputs)
        executor.check_inputs(signature, given)  # before a language model is loaded, perhaps for nothing
        found = executor.explain(signature, given, lm=lm)
    if as_json:
        print_json(found.to_dict())
        return
    click.echo(str(found))
    figures = {"key": found.key or "none", **found.tiers}
    if found.nearest and found.nearest.key:
        figures["nearest"] = found.nearest.key
    for part, digest in found.parts.items():
        figures[part] = f"{digest}  differs" if part in found.differs else digest
    print_figures(figures)


@contextmanager
def _opened(chosen: Chosen) -> Iterator[Any]:
    """Open a folder, or the cache of a name or of the setting ``cache``."""
    directory, name = chosen
    try:
        settings = Settings.from_environment()
        name = _OWN if directory is not None else name or settings.value("cache") or _OWN
        store: Any = DiskCache(directory, busy_timeout=5.0) if name == _OWN else _create(name, settings)
    except HokusaiError as error:
        raise click.ClickException(str(error)) from error
    try:
        yield store
    except HokusaiError as error:
        raise click.ClickException(str(error)) from error
    finally:
        store.close()


def _create(name: str, settings: Settings) -> Any:
    with PluginManager(only=settings.value("plugins"), disable=settings.value("disable_plugins")) as plugins:
        store = plugins.create("cache", name)
    if not isinstance(store, CacheMaintenance):
        store.close()
        raise click.ClickException(f"the cache {name!r} cannot list or remove what it holds")
    return store


def _is_missing(store: Any) -> bool:
    return isinstance(store, DiskCache) and not store.directory.exists()


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

    def cells(self, now: float) -> list[str]:
        ages = (age_text(now - self.oldest), age_text(now - self.newest))
        return [str(self.entries), str(self.expired), size_text(self.bytes), *ages]

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("entries", "expired", "bytes", "oldest", "newest")}


def _usage_by_signature(store: CacheMaintenance) -> dict[str, _SignatureUsage]:
    usage: dict[str, _SignatureUsage] = {}
    now = time.time()
    for entry in store.entries():
        usage.setdefault(entry.signature, _SignatureUsage()).add(entry, now)
    return usage


def _plain(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return size_text(value) if name in ("bytes", "size_limit") else str(value)
