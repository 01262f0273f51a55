"""How ``hokusai evaluate`` and ``hokusai replay`` tell of gates, and end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hokusai_core.cli_support.failures import CommandFailure

if TYPE_CHECKING:
    from hokusai_evaluate.evaluation_figures import GateResult

__all__ = [
    "check_writable",
    "end_interrupted",
    "end_with",
    "junit_option",
    "max_regression_option",
    "min_option",
    "undecided_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: Exit codes: some rows could not be asked or scored; a gate was not passed; the user has interrupted it.
_INCOMPLETE: Final = 3
_GATE: Final = 4
_INTERRUPTED: Final = 130

min_option = click.option(
    "--min", "min_score", type=float, metavar="SCORE", help="Score that must be reached. Exit code 4 if not."
)
undecided_option = click.option(
    "--undecided",
    type=click.Choice(["pass", "fail"]),
    default="pass",
    show_default=True,
    help="What counts if the rows do not show whether it is worse by more than --max-regression.",
)
junit_option = click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the gates as JUnit XML."
)


def max_regression_option(other: str) -> Callable[[_Command], _Command]:
    """Return the option of the gate of a comparison.

    Args:
        other: how help calls what it is compared with.
    """
    return click.option(
        "--max-regression",
        type=click.FloatRange(min=0),
        metavar="LOSS",
        help=f"How much worse than {other} it may be. Exit code 4 if it is shown to be worse.",
    )


def check_writable(*targets: Path | None) -> None:
    """Refuse files that cannot be written, before anything is paid for.

    Raises:
        CommandFailure: the folder of one is missing or may not be written to.
    """
    for target in targets:
        if target is not None and not os.access(target.absolute().parent, os.W_OK | os.X_OK):
            missing = not target.absolute().parent.is_dir()
            raise CommandFailure(f"{target}: its folder {'does not exist' if missing else 'may not be written to'}")


def end_interrupted(*, journal: bool) -> click.exceptions.Exit:
    """Tell how to go on after Ctrl-C, and return the end of the command.

    Args:
        journal: whether the answers are in a journal.
    """
    hint = "run the same command again to go on" if journal else "without --journal nothing is kept for another run"
    click.echo(f"hokusai: interrupted; {hint}", err=True)
    return click.exceptions.Exit(_INTERRUPTED)


def end_with(gates: Sequence[GateResult]) -> None:
    """Tell of the gates that are undecided or not passed, and end with the exit code that says so.

    Raises:
        click.exceptions.Exit: one is not passed.
    """
    failed = [gate for gate in gates if not gate.passed]
    for gate in gates:
        if gate.passed and not gate.decided:
            click.echo(f"hokusai: {gate.label}: {gate.name} passed, undecided: {gate.message}", err=True)
    for gate in failed:
        click.echo(f"hokusai: {gate.label}: {gate.name} not passed: {gate.message}", err=True)
    if failed:
        raise click.exceptions.Exit(_GATE if any(gate.name != "complete" for gate in failed) else _INCOMPLETE)
