"""Writes optimizations as runs. Writing one twice is safe, because a delivery may be cut off halfway."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import TraceTagKey
from mlflow.tracing.utils.prompt import update_linked_prompts_tag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID

from hokusai_core.plugin_api import SignatureSpec
from hokusai_mlflow.delivery.mlflow_prompts import PromptLink, PromptVersions
from hokusai_mlflow.delivery.mlflow_runs import Target, quoted
from hokusai_mlflow.optimization_result import (
    SIGNATURE_FILE,
    OptimizationResult,
    Trial,
    parameters_of,
    result_of,
    scores_of,
    trials_of,
)

__all__ = ["register_winner", "write_optimization", "write_optimization_run"]

_TAG: Final = "hokusai.optimization"
#: Artifact folder that holds the signature.
_FOLDER: Final = "signature"
#: Beside it, where there is one: the document with report, base and checksum.
_DOCUMENT: Final = "optimized-signature.json"
_TABLE: Final = "candidates.json"
_COLUMNS: Final = ["candidate", "label", "score", "held_out_score", "instructions", "demos"]


def write_optimization_run(target: Target, record: Mapping[str, Any], prompts: PromptVersions) -> None:
    """Write an optimization to its run, and register what was promoted where an alias for that was chosen.

    Args:
        target: the run that the tracker records in.
        record: what the outbox holds of it.
        prompts: the prompts in the registry of the store.
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
    prompt = prompts.find(target, record["pr"], record["sig"]) if "pr" in record else None
    if prompt is not None:
        link_optimization(target, run, prompt, alias if record["won"] else None)
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


def write_optimization(
    client: MlflowClient,
    run_id: str,
    *,
    trials: Sequence[Trial],
    scores: Mapping[str, float | None],
    parameters: Mapping[str, Any],
    winner: OptimizationResult | None,
) -> None:
    """Write an optimization to a run.

    Args:
        client: of the run's store.
        run_id: the run.
        trials: the candidates, in order.
        scores: metrics by name; those that are None are left out.
        parameters: settings of the optimization.
        winner: what came of it; None where that may not be recorded.
    """
    _write_trials(client, run_id, trials)
    metrics = [Metric(name, value, 0, 0) for name, value in scores.items() if value is not None]
    client.log_batch(run_id, metrics, [Param(name, str(value)) for name, value in parameters.items()][:100])
    if winner is not None:
        _write_json(client, run_id, f"{_FOLDER}/{SIGNATURE_FILE}", winner.spec.to_dict())
        if winner.document is not None:
            _write_json(client, run_id, f"{_FOLDER}/{_DOCUMENT}", winner.document)


def link_optimization(target: Target, run: Run, prompt: PromptLink, alias: str | None) -> None:
    """Link the run of an optimization and the version of the prompt that came of it.

    Args:
        target: a run of the store.
        run: the run of the optimization.
        prompt: the version.
        alias: an alias that is to point to the version; None for none.
    """
    tagged = run.data.tags.get(TraceTagKey.LINKED_PROMPTS)
    target.client.set_tag(
        run.info.run_id, TraceTagKey.LINKED_PROMPTS, update_linked_prompts_tag(tagged, [prompt.entity])
    )
    target.client.set_prompt_version_tag(prompt.name, prompt.version, "hokusai.optimization_run", run.info.run_id)
    if alias:
        target.client.set_prompt_alias(prompt.name, alias, prompt.version)


def register_winner(client: MlflowClient, run: Run, name: str, alias: str, spec: SignatureSpec) -> int:
    """Make the signature in a run a version of a registered model, once, and have an alias point to it.

    Args:
        client: of the run's store.
        run: the run.
        name: of the model, which is made where it does not exist.
        alias: the alias.
        spec: the signature.

    Returns:
        The number of the version.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id = run.info.run_id
    found = [one for one in client.search_model_versions(f"run_id = '{run_id}'") if one.name == name]
    version = (
        found[0]
        if found
        else client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{_FOLDER}",
            run_id=run_id,
            tags={"hokusai.version": spec.version, "hokusai.fingerprint": spec.fingerprint},
        )
    )
    client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _write_trials(client: MlflowClient, run_id: str, trials: Sequence[Trial]) -> None:
    if trials:
        rows = [
            [number, trial.label, trial.score, trial.held_out_score, trial.instructions, json.dumps(trial.demos)]
            for number, trial in enumerate(trials)
        ]
        # As `log_table` does it, except that it would add the rows to those that are there.
        client.log_text(run_id, json.dumps({"columns": _COLUMNS, "data": rows}, ensure_ascii=False), _TABLE)
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([{"path": _TABLE, "type": "table"}]))
    metrics = [
        Metric(name, value, 0, number)
        for number, trial in enumerate(trials)
        for name, value in (("candidate_score", trial.score), ("candidate_held_out_score", trial.held_out_score))
        if value is not None
    ]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics[start : start + 1000])


def _write_json(client: MlflowClient, run_id: str, path: str, data: Mapping[str, Any]) -> None:
    client.log_text(run_id, json.dumps(data, ensure_ascii=False, indent=2), path)
