"""Finds or creates the MLflow runs that executions belong to."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from hokusai_core.plugin_api import user_data_folder
from hokusai_mlflow.delivery.ledger import Ledger
from hokusai_mlflow.delivery.mlflow_stores import database_of, open_store, probe
from hokusai_mlflow.delivery.table import EXECUTIONS
from hokusai_mlflow.destination import public_uri
from hokusai_mlflow.loading import read_part

__all__ = ["MissingCredentials", "RunGone", "Target", "Targets", "experiment_id", "quoted"]

_KEY_TAG: Final = "hokusai.run"
_PROMOTED: Final = {"hokusai/executions": "executions", "hokusai/failures": "failures", "hokusai/cost": "cost"}
_PROMOTED_TOKENS: Final = {"hokusai/input_tokens": "input_tokens", "hokusai/output_tokens": "output_tokens"}


class RunGone(Exception):
    """The run was deleted in MLflow."""


class MissingCredentials(Exception):
    """The address needs credentials that this writer was not given."""


@frozen
class Target:
    """A run to deliver to.

    Args:
        client: of its store.
        uri: the address that the store was opened by, with credentials.
        run_id: the run.
        experiment_id: its experiment.
    """

    client: MlflowClient
    uri: str
    run_id: str
    experiment_id: str


class Targets:
    """Resolves runs of the ledger to runs of MLflow.

    Args:
        ledger: keeps what was resolved.
        secret_uris: addresses with credentials, by their public form.
    """

    def __init__(self, ledger: Ledger, secret_uris: Mapping[str, str]) -> None:
        self._ledger = ledger
        own = os.environ.get("MLFLOW_TRACKING_URI")
        self._uris = {**({public_uri(own): own} if own else {}), **secret_uris}
        self._targets: dict[int, Target] = {}

    def prepare(self, run: sqlite3.Row) -> None:
        """Make the database of ``run`` where there is none yet: seconds in which no store is silent.

        Raises:
            MissingCredentials: the store's password is not known here.
            StoreBusy: another process is making the store.
        """
        if run["id"] not in self._targets:
            open_store(self._full(run["uri"]))

    def of(self, run: sqlite3.Row) -> Target:
        """Return where the executions of ``run`` go; creates experiment and run where they are missing.

        Raises:
            MlflowException: the store refuses or cannot be reached.
            MissingCredentials: the store's password is not known here.
            StoreBusy: another process is making the store.
        """
        known = self._targets.get(run["id"])
        if known is not None and known.run_id == run["mlflow_run"]:
            return known
        uri = self._full(run["uri"])
        address = open_store(uri)
        client = MlflowClient(address)
        if run["mlflow_run"] and run["experiment_id"]:
            target = Target(client, address, run["mlflow_run"], run["experiment_id"])
        else:
            target = self._first_contact(run, client, uri, address)
        self._targets[run["id"]] = target
        return target

    def is_gone(self, run: sqlite3.Row, error: Exception) -> bool:
        """Return whether ``error`` came about because the run was deleted in MLflow, or the whole store."""
        database = database_of(run["uri"])
        if isinstance(error, RunGone) or (database is not None and not database.exists()):
            return True
        if not run["mlflow_run"] or not isinstance(error, MlflowException):
            return False
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return True
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "INVALID_STATE"):
            return False
        try:
            client = self._targets[run["id"]].client
            return bool(client.get_run(run["mlflow_run"]).info.lifecycle_stage == "deleted")
        except MlflowException:
            return False

    def forget(self, run: int) -> None:
        """Resolve ``run`` anew the next time: it is gone from the store. What follows goes to a run of our own."""
        self._targets.pop(run, None)
        with self._ledger.transaction():
            self._ledger.sql.execute(
                "UPDATE runs SET mlflow_run = NULL, experiment_id = NULL, host = 0, totals = '{}' WHERE id = ?", (run,)
            )
            # What the deleted run held was deleted on purpose.
            self._ledger.sql.execute("DELETE FROM rows WHERE run = ? AND sent = 1", (run,))
            self._ledger.sql.execute("UPDATE params SET sent = 0 WHERE run = ?", (run,))

    def probe(self, uri: str) -> None:
        """Ask a store that did not answer before whether it does now.

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
                "by the next process that is told to track there, or by `hokusai tracking flush` with "
                "MLFLOW_TRACKING_URI set"
            )
        return full

    def _first_contact(self, run: sqlite3.Row, client: MlflowClient, uri: str, address: str) -> Target:
        if run["host"]:
            info = client.get_run(run["mlflow_run"])
            found: Any = info
        else:
            experiment = experiment_id(client, json.loads(run["experiment"]), uri)
            found = _own_run(client, experiment, run)
        target = Target(client, address, found.info.run_id, found.info.experiment_id)
        totals = self._continue(run, target, found)
        with self._ledger.transaction():
            self._ledger.sql.execute(
                "UPDATE runs SET mlflow_run = ?, experiment_id = ?, totals = ? WHERE id = ?",
                (target.run_id, target.experiment_id, orjson.dumps(totals).decode(), run["id"]),
            )
        return target

    def _continue(self, run: sqlite3.Row, target: Target, found: Any) -> dict[str, Any]:
        """Go on with a table that another ledger began: leave out what it holds, and count on from there."""
        parts = [artifact.path for artifact in target.client.list_artifacts(target.run_id, EXECUTIONS)]
        for path in parts:
            ids = [(run["id"], row["execution_id"]) for row in read_part(target.client, target.run_id, path)]
            with self._ledger.transaction():
                self._ledger.sql.executemany("DELETE FROM rows WHERE run = ? AND id = ?", ids)
                self._ledger.sql.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, 0)", ids)
        metrics = found.data.metrics if parts else {}
        promoted = {**_PROMOTED, **_PROMOTED_TOKENS}
        return {name: type_of(name)(metrics[metric]) for metric, name in promoted.items() if metric in metrics}


def type_of(total: str) -> type[int] | type[float]:
    """Return the type of a total."""
    return float if total == "cost" else int


def experiment_id(client: MlflowClient, wanted: Mapping[str, str], uri: str) -> str:
    """Return the id of an experiment; makes it where it does not exist, and revives it where it was deleted.

    Args:
        client: of the store.
        wanted: its ``id``, or its ``name``.
        uri: the store's address.
    """
    if "id" in wanted:
        return wanted["id"]
    name = wanted["name"]
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifacts(name, uri)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


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


def _own_run(client: MlflowClient, experiment: str, run: sqlite3.Row) -> Any:
    # What stands in for a run of the host's that was deleted is no run of an executor's.
    instead_of = run["key"].startswith("run:")
    key = run["key"] if instead_of else run["own_key"]
    found = client.search_runs(
        [experiment],
        filter_string=f"tags.`{_KEY_TAG}` = '{quoted(key)}'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=1,
    )
    if found:
        if found[0].info.status != "RUNNING":
            client.update_run(found[0].info.run_id, status="RUNNING")
        return client.get_run(found[0].info.run_id)
    tags = {**json.loads(run["tags"]), _KEY_TAG: key, "mlflow.source.name": "hokusai"}
    if instead_of:
        tags["hokusai.instead_of"] = run["key"].removeprefix("run:")
    return client.create_run(experiment, tags=tags, run_name=run["name"])


def quoted(text: str) -> str:
    """Return ``text`` as it stands between the quotes of a filter."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
