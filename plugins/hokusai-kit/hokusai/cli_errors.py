"""Errors of the command: an exit code and a clear line on stderr instead of a traceback."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.errors import HokusaiError, InputError

__all__ = ["INTERRUPTED", "clear_failures", "debugging", "warnings_as_lines"]

#: What shells report of a process that Ctrl-C, or a reader that has gone, has ended.
INTERRUPTED, _PIPE_CLOSED = 130, 141
_LONGEST = 2000


class _Interrupted(CommandFailure):
    exit_code = INTERRUPTED


def debugging() -> bool:
    """Return whether ``HOKUSAI_DEBUG`` asks for tracebacks."""
    return os.environ.get("HOKUSAI_DEBUG", "").strip().lower() not in ("", "0", "false", "no")


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn every error into a ``CommandFailure``; with ``HOKUSAI_DEBUG`` they are left as they are."""
    try:
        yield
        if sys.stdout is None:  # of a process that was started without one
            raise CommandFailure("stdout is closed, so the answer cannot be printed; give the command a stdout")
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError:
        raise
    except KeyboardInterrupt:
        raise _Interrupted("interrupted") from None
    except BrokenPipeError:
        _discard_stdout()
        raise click.exceptions.Exit(_PIPE_CLOSED) from None
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "hokusai"
        from hokusai.usage_advice import usage_advice  # what is written well does without

        message = error.format_message().rstrip(".")
        raise CommandMisuse(f"{message}{usage_advice(error)} (see {where} --help)") from error
    except (CommandFailure, click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:  # of a plugin's command, which would show it as "Error: ..."
        click.echo(f"hokusai: {_printable(error.format_message())}", err=True)
        raise click.exceptions.Exit(error.exit_code) from error
    except Exception as error:
        if debugging():
            raise
        raise CommandFailure(describe(error)) from error


def describe(error: BaseException) -> str:
    """Return what an error says: the problems of inputs on a line each, everything else on one."""
    if isinstance(error, InputError):
        return str(error).strip()
    if isinstance(error, BaseExceptionGroup):
        return "\n".join([_one_line(error.message), *(f"  {describe(inner)}" for inner in error.exceptions)])
    if isinstance(error, HokusaiError):
        return _one_line(str(error))
    if isinstance(error, OSError) and error.strerror:
        from hokusai_core.plugin_api import describe_os_error  # help does without

        return _one_line(describe_os_error(error))
    notes = getattr(error, "__notes__", ())  # a plugin that refused is named by one
    if notes:
        return f"{type(error).__name__}: {_one_line(str(error))} ({'; '.join(map(_one_line, notes))})"
    return f"unexpected {type(error).__name__}: {_one_line(str(error))} (HOKUSAI_DEBUG=1 shows where)"


def _printable(text: str) -> str:
    from hokusai_core.cli_support.tables import printable  # help does without

    return printable(text)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, so that the end of the process does not fail on it again."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a test's stand-in
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings as a line on stderr each; where in the code they arose says nothing to a command's user."""

    def show(message: Warning | str, *_where: Any, **_more: Any) -> None:
        click.echo(f"hokusai: warning: {_printable(_one_line(str(message)))}", err=True)

    with warnings.catch_warnings():
        if not debugging():
            warnings.showwarning = show
        yield
