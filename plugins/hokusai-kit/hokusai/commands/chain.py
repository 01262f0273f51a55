"""``hokusai chain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import input_option
from hokusai_core.cli_support.progress import spinner
from hokusai_core.cli_support.tables import print_json, print_styled, print_table
from hokusai_core.plugin_api import jsonable

if TYPE_CHECKING:
    from hokusai_core import SignatureChain

__all__ = ["chain"]


@click.group()
def chain() -> None:
    """Show and run chains of signatures, which are TOML or YAML files."""


@chain.command()
@click.argument("file")
@click.option("--mermaid", is_flag=True, help="Print the Mermaid flowchart alone.")
def show(file: str, mermaid: bool) -> None:
    """Draw the chain in FILE and check it against the signatures that are installed."""
    from hokusai_core import Executor
    from hokusai_core.errors import CompositionError

    found = _read(file)
    if mermaid:
        click.echo(found.to_mermaid(), nl=False)
        return
    print_table(("step", "signature", "inputs"), [_row(found, name) for name in found.steps])
    click.echo()
    click.echo(found.to_mermaid(), nl=False)
    with Executor(trackers=[], cache=None) as executor:
        try:
            found.check(executor)
        except CompositionError as error:
            raise CommandFailure(str(error)) from error
    print_styled("\nThe chain fits together.", "dim", err=True)


@chain.command()
@click.argument("file")
@input_option
@click.option(
    "--json", "source", metavar="FILE", help="Read initial inputs from a file with a JSON object; - for stdin."
)
@execution_flags(
    "lm", "strategy", "parameters", "timeout", "max_retries", "prices", "max_cost", "budget_file", "unpriced"
)
@click.option("--steps", is_flag=True, help="Print the outputs of every step; if one fails, of those that are over.")
@click.option("--track", is_flag=True, help="Record the executions in MLflow.")
def run(
    file: str,
    inputs: tuple[str, ...],
    source: str | None,
    steps: bool,
    track: bool,
    options: dict[str, Any],
) -> None:
    """Run the chain in FILE and print its outputs as JSON. A timeout bounds each step."""
    from hokusai.command_executor import make_executor
    from hokusai_core import SignatureSpec
    from hokusai_core.errors import HokusaiError

    found = _read(file)
    with make_executor(options, track=track) as executor:
        media = SignatureSpec(found.name, "", found.initial_fields(executor)).media_inputs
        given = gather_inputs(inputs, source, media)
        for name in given.keys() - set(found.inputs or ()):
            declared = ", ".join(found.inputs or ()) or "none"
            raise CommandMisuse(f"{file} has no input {name!r}; its inputs are {declared}")
        try:
            with spinner(f"running {found.name}"):
                result = executor.execute_chain(found, given, **options)
        except HokusaiError as error:
            if steps:
                print_json(_of_steps(error.steps))
            raise
    print_json(_of_steps(result.steps) if steps else _plain(result))


def _read(file: str) -> SignatureChain:
    from hokusai_core import SignatureChain

    if file == "-":
        raise CommandMisuse("a chain is not read from stdin: give the name of a .toml or .yaml file")
    return SignatureChain.from_file(file)


def _of_steps(results: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(outputs) for name, outputs in results.items()}


def _plain(outputs: Any) -> dict[str, Any]:
    return {name: jsonable(value) for name, value in outputs.items()}


def _shown(target: Any) -> str:
    """Return what a step runs, as a table shows it."""
    from hokusai_core import ConditionalPipeline

    if isinstance(target, ConditionalPipeline):
        return f"branches: {' | '.join(branch.name for branch in target.branches)}"
    return target if isinstance(target, str) else f"chain: {target.name}"


def _row(found: SignatureChain, name: str) -> tuple[str, ...]:
    step = found.steps[name]
    target = _shown(step.target)
    target += f" by {step.strategy}" if step.strategy is not None else ""
    return name, target, ", ".join(step.mapping) if step.mapping is not None else "initial inputs of the same name"
