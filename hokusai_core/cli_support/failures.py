"""Errors with which a command ends."""

from __future__ import annotations

from typing import IO, Any

import click

from hokusai_core.cli_support.tables import printable

__all__ = ["CommandFailure", "CommandMisuse"]


class CommandFailure(click.ClickException):
    """The command cannot go on (exit code 1); the message says what failed and what to do next."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on stderr; it may quote what a model or a file says, so without control characters."""
        click.echo(f"hokusai: {printable(self.message)}", file=file, err=file is None)


class CommandMisuse(CommandFailure):
    """The command is written wrongly (exit code 2)."""

    exit_code = 2
