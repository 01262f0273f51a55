"""Find recorded executions in the experiment that a tracker records in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from hokusai_core.plugin_api import KeptExecution, Usage
from hokusai_mlflow.content_policy import REDACTION_FAILED
from hokusai_mlflow.delivery.execution_table import record_of
from hokusai_mlflow.loading import read_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["search_executions"]

#: Runs that are looked at, the latest ones.
_MOST_RUNS: Final = 1_000
_PAGE: Final = 100


def search_executions(
    uri: str, experiment: Mapping[str, str], *, since: float | None, signature: str | None
) -> Iterator[KeptExecution]:
    """Yield the executions in the tables of an experiment, the oldest first.

    Args:
        uri: address of the store, with credentials.
        experiment: ``id`` or ``name`` of the experiment.
        since: seconds since the epoch from which on; None for all.
        signature: ``pack/Name`` or ``Name``; None for all.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = (
        client.get_experiment(experiment["id"])
        if "id" in experiment
        else client.get_experiment_by_name(experiment.get("name", ""))
    )
    if found is None:
        return
    kept = {
        one.execution_id: one
        for run_id in _runs(client, str(found.experiment_id), since)
        for row in read_rows(client, run_id)
        if (one := _kept(row)) is not None and _wanted(one, since, signature)
    }
    yield from sorted(kept.values(), key=lambda one: one.started_at)


def _runs(client: MlflowClient, experiment: str, since: float | None) -> Iterator[str]:
    """Yield the runs that may hold executions of that time: a run that was over before holds none."""
    token: str | None = None
    seen = 0
    while seen < _MOST_RUNS:
        page = client.search_runs([experiment], max_results=_PAGE, order_by=["start_time DESC"], page_token=token)
        for run in page:
            seen += 1
            if since is None or run.info.end_time is None or run.info.end_time >= since * 1000:
                yield run.info.run_id
        token = page.token
        if not token:
            return


def _wanted(one: KeptExecution, since: float | None, signature: str | None) -> bool:
    named = signature is None or one.signature == signature or one.signature.endswith(f"/{signature}")
    return named and (since is None or one.started_at >= since)


def _kept(row: Mapping[str, Any]) -> KeptExecution | None:
    """Return the execution of a row; None where the row is damaged."""
    try:
        record = record_of(row)
        inputs, outputs = record["in"] or {}, record["out"] or {}
        lost = [
            f"{part}.{name}"
            for part, values in (("inputs", inputs), ("outputs", outputs))
            for name, value in values.items()
            if value == REDACTION_FAILED
        ]
        return KeptExecution(
            execution_id=record["id"],
            signature=record["sig"],
            signature_version=record["ver"],
            fingerprint=record["fp"],
            inputs=inputs,
            outputs=outputs,
            model=record["m"],
            started_at=record["t0"],
            status=record["st"],
            latency=record["lat"],
            cost=record["cost"],
            usage=Usage(int(record["u"][0] or 0), int(record["u"][1] or 0)),
            cached=record["hit"],
            cut=(*record["cut"], *lost),
        )
    except (KeyError, TypeError, ValueError):
        return None
