"""``hokusai tracking``: show what waits for delivery to MLflow, deliver it, and look at it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json
from hokusai_mlflow.destination import absolute_uri, default_uri, public_uri
from hokusai_mlflow.options import spool_folder
from hokusai_mlflow.spool_status import read_status, something_waits, spool_status, writer_is_running
from hokusai_mlflow.ui_command import missing_ui, run_ui
from hokusai_mlflow.writer import Writer, locked, prepare_environment

__all__ = ["tracking"]

_POLL = 0.2

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Spool folder; left out, HOKUSAI_SPOOL_DIR, else the one in the user's data.",
)


@click.group()
def tracking() -> None:
    """Show what waits for delivery to MLflow, deliver it, and look at it."""


@tracking.command()
@_folder
@json_option
def status(folder: Path | None, as_json: bool) -> None:
    """Show the backlog, the last error, how far delivery is behind, and how to look at what was delivered."""
    figures = _figures(folder or spool_folder())
    if as_json:
        print_json(figures)
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_plain(name, value)}")


@tracking.command()
@_folder
@json_option
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to try for; left out, as long as it takes.")
def flush(folder: Path | None, as_json: bool, timeout: float | None) -> None:
    """Deliver everything that waits, also what crashed processes left behind. Exit code 1 where that failed."""
    where = folder or spool_folder()
    delivered = _flush(where, timeout)
    figures = _figures(where)
    if as_json:
        print_json({"delivered_all": delivered, **figures})
    elif delivered:
        click.echo("Everything is delivered.")
    else:
        error = figures["last_error"]
        reason = f": {error['error']} ({error['uri']})" if error else ""
        click.echo(f"{figures['backlog']} executions wait{reason}. They are kept in {where}.", err=True)
    if not delivered:
        raise SystemExit(1)


@tracking.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on this machine.")
def ui(port: int) -> None:
    """Show what was recorded in MLflow's user interface, also without a network. Ctrl-C ends it."""
    uri = _store()
    if uri.startswith("http"):
        click.echo(public_uri(uri))
        return
    if missing := missing_ui():
        raise CommandFailure(f"MLflow's user interface is not installed{missing}")
    click.echo(f"hokusai: in a moment at http://127.0.0.1:{port}, from {public_uri(uri)}", err=True)
    run_ui(uri, port)


def _flush(folder: Path, timeout: float | None) -> bool:
    if not folder.exists():
        return True
    prepare_environment(timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        with locked(folder) as held:
            if held:
                return Writer(folder, {}).drain(None if end is None else max(0.0, end - time.monotonic()))
        # A writer is at work already.
        if not something_waits(folder):
            return True
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(_POLL)


def _figures(folder: Path) -> dict[str, Any]:
    running = folder.exists() and writer_is_running(folder)
    status = spool_status(folder, read_status(folder) if folder.exists() else {})
    return {**status, "writer_running": running, "look_at_it": _look()}


def _store() -> str:
    return absolute_uri(os.environ.get("MLFLOW_TRACKING_URI") or default_uri())


def _look() -> str:
    """Return the address of the tracking server, or the command that shows the local store."""
    uri = _store()
    return public_uri(uri) if uri.startswith("http") else f"hokusai tracking ui{missing_ui()}"


def _plain(name: str, value: Any) -> str:
    if name == "last_error":
        if not value:
            return "none"
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value["at"]))
        return f"{value['error']} ({value['uri']}, {at})"
    if name == "notes":
        return "; ".join(value) or "none"
    if name == "lag":
        return f"{value:.1f} s"
    return os.fspath(value) if isinstance(value, Path) else str(value)
