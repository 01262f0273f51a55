"""The executor of commands that execute signatures."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from hokusai.executor import DSPyPipelineExecutor
from hokusai_core import Settings
from hokusai_core.cli_support.notes import note_once

__all__ = ["TIMEOUT", "make_executor"]

#: Seconds. An embedded model on a small machine may take minutes over a long text.
TIMEOUT = 300
_MLFLOW = "mlflow"
#: Says for every executor which run of MLflow it records in.
_RUN = "HOKUSAI_TRACKING_RUN"
_EXIT_TIMEOUT = "HOKUSAI_TRACKING_EXIT_TIMEOUT"
#: Options that all executions of a command share.
_OF_EXECUTOR = ("lm", "timeout", "prices", "max_cost", "budget_file", "unpriced")


def make_executor(
    options: dict[str, Any],
    *,
    track: bool,
    daily: bool = False,
    max_workers: int | None = None,
    adapter: str | None = None,
) -> DSPyPipelineExecutor:
    """Return the executor of a command: it records nothing unless that is asked for, here or by a setting.

    Args:
        options: options of the executions. Those that bound or choose for each of them alike, the language model,
            the timeout, the prices and the budget, are taken out of it and given to the executor.
        track: whether to record in MLflow.
        daily: whether what is recorded in MLflow goes to the run of the day, where no setting says otherwise.
        max_workers: rows that run at the same time.
        adapter: format of the prompts; None for the executor's choice.
    """
    settings: dict[str, Any] = {name: options.pop(name) for name in _OF_EXECUTOR if name in options}
    given = Settings.from_environment()
    if given["timeout"].source == "default":
        settings.setdefault("timeout", TIMEOUT)
    if max_workers is not None:
        settings["max_workers"] = max_workers
    if adapter is not None:
        settings["adapter"] = adapter
    if track:
        settings["mlflow_tracking"] = True
    elif given["trackers"].source == "default":
        settings["mlflow_tracking"] = False
    if daily and (trackers := _with_daily_run(given.value("trackers"), track=track)):
        settings["trackers"] = trackers
    executor = DSPyPipelineExecutor(**settings)
    note_once(executor)
    return executor


def _with_daily_run(chosen: Any, *, track: bool) -> dict[str, Any] | None:
    """Return the trackers with MLflow recording in the run of the day; None where there is nothing to say to it."""
    trackers = dict(chosen) if isinstance(chosen, Mapping) else {name: {} for name in chosen}
    if track:
        trackers.setdefault(_MLFLOW, {})
    one = trackers.get(_MLFLOW)
    options = one if isinstance(one, dict) else getattr(one, "options", None)
    if options is None or "run" in options or _RUN in os.environ or find_spec("hokusai_mlflow") is None:
        return None
    if sys.stderr.isatty() and _EXIT_TIMEOUT not in os.environ:
        options = {"exit_timeout": 0, **options}  # a terminal outlives the command: delivery goes on by itself
    return {**trackers, _MLFLOW: {"run": "day", **options}}
