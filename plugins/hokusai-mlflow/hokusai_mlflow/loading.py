"""Load recorded executions from MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

__all__ = ["load_executions", "read_part", "read_rows"]

_FOLDER: Final = "executions"


def load_executions(run_id: str, *, tracking_uri: str | None = None) -> pd.DataFrame:
    """Return the executions table of a run, all parts of it.

    Args:
        run_id: the run.
        tracking_uri: the store; left out, MLflow's current one.

    Returns:
        One row for each execution, in the order in which they were recorded. ``inputs``, ``outputs``,
        ``model_parameters``, ``attempt_errors``, ``tags`` and ``cut`` hold JSON text.

    Example::

        load_executions(run.info.run_id)[["signature", "latency", "cost"]]
    """
    import pandas as pd
    from mlflow import MlflowClient

    return pd.DataFrame(list(read_rows(MlflowClient(tracking_uri), run_id)))


def read_rows(client: MlflowClient, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's executions table as dicts."""
    for artifact in sorted(client.list_artifacts(run_id, _FOLDER), key=lambda artifact: artifact.path):
        yield from read_part(client, run_id, artifact.path)


def read_part(client: MlflowClient, run_id: str, path: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one part of a run's executions table."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        local = client.download_artifacts(run_id, path, folder)
        with open(local, encoding="utf-8") as file:
            part = json.load(file)
    for row in part["data"]:
        yield dict(zip(part["columns"], row, strict=True))
