"""The writer process: ``python -m hokusai_mlflow.writer FOLDER`` delivers one spool folder and then ends by itself."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Final

import orjson

__all__ = ["main"]

_TIMEOUT: Final = "MLFLOW_HTTP_REQUEST_TIMEOUT"
#: Set where the environment does not say otherwise, in this process only.
_DEFAULTS: Final = {
    # A connection of its own for each session: MLflow's pool runs dry, and data with it, when several threads write.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The writer tries again for as long as it takes; a store that hangs must not hold up the others.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    _TIMEOUT: "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # MLflow looks prices up with litellm, which would fetch them from the network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
#: What is meant for the host's own use of MLflow and would change ours.
_REMOVED: Final = ("MLFLOW_RUN_ID", "MLFLOW_TRACE_SAMPLING_RATIO", "MLFLOW_ENABLE_ASYNC_LOGGING")


def prepare_environment(timeout: float | None = None) -> None:
    """Set what MLflow reads from the environment.

    Args:
        timeout: seconds that a request to a server may take at most.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if timeout is not None:
        bound = min(float(os.environ[_TIMEOUT]), max(1.0, timeout))
        os.environ[_TIMEOUT] = str(math.ceil(bound))
    for name in _REMOVED:
        os.environ.pop(name, None)


def main(folder: Path) -> None:
    """Deliver the spool folder until there is nothing to do."""
    from hokusai_mlflow.delivery.writer_loop import IDLE, Writer, handle_signals, locked, note_crash
    from hokusai_mlflow.delivery_supervisor import SECRET_URIS

    secret_uris = orjson.loads(os.environ.pop(SECRET_URIS, "{}"))
    prepare_environment()
    # Given up before the last look, so that a record which comes after that look finds no writer and starts one.
    more = folder.is_dir()
    while more:
        with locked(folder) as held:
            if not held:
                return
            try:
                writer = Writer(folder, secret_uris)
                handle_signals(writer)
                writer.serve(idle=IDLE)
            except Exception as error:
                note_crash(folder, error)
                raise
        more = writer.wants_more()


def _detach() -> None:
    """Leave the process that started this one, which does not wait any longer."""
    if os.fork():
        os._exit(0)
    os.nice(10)  # callers come first


def _do_without_litellm() -> None:
    """Have MLflow look prices up in a table of its own: importing litellm for it takes seconds and 100 MB."""
    sys.modules["litellm"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    _detach()
    _do_without_litellm()
    main(Path(sys.argv[1]))
