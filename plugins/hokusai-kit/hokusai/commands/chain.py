"""``hokusai chain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hokusai.commands.run import print_outputs
from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.completion import complete_file
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import input_option, inputs_option, json_option
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
@click.argument("file", shell_complete=complete_file)
@click.option("--mermaid", is_flag=True, help="Print the Mermaid flowchart alone.")
@json_option
def show(file: str, mermaid: bool, as_json: bool) -> None:
    """Draw the chain in FILE and check it against the signatures that are installed."""
    from hokusai_core import Executor
    from hokusai_core.errors import CompositionError

    found = _read(file)
    if mermaid:
        click.echo(found.to_mermaid(), nl=False)
        return
    rows = [_row(found, name) for name in found.steps]
    if as_json:
        steps = [dict(zip(("step", "signature", "inputs"), row, strict=True)) for row in rows]
        print_json({"name": found.name, "steps": steps, "mermaid": found.to_mermaid()})
    else:
        print_table(("step", "signature", "inputs"), rows)
        click.echo()
        click.echo(found.to_mermaid(), nl=False)
    with Executor(trackers=[], cache=None) as executor:
        try:
            found.check(executor)
        except CompositionError as error:
            raise CommandFailure(str(error)) from error
    if not as_json:
        print_styled("\nThe chain fits together.", "dim", err=True)


@chain.command()
@click.argument("file", shell_complete=complete_file)
@input_option
@inputs_option
@execution_flags(
    "lm", "strategy", "parameters", "timeout", "max_retries", "prices", "max_cost", "budget_file", "unpriced"
)
@click.option("--steps", is_flag=True, help="Print the outputs of every step; if one fails, of those that are over.")
@click.option("--track", is_flag=True, help="Record the executions in MLflow.")
@json_option
def run(
    file: str,
    inputs: tuple[str, ...],
    source: str | None,
    steps: bool,
    track: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Run the chain in FILE and print its outputs. A timeout bounds each step."""
    from hokusai.command_executor import make_executor
    from hokusai_core import SignatureSpec
    from hokusai_core.errors import HokusaiError

    found = _read(file)
    with make_executor(options, track=track, daily=True) as executor:
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
                _print_steps(error.steps, as_json=as_json)
            raise
    if as_json:
        print_json({"outputs": _plain(result), **({"steps": _of_steps(result.steps)} if steps else {})})
    elif steps:
        _print_steps(result.steps, as_json=False)
    else:
        print_outputs(result)


def _read(file: str) -> SignatureChain:
    from hokusai_core import SignatureChain

    if file == "-":
        raise CommandMisuse("a chain is not read from stdin: give the name of a .toml or .yaml file")
    return SignatureChain.from_file(file)


def _print_steps(results: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"steps": _of_steps(results)})
        return
    for number, (name, outputs) in enumerate(results.items()):
        print_styled(f"{chr(10) * (number > 0)}[{name}]", "bold")
        print_outputs(outputs)


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
