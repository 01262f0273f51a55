"""Errors with which a command ends."""

from __future__ import annotations

from typing import IO, Any

import click

__all__ = ["CommandFailure", "CommandMisuse"]


class CommandFailure(click.ClickException):
    """The command cannot go on (exit code 1); the message says what failed and what to do next."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on stderr."""
        click.echo(f"hokusai: {self.message}", file=file, err=file is None)


class CommandMisuse(CommandFailure):
    """The command is written wrongly (exit code 2)."""

    exit_code = 2
