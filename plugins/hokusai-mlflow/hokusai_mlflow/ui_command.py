"""The command line that shows a store in MLflow's user interface, also without a network."""

from __future__ import annotations

import importlib.metadata
import shlex
from typing import Final

from hokusai_core.plugin_api import install_command

__all__ = ["missing_ui", "ui_command"]

#: Without them MLflow's server fetches a list of prices, and reports its use; without a network it tries for long.
_OFFLINE: Final = (
    "LITELLM_LOCAL_MODEL_COST_MAP=True MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
)


def ui_command(uri: str, program: str = "mlflow") -> str:
    """Return what to type to look at a store.

    Args:
        uri: address of the store.
        program: path of MLflow's command.
    """
    return f"{_OFFLINE} {shlex.quote(program)} ui --workers 1 --backend-store-uri {shlex.quote(uri)}"


def missing_ui() -> str:
    """Return what to install first; "" where the user interface is there."""
    try:
        importlib.metadata.distribution("mlflow")
    except importlib.metadata.PackageNotFoundError:
        return f" (after {install_command('hokusai-mlflow[full]')})"
    return ""
