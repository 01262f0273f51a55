"""``hokusai feedback``."""

from __future__ import annotations

import datetime
import getpass
import json
import random
from pathlib import Path
from typing import Any

import click
from attrs import asdict

from hokusai_core.cli_support.completion import complete_signature
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table, printable
from hokusai_core.errors import ExecutionNotFoundError, FeedbackError
from hokusai_core.plugin_api import KeptExecution, jsonable
from hokusai_teleprompt.commands.command_helpers import make_executor, shown, track_option
from hokusai_teleprompt.feedback.collector import Feedback, FeedbackCollector

__all__ = ["feedback"]

#: Characters of the beginning of an id that can stand for it.
_SHORTEST_ID = 4
#: Exit code of all commands after Ctrl-C.
_INTERRUPTED = 130

_store = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder or file of the store; left out, HOKUSAI_FEEDBACK_DIR, else the folder of the user.",
)
_signature = click.option(
    "--signature", shell_complete=complete_signature, help="Only executions of this signature: pack/Name, or Name."
)
_source = click.option("--source", help="Source of the feedback; left out, the name of the user.")


@click.group()
def feedback() -> None:
    """Show and give feedback on executions that were made with collect_feedback=True."""


@feedback.command("list")
@_store
@_signature
@click.option("--min-rating", type=click.IntRange(1, 5), help="Only with this rating or a higher one.")
@click.option("--since", help="Only feedback given at this time or later, such as 2026-05-01.")
@click.option("--unrated", is_flag=True, help="List executions without feedback instead.")
@json_option
def list_(
    store: Path | None, signature: str | None, min_rating: int | None, since: str | None, unrated: bool, as_json: bool
) -> None:
    """List feedback."""
    with FeedbackCollector(store) as collector:
        if unrated:
            waiting = list(collector.unrated(signature))
            if as_json:
                found = [{"execution_id": kept.execution_id, "signature": kept.signature} for kept in waiting]
                print_json({"unrated": found})
                return
            rows = [(kept.execution_id, kept.signature, _when(kept.started_at), "", "", "") for kept in waiting]
        else:
            given = collector.get_feedback(signature, min_rating, since)
            if as_json:
                print_json({"feedback": [item.to_dict() for item in given]})
                return
            rows = [_row(item) for item in given]
    head = ("execution", "signature", "when", "rating", "source", "corrected")
    if rows:
        print_table(head, rows)
    else:
        click.echo("no execution is unrated" if unrated else "no such feedback; --unrated shows executions without any")


@feedback.command()
@click.argument("execution_id")
@_store
@json_option
def show(execution_id: str, store: Path | None, as_json: bool) -> None:
    """Show an execution and all feedback on it. The beginning of an id will do."""
    with FeedbackCollector(store) as collector:
        kept = collector.execution(_whole_id(collector, execution_id))
    if as_json:
        print_json(jsonable(asdict(kept)))
        return
    _print_execution(kept)
    for given in kept.feedback:
        click.echo(f"\n{_when(given.given_at)}  {printable(given.source)}  rating {given.rating}")
        if given.comment:
            click.echo(f"  {printable(given.comment)}")
        if given.corrections:
            click.echo(f"corrections\n{shown(given.corrections)}")
    for outcome in kept.outcomes:
        better = "higher" if outcome.higher_is_better else "lower"
        click.echo(f"\n{_when(outcome.recorded_at)}  {printable(outcome.source)}  {outcome.name} {outcome.value:g}")
        click.echo(f"  {better} is better")


@feedback.command()
@click.argument("execution_id")
@click.argument("rating", type=int)
@click.option("-c", "--correct", "pairs", multiple=True, metavar="FIELD=VALUE", help="What an output should have been.")
@click.option("--comment", help="Free text.")
@_source
@_store
@track_option
@json_option
def add(
    execution_id: str,
    rating: int,
    pairs: tuple[str, ...],
    comment: str | None,
    source: str | None,
    store: Path | None,
    track: bool,
    as_json: bool,
) -> None:
    """Rate an execution from 1 (bad) to 5 (good). The beginning of an id will do."""
    corrections = dict(map(_correction, pairs))
    with make_executor(track=track), FeedbackCollector(store) as collector:
        execution_id = _whole_id(collector, execution_id)
        collector.add_feedback(execution_id, rating, corrections or None, comment, source or _user())
    _say(f"rated {execution_id} {rating}", {"execution_id": execution_id, "rating": rating}, as_json=as_json)


@feedback.command()
@click.argument("execution_id")
@click.argument("values", nargs=-1, required=True, metavar="NAME=NUMBER...")
@click.option("--lower-is-better", is_flag=True, help="Lower numbers are better, such as minutes.")
@_source
@_store
@track_option
@json_option
def outcome(
    execution_id: str,
    values: tuple[str, ...],
    lower_is_better: bool,
    source: str | None,
    store: Path | None,
    track: bool,
    as_json: bool,
) -> None:
    """Record what came of an execution as numbers of your own.

    Higher numbers are better, unless you say otherwise or earlier outcomes of the name do.

    \b
    hokusai feedback outcome 2f6c... reply_rate=0.4
    hokusai feedback outcome 2f6c... minutes=12 --lower-is-better
    """
    numbers = dict(map(_number, values))
    with make_executor(track=track), FeedbackCollector(store) as collector:
        execution_id = _whole_id(collector, execution_id)
        for name, value in numbers.items():
            better = False if lower_is_better else None
            collector.record_outcome(execution_id, name, value, higher_is_better=better, source=source or _user())
    record = {"execution_id": execution_id, "outcomes": numbers}
    _say(f"recorded {', '.join(numbers)} of {execution_id}", record, as_json=as_json)


@feedback.command()
@_store
@_signature
@click.option("--since", help="Only executions that were started at this time or later, such as 2026-05-01.")
@json_option
def outcomes(store: Path | None, signature: str | None, since: str | None, as_json: bool) -> None:
    """Show the mean of each outcome for each version of a signature, with its 95% interval."""
    from hokusai_teleprompt.feedback.outcome_summary import summarize_outcomes

    with FeedbackCollector(store) as collector:
        found = summarize_outcomes(collector.executions(signature, since))
    if as_json:
        print_json({"outcomes": [asdict(item) for item in found]})
    elif found:
        head = ("signature", "version", "fingerprint", "outcome", "better", "executions", "mean", "95% interval")
        print_table(head, [item.row() for item in found])
    else:
        click.echo("no outcome is recorded; hokusai feedback outcome EXECUTION_ID NAME=NUMBER records one")


@feedback.command()
@_store
@_signature
@_source
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw.")
@track_option
def review(store: Path | None, signature: str | None, source: str | None, seed: int, track: bool) -> None:
    """Review executions without feedback one by one, in random order: rate them and correct their outputs.

    Rate right answers as well as wrong ones: an optimization then knows how often the signature is right.
    """
    rated, end = 0, None
    with make_executor(track=track), FeedbackCollector(store) as collector:
        waiting = list(collector.unrated(signature))
        random.Random(seed).shuffle(waiting)  # noqa: S311  # a fair choice, not a secret
        if waiting:
            click.echo(f"drawn at random (seed {seed}) from {len(waiting)} executions without feedback")
        try:
            for number, kept in enumerate(waiting, 1):
                click.echo(f"\n[{number} of {len(waiting)}]")
                _print_execution(kept)
                rated += _review_one(collector, kept, source or _user())
        except _Enough:
            pass
        except click.Abort as abort:  # raised by click for Ctrl-C and for the end of input
            click.echo()
            end = None if isinstance(abort.__context__, EOFError) else click.exceptions.Exit(_INTERRUPTED)
    click.echo(f"{rated} rated, {len(waiting) - rated} left")
    if end is not None:
        raise end


class _Enough(Exception):
    """The reviewer ends the review."""


def _review_one(collector: FeedbackCollector, kept: KeptExecution, source: str | None) -> int:
    """Ask for feedback on an execution and store it; return 1 if it was rated, else 0."""
    answer = click.prompt("rating 1-5, s to skip, q to quit", type=click.Choice([*"12345sq"]), show_choices=False)
    if answer == "q":
        raise _Enough
    if answer == "s":
        return 0
    while True:
        corrections = _ask_corrections(kept) if answer != "5" else {}
        comment = click.prompt("comment (empty for none)", default="", show_default=False)
        try:
            collector.add_feedback(kept.execution_id, int(answer), corrections, comment or None, source, drawn=True)
        except FeedbackError as error:
            if not corrections:
                raise
            click.echo(f"{error}\ncorrect it again", err=True)
        else:
            return 1


@feedback.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@_store
@_signature
@json_option
def export(path: Path, store: Path | None, signature: str | None, as_json: bool) -> None:
    """Write feedback to PATH as JSON lines."""
    with FeedbackCollector(store) as collector:
        count = collector.export(path, signature)
    _say(f"{count} feedbacks written to {path}", {"file": str(path), "feedback": count}, as_json=as_json)


@feedback.command()
@click.argument("execution_id")
@_store
@json_option
def delete(execution_id: str, store: Path | None, as_json: bool) -> None:
    """Remove an execution and all feedback on it. The beginning of an id will do."""
    with FeedbackCollector(store) as collector:
        execution_id = _whole_id(collector, execution_id)
        if not collector.delete(execution_id):
            raise click.ClickException(f"no execution {execution_id!r} is kept")
    _say(f"removed {execution_id}", {"removed": execution_id}, as_json=as_json)


def _whole_id(collector: FeedbackCollector, start: str) -> str:
    """Return the id of the execution whose id begins like this.

    Raises:
        CommandFailure: none begins like this, or several do.
    """
    try:
        return collector.execution(start).execution_id
    except ExecutionNotFoundError as error:
        long_enough = len(start) >= _SHORTEST_ID
        kept = collector.executions() if long_enough else ()
        found = sorted({one.execution_id for one in kept if one.execution_id.startswith(start)})
        if not found:
            raise CommandFailure(str(error)) from error
    if len(found) > 1:
        some = ", ".join(found[:4])
        raise CommandFailure(f"{start!r} is the beginning of {len(found)} ids, such as {some}; give more of it")
    return found[0]


def _say(text: str, record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        click.echo(text)


def _ask_corrections(kept: KeptExecution) -> dict[str, Any]:
    corrections: dict[str, Any] = {}
    for name, value in kept.outputs.items():
        answer = click.prompt(f"{name} should be (empty to keep, e for an editor)", default="", show_default=False)
        if answer == "e":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
            edited = click.edit(text)
            answer = "" if edited is None or edited.strip() == text.strip() else edited.strip()
        if answer:
            corrections[name] = _value(answer, like=value)
    return corrections


def _value(text: str, like: Any) -> Any:
    """Return the typed text, read as JSON if the field is not a text."""
    if isinstance(like, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _correction(pair: str) -> tuple[str, Any]:
    name, separator, value = pair.partition("=")
    if not separator or not name.strip():
        raise click.BadParameter(f"{pair!r}: write FIELD=VALUE, or FIELD:=JSON", param_hint="-c")
    if not name.endswith(":"):
        return name.strip(), value
    try:
        return name[:-1].strip(), json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{pair!r}: is not JSON: {error}", param_hint="-c") from error


def _number(pair: str) -> tuple[str, float]:
    name, _, value = pair.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise click.BadParameter(f"{pair!r}: write NAME=NUMBER", param_hint="NAME=NUMBER") from None


def _print_execution(kept: KeptExecution) -> None:
    click.echo(
        f"{kept.execution_id}  {kept.signature} {kept.signature_version}  {_when(kept.started_at)}  {kept.model}"
    )
    click.echo(f"inputs\n{shown(kept.inputs)}\noutputs\n{shown(kept.outputs)}")


def _row(item: Feedback) -> tuple[str, str, str, str, str, str]:
    return (
        item.execution_id,
        item.signature,
        _when(item.given_at),
        str(item.rating),
        printable(item.source),
        ", ".join(item.corrections),
    )


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return None
