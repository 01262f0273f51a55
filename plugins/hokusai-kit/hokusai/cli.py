"""The command ``hokusai``."""

from __future__ import annotations

import os
import sys
import threading

import click

from hokusai import __version__
from hokusai.cli_errors import INTERRUPTED, warnings_as_lines
from hokusai.group import CommandGroup

__all__ = ["cli", "run"]


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hokusai")
def cli() -> None:
    """Run language-model programs by name, and see what is installed.

    Settings are read from environment variables; hokusai doctor shows them. Exit codes: 0 done, 1 failed, 2 the command
    is written wrongly, 3 some rows failed, 4 a gate is not passed, 130 interrupted. HOKUSAI_DEBUG=1 shows tracebacks.
    """


def run() -> None:
    """Run the command with the arguments of this process, and end the process."""
    if "_HOKUSAI_COMPLETE" in os.environ:
        _register_shells()
    try:
        with warnings_as_lines():
            cli.main(prog_name="hokusai")
    except SystemExit as end:
        # Executors are closed by now. A thread that is still inside native code, such as a language model's after a
        # timeout or Ctrl-C, must not be torn down with the interpreter: that aborts the process.
        if isinstance(end.code, int) and (end.code == INTERRUPTED or _abandoned_calls()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise


def _register_shells() -> None:
    from click.shell_completion import add_completion_class

    from hokusai.shell_completion import SHELLS

    for name, cls in SHELLS.items():
        add_completion_class(cls, name)


def _abandoned_calls() -> bool:
    return any(thread.daemon and thread.name.startswith("hokusai-") for thread in threading.enumerate())
