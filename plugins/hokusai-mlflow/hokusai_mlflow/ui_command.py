"""The command line that shows a store in MLflow's user interface, also without a network."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import sys
from importlib.util import find_spec
from typing import Final

from hokusai_core.plugin_api import install_command

__all__ = ["missing_ui", "run_ui", "short_ui_command", "ui_command"]

#: Without them MLflow's server fetches a list of prices, and reports its use; without a network it tries for long.
_OFFLINE: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def ui_command(uri: str, program: str = "mlflow") -> str:
    """Return what to type to look at a store.

    Args:
        uri: address of the store.
        program: path of MLflow's command.
    """
    variables = " ".join(f"{name}={value}" for name, value in _OFFLINE.items())
    return f"{variables} {shlex.join([program, *_arguments(uri)])}"


def short_ui_command(uri: str) -> str:
    """Return what to type to look at the store that the environment or the default names, as short as can be.

    A terminal breaks long lines, and a line that is copied in two parts means something else.

    Args:
        uri: address of that store.
    """
    return "hokusai tracking ui" if find_spec("hokusai") is not None else ui_command(uri)


def run_ui(uri: str, port: int) -> None:
    """Become the process of MLflow's user interface.

    Args:
        uri: address of the store.
        port: port on this machine.
    """
    command = [sys.executable, "-m", "mlflow", *_arguments(uri), "--port", str(port)]
    os.execvpe(command[0], command, {**_OFFLINE, **os.environ})  # noqa: S606  # our own interpreter


def _arguments(uri: str) -> list[str]:
    return ["ui", "--workers", "1", "--backend-store-uri", uri]


def missing_ui() -> str:
    """Return what to install first; "" where the user interface is there."""
    try:
        importlib.metadata.distribution("mlflow")
    except importlib.metadata.PackageNotFoundError:
        return f" (after {install_command('hokusai-mlflow[full]')})"
    return ""
