"""Finds or makes the MLflow runs that executions belong to."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, ViewType
from mlflow.exceptions import MlflowException

from hokusai_core.plugin_api import user_data_folder
from hokusai_mlflow.delivery.execution_table import EXECUTIONS, part_name
from hokusai_mlflow.delivery.failures import MissingCredentials, concerns_address
from hokusai_mlflow.delivery.mlflow_stores import database_of, open_store, probe
from hokusai_mlflow.destination import public_uri
from hokusai_mlflow.loading import read_part
from hokusai_mlflow.target_state import TargetState

__all__ = ["RunGone", "Target", "Targets", "experiment_id", "quoted"]

_KEY_TAG: Final = "hokusai.run"
#: Seconds after which a run that another writer makes can be seen.
_SETTLE: Final = 0.5
_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
#: Metric -> total that a run is continued with.
_TOTALS: Final = {
    "hokusai/executions": "executions",
    "hokusai/failures": "failures",
    "hokusai/cost": "cost",
    "hokusai/input_tokens": "input_tokens",
    "hokusai/output_tokens": "output_tokens",
    "hokusai/traces": "traces",
    "hokusai/executions_refused": "refused",
}


class RunGone(Exception):
    """The run was deleted in MLflow."""


@frozen
class Target:
    """A run to deliver to.

    Args:
        client: of its store.
        uri: the address that the store was opened by, with credentials.
        run_id: the run.
        experiment_id: its experiment.
        source: user, source file and git commit of the program that executes, as MLflow's tags.
    """

    client: MlflowClient
    uri: str
    run_id: str
    experiment_id: str
    source: Mapping[str, str]


class Targets:
    """Finds the run of MLflow that a target means.

    Args:
        secret_uris: addresses with credentials, by their public form.
    """

    def __init__(self, secret_uris: Mapping[str, str]) -> None:
        own = os.environ.get("MLFLOW_TRACKING_URI")
        self._uris = {**({public_uri(own): own} if own else {}), **secret_uris}
        self._clients: dict[str, MlflowClient] = {}

    def prepare(self, uri: str) -> None:
        """Make the database of ``uri`` where there is none yet.

        Raises:
            MissingCredentials: the store's password is not known here.
            StoreBusy: another process is making the store.
        """
        if uri not in self._clients:
            open_store(self._full(uri))

    def of(self, state: TargetState) -> Target:
        """Return the run of a target. Experiment and run are made where they are missing, and revived where deleted.

        Raises:
            MlflowException: the store refuses or cannot be reached.
            MissingCredentials: the store's password is not known here.
            StoreBusy: another process is making the store.
        """
        uri = self._full(state.description["uri"])
        address = open_store(uri)
        client = self._clients.get(state.description["uri"])
        if client is None:
            client = self._clients[state.description["uri"]] = MlflowClient(address)
        if state.run is None or "lost" in state.run:
            self._resolve(state, client, uri)
        assert state.run is not None  # noqa: S101  # for the type checker
        return Target(client, address, state.run["id"], state.run["experiment_id"], state.description["source"])

    def is_gone(self, state: TargetState, error: Exception) -> bool:
        """Return whether ``error`` came about because the run or its store was deleted."""
        database = database_of(state.description["uri"])
        if isinstance(error, RunGone) or (database is not None and not database.exists()):
            return True
        if state.run is None or not isinstance(error, MlflowException) or concerns_address(error):
            return False
        try:
            found = self._clients[state.description["uri"]].get_run(state.run["id"])
        except MlflowException as missing:
            return missing.error_code in _MISSING
        return bool(found.info.lifecycle_stage == LifecycleStage.DELETED)

    def forget(self, state: TargetState) -> None:
        """Look for the run again the next time: it was deleted."""
        self._clients.pop(state.description["uri"], None)
        if state.run is not None:
            state.run = {**state.run, "lost": "yes"}

    def probe(self, uri: str) -> None:
        """Check whether a store that did not respond before responds now.

        Raises:
            MlflowException: it does not.
            MissingCredentials: its password is not known here.
        """
        probe(self._full(uri))

    def hide(self, text: str) -> str:
        """Return ``text`` without the credentials of any address."""
        for public, full in self._uris.items():
            text = text.replace(full, public)
        return public_uri(text)

    def _full(self, uri: str) -> str:
        full = self._uris.get(uri, uri)
        if "***" in full:
            raise MissingCredentials(
                f"the credentials of {uri} are on no disk, and this writer was started without them; it is delivered "
                "by the next process that tracks there, or by `hokusai tracking flush` with "
                "MLFLOW_TRACKING_URI set"
            )
        return full

    def _resolve(self, state: TargetState, client: MlflowClient, uri: str) -> None:
        host = state.description["run_id"]
        run = None if host is None else _live_run(client, host)
        if run is None:
            state.instead_of = host
            run = _own_run(client, experiment_id(client, state.description["experiment"], uri), state)
        before, found = state.run, {"id": run.info.run_id, "experiment_id": run.info.experiment_id}
        state.run = found
        if before is None or before["id"] != found["id"]:
            _begin(state, client, run, replaced=before is not None)


def _begin(state: TargetState, client: MlflowClient, run: Any, *, replaced: bool) -> None:
    """Go on with what the run holds; what a run that was deleted held, was deleted on purpose."""
    if replaced:
        state.signatures, state.pending = [], None
        for segment in state.segments.values():
            for part in segment["parts"].values():
                part.update(number=part["number"] + 1, start=segment["offset"], traced="")
    parts = {
        artifact.path.rpartition("/")[2]: artifact.path
        for artifact in client.list_artifacts(run.info.run_id, EXECUTIONS)
    }
    metrics = run.data.metrics if parts else {}
    state.totals = {total: _number(total, metrics[name]) for name, total in _TOTALS.items() if name in metrics}
    for name, segment in state.segments.items():
        if not segment["offset"]:  # its state was lost, perhaps: what it gave the run before is in these totals
            number = 1
            while (path := parts.get(part_name(name, number))) is not None:
                segment["counted"] += sum(1 for _ in read_part(client, run.info.run_id, path))
                number += 1


def _number(total: str, value: float) -> int | float:
    return value if total == "cost" else int(value)


def _live_run(client: MlflowClient, run_id: str) -> Any:
    """Return a run of the host, None if it was deleted. If only its experiment was deleted, restore that."""
    try:
        run = client.get_run(run_id)
        if run.info.lifecycle_stage == LifecycleStage.DELETED and _revive(client, run.info.experiment_id):
            run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None
    return None if run.info.lifecycle_stage == LifecycleStage.DELETED else run


def _revive(client: MlflowClient, experiment: str) -> bool:
    """Revive an experiment where it was deleted; return whether it was."""
    if client.get_experiment(experiment).lifecycle_stage != LifecycleStage.DELETED:
        return False
    client.restore_experiment(experiment)
    return True


def experiment_id(client: MlflowClient, wanted: Mapping[str, str], uri: str) -> str:
    """Return the id of an experiment; makes it where it does not exist, and revives it where it was deleted.

    Args:
        client: of the store.
        wanted: its ``id``, or its ``name``.
        uri: the store's address.
    """
    name = wanted.get("name", "Hokusai")
    try:
        found = client.get_experiment(wanted["id"]) if "id" in wanted else client.get_experiment_by_name(name)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        found = client.get_experiment_by_name(name)  # deleted for good: executions go to ours
    if found is None:
        return _make_experiment(client, name, uri)
    if found.lifecycle_stage == LifecycleStage.DELETED:
        try:
            client.restore_experiment(found.experiment_id)
        except MlflowException as error:
            if concerns_address(error):
                raise
            return experiment_id(client, {"name": f"{found.name} (new)"}, uri)
    return str(found.experiment_id)


def _make_experiment(client: MlflowClient, name: str, uri: str) -> str:
    try:
        return str(client.create_experiment(name, artifact_location=_artifacts(name, uri)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client.get_experiment_by_name(name).experiment_id)


def _artifacts(experiment: str, uri: str) -> str | None:
    """Return where an experiment's artifacts go; a database without a server has no sensible place of its own."""
    scheme = uri.partition(":")[0].partition("+")[0]
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in experiment)
    if scheme == "sqlite":
        database = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        return (database.parent / "artifacts" / safe).as_uri()
    if scheme in ("postgresql", "mysql", "mssql"):
        return (user_data_folder("mlflow", "artifacts") / safe).as_uri()
    return None


def _own_run(client: MlflowClient, experiment: str, state: TargetState) -> Any:
    """Return an executor's own run. Look for it by its tag first, because an interrupted delivery may have made it."""
    description = state.description
    # What replaces a run of the host that was deleted is not the executor's own run.
    key = f"run:{state.instead_of}" if state.instead_of else description["run_key"]
    found = _first_run(client, experiment, key)
    if found is not None:
        if found.info.status != "RUNNING":
            client.update_run(found.info.run_id, status="RUNNING")
        return client.get_run(found.info.run_id)
    tags = {**description["source"], **description["tags"], _KEY_TAG: key}
    if state.instead_of:
        tags["hokusai.instead_of"] = state.instead_of
    made = client.create_run(experiment, tags=tags, run_name=description["run_name"])
    return _settled(client, experiment, key, made) if state.daily else made


def _first_run(client: MlflowClient, experiment: str, key: str) -> Any:
    """Return the run of a key that was made first, None where there is none."""
    found = client.search_runs(
        [experiment],
        filter_string=f"tags.`{_KEY_TAG}` = '{quoted(key)}'",
        run_view_type=ViewType.ACTIVE_ONLY,
        order_by=["attributes.start_time ASC"],
        max_results=10,
    )
    return min(found, key=lambda run: (run.info.start_time, run.info.run_id), default=None)


def _settled(client: MlflowClient, experiment: str, key: str, made: Any) -> Any:
    """Return the run of a day that all writers take: another machine may have made one at the same moment.

    MLflow makes no run under a condition. So each writer waits until the others would see its run, and looks again; all
    take the run that was made first, and delete their own.
    """
    time.sleep(_SETTLE)
    first = _first_run(client, experiment, key)
    if first is None or first.info.run_id == made.info.run_id:
        return made
    client.delete_run(made.info.run_id)
    return client.get_run(first.info.run_id)


def quoted(text: str) -> str:
    """Return ``text`` as it stands between the quotes of a filter."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
