"""What commands that execute signatures have in common: the executor, and which signature a name means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hokusai.executor import DSPyPipelineExecutor
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.inputs import read_object

__all__ = ["TIMEOUT", "make_executor", "retry_options", "signature_called"]

#: Seconds. An embedded model on a small machine may take minutes over a long text.
TIMEOUT = 300


def make_executor(lm: str | None, timeout: str | None, *, track: bool, **options: Any) -> DSPyPipelineExecutor:
    """Return the executor of a command: it records nothing unless that is asked for, here or by a variable."""
    options["lm"] = lm
    if timeout is not None:
        options["timeout"] = timeout
    elif "HOKUSAI_TIMEOUT" not in os.environ:
        options["timeout"] = TIMEOUT
    if track:
        options["mlflow_tracking"] = True
    elif "HOKUSAI_TRACKERS" not in os.environ:
        options["mlflow_tracking"] = False
    return DSPyPipelineExecutor(**options)


def retry_options(retries: int | None) -> dict[str, Any]:
    """Return the options of an execution that is tried again so often; none where nobody said."""
    return {} if retries is None else {"retry_on_failure": retries > 0, "max_retries": retries}


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
