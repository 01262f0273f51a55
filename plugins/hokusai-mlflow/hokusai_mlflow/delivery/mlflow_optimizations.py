"""Writes an optimization as a run of its own, below the run that the tracker records in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from hokusai_mlflow.delivery.mlflow_runs import Target, quoted
from hokusai_mlflow.optimization_result import parameters_of, result_of, scores_of, trials_of
from hokusai_mlflow.optimization_run import register_winner, write_optimization

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["write_optimization_run"]

_TAG: Final = "hokusai.optimization"


def write_optimization_run(target: Target, record: Mapping[str, Any]) -> None:
    """Write an optimization to its run, and register what was promoted where an alias for that was chosen.

    Args:
        target: the run that the tracker records in.
        record: what the outbox holds of it.
    """
    run = _run_of(target, record)
    if run.info.status == "FINISHED":
        return
    document = record.get("doc")
    winner = None if document is None else result_of(document)
    report = record["fig"] if winner is None else winner.report
    write_optimization(
        target.client,
        run.info.run_id,
        trials=trials_of(report),
        scores=scores_of(report),
        parameters={**parameters_of(report), "signature_version": record["ver"], "fingerprint": record["fp"]},
        winner=winner,
    )
    alias = record.get("alias")
    if alias and winner is not None and record["won"]:
        register_winner(target.client, run, winner.name, alias, winner.spec)
    target.client.set_terminated(run.info.run_id, end_time=int((record["t0"] + record["lat"]) * 1000))


def _run_of(target: Target, record: Mapping[str, Any]) -> Run:
    """Return the run of the optimization, which a delivery that was cut off halfway may have made already."""
    found = target.client.search_runs(
        [target.experiment_id], f"tags.`{_TAG}` = '{quoted(record['id'])}'", max_results=1
    )
    if found:
        return found[0]
    return target.client.create_run(
        target.experiment_id,
        start_time=int(record["t0"] * 1000),
        tags={
            _TAG: record["id"],
            MLFLOW_PARENT_RUN_ID: target.run_id,
            "hokusai.signature": record["sig"],
            "hokusai.promoted": str(record["won"]).lower(),
        },
        run_name=f"optimize {record['sig'].rpartition('/')[2]}",
    )
