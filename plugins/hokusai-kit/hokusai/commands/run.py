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
from hokusai_core.cli_support.options import input_option
from hokusai_core.cli_support.progress import spinner
from hokusai_core.cli_support.tables import is_terminal, print_json, print_styled
from hokusai_core.plugin_api import jsonable

if TYPE_CHECKING:
    from hokusai_core import ExecutionResult, Executor

__all__ = ["run"]


@click.command()
@click.argument("name")
@input_option
@click.option("--json", "source", metavar="FILE", help="Read inputs from a file with a JSON object; - for stdin.")
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
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the answer."
)
@click.option(
    "--stream/--no-stream",
    "stream",
    default=None,
    help="Print texts as they come in. The default on a terminal, if all outputs are texts.",
)
@click.option("--track", is_flag=True, help="Record the execution in MLflow. HOKUSAI_TRACKERS=mlflow does so for all.")
def run(
    name: str,
    inputs: tuple[str, ...],
    source: str | None,
    output: str,
    stream: bool | None,
    track: bool,
    options: dict[str, Any],
) -> None:
    """Run signature NAME once and print its outputs.

    NAME is a signature's name, or a .json file that holds a signature.

    \b
    hokusai run SummarizeText -i document=@report.txt -i max_length="2 sentences"
    hokusai run ClassifyText -i text=@mail.txt -i categories="Praise, Complaint"
    hokusai run ResolveQuery -i query=@mail.txt --strategy chain_of_thought
    """
    if stream and output == "json":
        raise CommandMisuse("--stream prints texts as they come in, which --output json cannot; leave one of them out")
    from hokusai.command_executor import make_executor, signature_called  # help does without

    signature = signature_called(name)
    with make_executor(options, track=track) as executor:
        spec = executor.signature(signature).spec
        sensitive = bool(spec.sensitive)  # extras may quote sensitive values
        given = gather_inputs(inputs, source, spec.media_inputs)
        executor.check_inputs(signature, given)  # what is wrong with them shows before anything is loaded
        if stream is None:
            texts = all(item.annotation is str for item in spec.outputs.values())
            stream = texts and output == "text" and is_terminal(sys.stdout)
        if stream:
            _summarize(_streamed(executor, signature, given, options, several=len(spec.outputs) > 1))
            return
        with spinner(f"running {name}"):
            result = executor.execute_signature(signature, given, **options)
    if output == "json":
        print_json(_record(result, {} if sensitive else result.extras))
    else:
        _print(result)


def _streamed(
    executor: Executor, signature: Any, given: Mapping[str, Any], options: dict[str, Any], *, several: bool
) -> ExecutionResult:
    from hokusai.stream_printer import StreamPrinter

    with ExitStack() as waiting, executor.stream_signature(signature, given, **options) as events:
        waiting.enter_context(spinner("waiting for the answer"))
        return StreamPrinter(waiting.close, several=several, show=_text).print(events)


def _record(result: ExecutionResult, extras: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "signature": result.signature,
        "signature_version": result.signature_version,
        "fingerprint": result.fingerprint,
        "execution_id": result.execution_id,
        "outputs": {name: jsonable(value) for name, value in result.items()},
        "model": result.model,
        "usage": result.usage.to_dict(),
        "cost": result.cost,
        "price_source": result.price_source or None,
        "latency": result.latency,
        "cached": result.cached,
        "attempts": len(result.attempts),
        "strategy": result.strategy or None,
        "extras": dict(extras),
    }


def _print(result: ExecutionResult) -> None:
    for number, (name, value) in enumerate(result.items()):
        if len(result) > 1:
            if number:
                click.echo()
            print_styled(f"{name}:", "bold")
        click.echo(_text(value))
    _summarize(result)


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
