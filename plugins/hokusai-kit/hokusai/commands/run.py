"""``hokusai run``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import input_option
from hokusai_core.cli_support.progress import spinner
from hokusai_core.cli_support.tables import is_terminal, print_json, print_styled
from hokusai_core.plugin_api import jsonable

if TYPE_CHECKING:
    from hokusai_core import ExecutionResult

__all__ = ["run"]


@click.command()
@click.argument("name")
@input_option
@click.option("--json", "source", metavar="FILE", help="Read inputs from a file with a JSON object; - for stdin.")
@execution_flags("lm", "strategy", "parameters", "timeout", "max_retries", "prices", "cache", "collect_feedback")
@click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the answer."
)
@click.option("--track", is_flag=True, help="Record the execution in MLflow. HOKUSAI_TRACKERS=mlflow does so for all.")
def run(
    name: str,
    inputs: tuple[str, ...],
    source: str | None,
    output: str,
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
    given = gather_inputs(inputs, source)
    from hokusai.command_executor import make_executor, signature_called  # help does without

    signature = signature_called(name)
    with make_executor(options, track=track) as executor:
        sensitive = bool(executor.signature(signature).spec.sensitive)  # extras may quote sensitive values
        executor.check_inputs(signature, given)  # what is wrong with them shows before anything is loaded
        with spinner(f"running {name}"):
            result = executor.execute_signature(signature, given, **options)
    if output == "json":
        print_json(_record(result, {} if sensitive else result.extras))
    else:
        _print(result)


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
