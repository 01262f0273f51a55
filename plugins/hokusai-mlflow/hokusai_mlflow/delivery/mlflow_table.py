"""Writes table parts, metrics and parameters to a run. Written again, each is the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from hokusai_mlflow.delivery.mlflow_runs import RunGone, Target

__all__ = ["write_metrics", "write_parts"]

#: Parameters that one call sends; MLflow takes 100.
_PARAMS: Final = 90
#: Characters of the tag that lists tables; MLflow cuts longer ones, which would make it unreadable.
_TAG_LENGTH: Final = 7500


def write_parts(target: Target, parts: Mapping[str, bytes]) -> None:
    """Upload parts of tables.

    Args:
        target: the run.
        parts: path of the artifact -> its content.

    Raises:
        RunGone: the run was deleted. Uploading to it would work, and be in vain.
    """
    found = target.client.get_run(target.run_id)
    if found.info.lifecycle_stage == LifecycleStage.DELETED:
        raise RunGone(f"run {target.run_id} was deleted")
    if not parts:
        return
    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        for name, content in parts.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        target.client.log_artifacts(target.run_id, folder)
    _list_tables(target, found.data.tags, parts)


def _list_tables(target: Target, tags: Mapping[str, str], paths: Iterable[str]) -> None:
    """Have the user interface show the parts as tables, as it does those of ``mlflow.log_table``."""
    try:
        listed = json.loads(tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    except ValueError:
        return  # the host's own, and damaged
    before = len(listed)
    for path in paths:
        entry = {"path": path, "type": "table"}
        if entry not in listed and len(json.dumps([*listed, entry])) <= _TAG_LENGTH:
            listed.append(entry)
    if len(listed) > before:
        target.client.set_tag(target.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(listed))


def write_metrics(
    target: Target, metrics: Mapping[str, float], parameters: Mapping[str, str], *, step: int, at: int
) -> None:
    """Write one point of each metric, and parameters.

    Args:
        target: the run.
        metrics: values by name.
        parameters: values by name. A parameter that the host has set keeps its value, and ours becomes a tag.
        step: step of the points.
        at: their time, in milliseconds. MLflow keeps one of two points that agree in everything.
    """
    points = [Metric(name, value, at, step) for name, value in metrics.items()]
    items = list(parameters.items())
    for start in range(0, max(1, len(items)), _PARAMS):
        params = [Param(name, value) for name, value in items[start : start + _PARAMS]]
        try:
            target.client.log_batch(target.run_id, points, params)
        except MlflowException as error:
            if not params or error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            target.client.log_batch(target.run_id, points, [], [])
            for param in params:
                _write_param(target, param.key, param.value)
        points = []


def _write_param(target: Target, name: str, value: str) -> None:
    try:
        target.client.log_param(target.run_id, name, value)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        target.client.log_batch(target.run_id, tags=[RunTag(f"hokusai.param.{name}"[:250], value)])
