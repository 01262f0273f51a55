"""``hokusai logs``."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from attrs import asdict

from hokusai.commands.run import print_outputs, result_record
from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.completion import complete_signature
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.listing_group import ListingGroup
from hokusai_core.cli_support.options import AgeType, json_option
from hokusai_core.cli_support.progress import spinner
from hokusai_core.cli_support.tables import print_json, print_table, printable, section
from hokusai_core.plugin_api import REDACTED, KeptExecution, jsonable

__all__ = ["logs"]

#: Characters of an id that are printed; as many of its beginning as tell it from others can be typed.
_SHORT = 8
_HOW_TO_KEEP = (
    "an execution is kept where a tracker records it: --track, HOKUSAI_TRACKERS=mlflow, or trackers in hokusai.toml"
)

_from_option = click.option(
    "--from", "sources", multiple=True, metavar="TRACKER", help="A tracker, or feedback; left out, all that keep them."
)
_since_option = click.option("--since", type=AgeType(), help="How far back: 90s, 30m, 12h, 7d, 2w.")
_number_option = click.option(
    "-n", "number", type=click.IntRange(min=1), default=20, show_default=True, help="So many, the latest first."
)
_failed_option = click.option("--failed", is_flag=True, help="Only those that failed.")


@click.group(cls=ListingGroup)
def logs() -> None:
    """Show past executions, search them, and run one again. Alone, it lists them.

    Trackers and feedback stores keep executions: those of the command with --track or HOKUSAI_TRACKERS.
    """


@logs.command("list")
@click.argument("name", required=False, shell_complete=complete_signature)
@_since_option
@_number_option
@_failed_option
@_from_option
@json_option
def list_(
    name: str | None, since: float | None, number: int, failed: bool, sources: tuple[str, ...], as_json: bool
) -> None:
    """List executions of signature NAME, or of all, the latest first."""
    _print_found(_kept(sources, since, name, _wanted(failed, ()))[:number], as_json=as_json)


@logs.command()
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option("--signature", metavar="NAME", shell_complete=complete_signature, help="Only of this signature.")
@_since_option
@_number_option
@_failed_option
@_from_option
@json_option
def search(
    words: tuple[str, ...],
    signature: str | None,
    since: float | None,
    number: int,
    failed: bool,
    sources: tuple[str, ...],
    as_json: bool,
) -> None:
    """List executions with every WORD in their inputs, outputs, signature or model."""
    _print_found(_kept(sources, since, signature, _wanted(failed, words))[:number], as_json=as_json)


@logs.command()
@click.argument("execution_id")
@_from_option
@json_option
def show(execution_id: str, sources: tuple[str, ...], as_json: bool) -> None:
    """Show the execution whose id begins with EXECUTION_ID: inputs, outputs, model, time and tokens."""
    one = _one(sources, execution_id)
    if as_json:
        print_json(_record(one))
        return
    facts = {
        "execution": one.execution_id,
        "signature": f"{one.signature} {one.signature_version}",
        "when": _when(one.started_at),
        "model": one.model or "none",
        "status": one.status + (f", from the {one.cached} cache" if one.cached else ""),
        "time": "-" if one.latency is None else f"{one.latency:.1f} s",
        "tokens": "-" if one.usage is None else f"{one.usage.input_tokens} + {one.usage.output_tokens}",
        "cost": "-" if one.cost is None else f"${one.cost:.4f}",
    }
    for name, value in facts.items():
        click.echo(printable(f"{name:<10} {value}"))
    for title, values in (("Inputs", one.inputs), ("Outputs", one.outputs)):
        section(title)
        for name, value in values.items():
            click.echo(printable(f"{name}: {_text(value)}"))
    if one.cut:
        click.echo(f"hokusai: kept shortened or not at all: {', '.join(one.cut)}", err=True)
    for given in one.current:
        section(f"Feedback of {printable(given.source)}")
        click.echo(printable(f"rating {given.rating}" + (f": {given.comment}" if given.comment else "")))


@logs.command()
@click.argument("execution_id")
@_from_option
@execution_flags("lm", "strategy", "parameters", "timeout", "max_retries", "prices", "max_cost", "unpriced", "cache")
@click.option("--track", is_flag=True, help="Record the execution in MLflow.")
@json_option
def run(execution_id: str, sources: tuple[str, ...], track: bool, as_json: bool, options: dict[str, Any]) -> None:
    """Run the execution whose id begins with EXECUTION_ID again, with the inputs that it had."""
    from hokusai.command_executor import make_executor

    one = _one(sources, execution_id)
    lost = [name.partition(".")[2] for name in one.cut if name.startswith("inputs.")]
    lost += [name for name, value in one.inputs.items() if value == REDACTED]
    if lost:
        names = ", ".join(dict.fromkeys(lost))
        raise CommandFailure(
            f"it cannot be run again, as inputs are sensitive or were kept shortened: {names}; give them to hokusai run"
        )
    with make_executor(options, track=track, daily=True) as executor:
        executor.check_inputs(one.signature, one.inputs)
        with spinner(f"running {one.signature}"):
            result = executor.execute_signature(one.signature, one.inputs, **options)
        sensitive = bool(executor.signature(one.signature).spec.sensitive)
    if as_json:
        print_json({**result_record(result, {} if sensitive else result.extras), "again": one.execution_id})
    else:
        print_outputs(result)


@contextmanager
def _opened(names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Open what keeps executions."""
    from hokusai_core import Executor, Settings
    from hokusai_evaluate.kept_executions import kept_sources

    settings = Settings.from_environment(mode="production", cache_enabled=False)
    configured = settings.value("trackers")
    with Executor(settings.with_options(trackers=[])) as executor:
        wanted = names or (tuple(configured) + (("feedback",) if configured else ()))
        found = kept_sources(executor, wanted)
        try:
            yield found
        finally:
            for source in found.values():
                source.close()


def _kept(
    names: Sequence[str], since: float | None, signature: str | None, wanted: Callable[[KeptExecution], bool]
) -> list[KeptExecution]:
    """Return what is kept, the latest first; what two sources have once."""
    found: dict[str, KeptExecution] = {}
    with _opened(names) as sources:
        for source in sources.values():
            start = None if since is None else time.time() - since
            for one in source.search(since=start, signature=signature):
                known = found.get(one.execution_id)
                if known is None or len(one.cut) < len(known.cut):
                    found[one.execution_id] = one
    chosen = [one for one in found.values() if wanted(one)]
    if found and not chosen:
        click.echo(f"hokusai: none of {len(found):,} kept executions matches", err=True)
    elif not chosen:
        click.echo(f"hokusai: no such execution is kept; {_HOW_TO_KEEP}", err=True)
    return sorted(chosen, key=lambda one: -one.started_at)


def _one(names: Sequence[str], execution_id: str) -> KeptExecution:
    with _opened(names) as sources:
        found = {
            one.execution_id: one
            for source in sources.values()
            for one in source.search(since=None, signature=None)
            if one.execution_id.startswith(execution_id)
        }
    if not found:
        raise CommandFailure(f"no execution {execution_id!r} is kept; {_HOW_TO_KEEP}")
    if len(found) > 1:
        some = ", ".join(sorted(found)[:4])
        raise CommandFailure(f"{execution_id!r} is the beginning of {len(found)} ids, such as {some}; give more of it")
    (one,) = found.values()
    return one  # type: ignore[no-any-return]  # a source may be of any class


def _wanted(failed: bool, words: Sequence[str]) -> Callable[[KeptExecution], bool]:
    def wanted(one: KeptExecution) -> bool:
        if failed and one.status == "ok":
            return False
        if not words:
            return True
        values = [*one.inputs.values(), *one.outputs.values(), one.signature, one.model]
        text = "\n".join(map(_text, values)).casefold()
        return all(word.casefold() in text for word in words)

    return wanted


def _print_found(found: Sequence[KeptExecution], *, as_json: bool) -> None:
    if as_json:
        print_json({"executions": [_record(one) for one in found]})
    elif found:
        print_table(("id", "when", "signature", "model", "status", "time", "tokens", "outputs"), list(map(_row, found)))


def _row(one: KeptExecution) -> tuple[str, ...]:
    outputs = " ".join(" ".join(map(_text, one.outputs.values())).split())
    return (
        one.execution_id[:_SHORT],
        _when(one.started_at),
        one.signature.rpartition("/")[2],
        one.model or "-",
        one.status,
        "-" if one.latency is None else f"{one.latency:.1f} s",
        "-" if one.usage is None else str(one.usage.total_tokens),
        printable(outputs if len(outputs) <= 40 else f"{outputs[:37]}..."),
    )


def _record(one: KeptExecution) -> dict[str, Any]:
    return {
        "execution_id": one.execution_id,
        "signature": one.signature,
        "signature_version": one.signature_version,
        "fingerprint": one.fingerprint,
        "started_at": datetime.datetime.fromtimestamp(one.started_at).astimezone().isoformat(timespec="seconds"),
        "model": one.model,
        "status": one.status,
        "latency": one.latency,
        "usage": None if one.usage is None else asdict(one.usage),
        "cost": one.cost,
        "cached": one.cached,
        "inputs": {name: jsonable(value) for name, value in one.inputs.items()},
        "outputs": {name: jsonable(value) for name, value in one.outputs.items()},
        "cut": list(one.cut),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(jsonable(value), ensure_ascii=False)


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
