"""Helpers for commands that execute signatures: make the executor, and find the signature of a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hokusai.executor import DSPyPipelineExecutor
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.inputs import read_object

__all__ = ["TIMEOUT", "make_executor", "signature_called"]

#: Seconds. An embedded model on a small machine may take minutes over a long text.
TIMEOUT = 300
#: Options that all executions of a command share.
_OF_EXECUTOR = ("lm", "timeout", "prices", "max_cost", "budget_file", "unpriced")


def make_executor(
    options: dict[str, Any], *, track: bool, max_workers: int | None = None, adapter: str | None = None
) -> DSPyPipelineExecutor:
    """Return the executor of a command: it records nothing unless that is asked for, here or by a variable.

    Args:
        options: options of the executions. Those that bound or choose for each of them alike, the language model,
            the timeout, the prices and the budget, are taken out of it and given to the executor.
        track: whether to record in MLflow.
        max_workers: rows that run at the same time.
        adapter: format of the prompts; None for the executor's choice.
    """
    settings: dict[str, Any] = {name: options.pop(name) for name in _OF_EXECUTOR if name in options}
    if "HOKUSAI_TIMEOUT" not in os.environ:
        settings.setdefault("timeout", TIMEOUT)
    if max_workers is not None:
        settings["max_workers"] = max_workers
    if adapter is not None:
        settings["adapter"] = adapter
    if track:
        settings["mlflow_tracking"] = True
    elif "HOKUSAI_TRACKERS" not in os.environ:
        settings["mlflow_tracking"] = False
    return DSPyPipelineExecutor(**settings)


def signature_called(name: str) -> Any:
    """Return what to execute: a name, the path of an optimized signature, or the signature that a file describes."""
    if not name.endswith(".json"):
        return name
    data = read_object(name)
    if "fields" not in data:
        return name  # what an optimizer saved: the executor reads it, and checks it against what it was made from
    from hokusai_core import BaseSignature
    from hokusai_core.errors import SignatureError

    try:
        return BaseSignature.from_dict(data)
    except SignatureError as error:
        raise CommandFailure(f"{Path(name).name} holds no signature that can be run: {error}") from error
