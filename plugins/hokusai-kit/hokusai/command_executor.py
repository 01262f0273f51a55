"""The executor of commands that execute signatures."""

from __future__ import annotations

from typing import Any

from hokusai.executor import DSPyPipelineExecutor
from hokusai_core import Settings
from hokusai_core.cli_support.notes import note_once

__all__ = ["TIMEOUT", "make_executor"]

#: Seconds. An embedded model on a small machine may take minutes over a long text.
TIMEOUT = 300
#: Options that all executions of a command share.
_OF_EXECUTOR = ("lm", "timeout", "prices", "max_cost", "budget_file", "unpriced")


def make_executor(
    options: dict[str, Any], *, track: bool, max_workers: int | None = None, adapter: str | None = None
) -> DSPyPipelineExecutor:
    """Return the executor of a command: it records nothing unless that is asked for, here or by a setting.

    Args:
        options: options of the executions. Those that bound or choose for each of them alike, the language model,
            the timeout, the prices and the budget, are taken out of it and given to the executor.
        track: whether to record in MLflow.
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
    executor = DSPyPipelineExecutor(**settings)
    note_once(executor)
    return executor
