"""``hokusai run``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.failures import CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import input_option, inputs_option, json_option, signature_argument
from hokusai_core.cli_support.progress import spinner
from hokusai_core.cli_support.tables import is_terminal, print_json, print_styled
from hokusai_core.cli_support.word_writer import print_wrapped
from hokusai_core.plugin_api import jsonable

if TYPE_CHECKING:
    from hokusai_core import ExecutionResult, Executor

__all__ = ["print_outputs", "result_record", "run"]


@click.command()
@signature_argument
@input_option
@inputs_option
@execution_flags(
    "lm",
    "strategy",
    "parameters",
    "timeout",
    "max_retries",
    "prices",
    "max_cost",
    "budget_file",
    "unpriced",
    "cache",
    "collect_feedback",
)
@click.option(
    "--stream/--no-stream",
    "stream",
    default=None,
    help="Print texts as they come in. The default on a terminal, if all outputs are texts.",
)
@click.option("--track", is_flag=True, help="Record the execution in MLflow. HOKUSAI_TRACKERS=mlflow does so for all.")
@json_option
def run(
    name: str,
    inputs: tuple[str, ...],
    source: str | None,
    stream: bool | None,
    track: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Run signature NAME once and print its outputs.

    NAME is a signature's name, a .json file that holds a signature, FILE.py:Class, MODULE:Class, or the signature
    itself: "question -> answer".

    \b
    hokusai run SummarizeText -i document=@report.txt -i max_length="2 sentences"
    hokusai run ClassifyText -i text=@mail.txt -i categories="Praise, Complaint"
    hokusai run ResolveQuery -i query=@mail.txt --strategy chain_of_thought
    hokusai run "question -> answer: float" -i question="What is 6 times 7?"
    hokusai run signatures.py:RouteTicket --inputs ticket.json --json
    """
    if stream and as_json:
        raise CommandMisuse("--stream prints texts as they come in, which --json cannot; leave one of them out")
    from hokusai.command_executor import make_executor  # help does without
    from hokusai_core.cli_support.signature_argument import signature_called

    with make_executor(options, track=track, daily=True) as executor:
        signature = signature_called(executor, name)
        spec = executor.signature(signature).spec
        sensitive = bool(spec.sensitive)  # extras may quote sensitive values
        given = gather_inputs(inputs, source, spec.media_inputs)
        executor.check_inputs(signature, given)  # what is wrong with them shows before anything is loaded
        if stream is None:
            texts = all(item.annotation is str for item in spec.outputs.values())
            stream = texts and not as_json and is_terminal(sys.stdout)
        if stream:
            _summarize(_streamed(executor, signature, given, options, several=len(spec.outputs) > 1))
            return
        with spinner(f"running {name}"):
            result = executor.execute_signature(signature, given, **options)
    if as_json:
        print_json(result_record(result, {} if sensitive else result.extras))
    else:
        print_outputs(result)
        _summarize(result)


def _streamed(
    executor: Executor, signature: Any, given: Mapping[str, Any], options: dict[str, Any], *, several: bool
) -> ExecutionResult:
    from hokusai.stream_printer import StreamPrinter

    with ExitStack() as waiting, executor.stream_signature(signature, given, **options) as events:
        waiting.enter_context(spinner("waiting for the answer"))
        return StreamPrinter(waiting.close, several=several, show=_text).print(events)


def result_record(result: ExecutionResult, extras: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result for scripts; the caller knows the inputs, so they are left out."""
    record = {**result.to_dict(sensitive=True), "extras": dict(extras)}
    del record["inputs"]
    return record


def print_outputs(outputs: Mapping[str, Any]) -> None:
    """Print outputs, with their names if there are several; on a terminal, lines break between words."""
    for number, (name, value) in enumerate(outputs.items()):
        if len(outputs) > 1:
            if number:
                click.echo()
            print_styled(f"{name}:", "bold")
        print_wrapped(_text(value))


def _summarize(result: ExecutionResult) -> None:
    if is_terminal(sys.stderr):
        print_styled(f"\n{summary(result)}", "dim", err=True)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(f"- {item}" for item in value)
    plain = jsonable(value)
    return plain if isinstance(plain, str) else json.dumps(plain, indent=2, ensure_ascii=False)


def summary(result: ExecutionResult) -> str:
    """Return model, time and tokens in a line."""
    parts = [result.model or "no language model", f"{result.latency:.1f} s"]
    if result.cached:
        parts.append(f"from the {result.cached} cache")
    else:
        parts.append(f"{result.usage.input_tokens} + {result.usage.output_tokens} tokens")
    parts += [f"${result.cost:.4f}"] if result.cost else []
    return "  ".join([*parts, result.execution_id])
