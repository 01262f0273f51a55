"""Delivers table parts, metrics and parameters of one run."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from hokusai_mlflow.delivery.ledger import RESUMED, Ledger
from hokusai_mlflow.delivery.mlflow_runs import RunGone, Target
from hokusai_mlflow.delivery.summary import advance
from hokusai_mlflow.delivery.table import part_name, part_of

__all__ = ["deliver_ending", "deliver_metrics", "deliver_rows"]

#: Parts that one call uploads.
_PARTS: Final = 20
#: Points and parameters that one call sends; MLflow takes 1000 metrics and 100 parameters.
_POINTS: Final = 60
_PARAMS: Final = 90
#: Characters of the tag that lists tables; MLflow cuts longer ones, which would make it unreadable.
_TAG_LENGTH: Final = 7500


def deliver_rows(ledger: Ledger, run: sqlite3.Row, target: Target) -> bool:
    """Upload the parts that changed, some at a time; return whether there are more."""
    parts = ledger.sql.execute(
        "SELECT DISTINCT name, part FROM rows WHERE run = ? AND sent = 0 ORDER BY name, part LIMIT ?",
        (run["id"], _PARTS + 1),
    ).fetchall()
    if not parts:
        return False
    found = target.client.get_run(target.run_id)
    if found.info.lifecycle_stage == "deleted":
        raise RunGone(f"run {target.run_id} was deleted")  # uploading to it would work, and be in vain
    more, parts = len(parts) > _PARTS, parts[:_PARTS]
    # Two runs of the ledger may mean the same run of MLflow, one by its experiment's name and one by its id.
    token, last = f"{ledger.token}{run['id']:03x}", 0
    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        for table, number in parts:
            rows = ledger.sql.execute(
                "SELECT seq, data FROM rows WHERE run = ? AND name = ? AND part = ? ORDER BY seq",
                (run["id"], table, number),
            ).fetchall()
            last = max(last, rows[-1][0])
            path = Path(folder) / table / part_name(token, number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(part_of(table, (row[1] for row in rows)))
        target.client.log_artifacts(target.run_id, folder)
    _list_tables(target, found.data.tags, [f"{table}/{part_name(token, number)}" for table, number in parts])
    with ledger.transaction():
        for table, number in parts:
            ledger.sql.execute(
                "UPDATE rows SET sent = 1 WHERE run = ? AND name = ? AND part = ? AND sent = 0 AND seq <= ?",
                (run["id"], table, number, last),
            )
            ledger.sql.execute(
                "DELETE FROM rows WHERE run = ?1 AND name = ?2 AND part = ?3 "
                "AND (SELECT closed FROM parts WHERE run = ?1 AND name = ?2 AND number = ?3)",
                (run["id"], table, number),
            )
    return more


def _list_tables(target: Target, tags: Mapping[str, str], paths: list[str]) -> None:
    """Have the user interface show the parts as tables, as it does those of ``mlflow.log_table``."""
    try:
        listed = json.loads(tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    except ValueError:
        return  # not ours to mend
    before = len(listed)
    for path in paths:
        entry = {"path": path, "type": "table"}
        if entry not in listed and len(json.dumps([*listed, entry])) <= _TAG_LENGTH:
            listed.append(entry)
    if len(listed) > before:
        target.client.set_tag(target.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(listed))


def deliver_metrics(ledger: Ledger, run: sqlite3.Row, target: Target) -> None:
    """Send the metrics of what was taken in since the last time, and new parameters."""
    _make_point(ledger, run)
    points = ledger.sql.execute(
        "SELECT seq, step, at, data FROM points WHERE run = ? ORDER BY seq LIMIT ?", (run["id"], _POINTS)
    ).fetchall()
    params = ledger.sql.execute(
        "SELECT name, value FROM params WHERE run = ? AND sent = 0 ORDER BY seq LIMIT ?", (run["id"], _PARAMS)
    ).fetchall()
    if not points and not params:
        return
    metrics = [
        Metric(name, value, at, step) for _, step, at, data in points for name, value in orjson.loads(data).items()
    ]
    try:
        target.client.log_batch(target.run_id, metrics, [Param(name, value) for name, value in params])
    except MlflowException as error:
        if not params or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        # The host has set a parameter of the same name; its value stays, and ours becomes a tag.
        target.client.log_batch(target.run_id, metrics, [], [])
        for name, value in params:
            _log_param(target, name, value)
    with ledger.transaction():
        ledger.sql.executemany("DELETE FROM points WHERE seq = ?", [(point[0],) for point in points])
        ledger.sql.executemany(
            "UPDATE params SET sent = 1 WHERE run = ? AND name = ?", [(run["id"], name) for name, _ in params]
        )


def _log_param(target: Target, name: str, value: str) -> None:
    try:
        target.client.log_param(target.run_id, name, value)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        target.client.log_batch(target.run_id, tags=[RunTag(f"hokusai.param.{name}"[:250], value)])


def _make_point(ledger: Ledger, run: sqlite3.Row) -> None:
    """Sum up what was taken in. The point is fixed before it is sent: sent twice, it is the same point."""
    chunks = ledger.sql.execute("SELECT seq, data FROM chunks WHERE run = ? ORDER BY seq", (run["id"],)).fetchall()
    if not chunks:
        return
    totals: dict[str, Any] = orjson.loads(
        ledger.sql.execute("SELECT totals FROM runs WHERE id = ?", (run["id"],)).fetchone()[0]
    )
    totals, metrics = advance(totals, (chunk[1] for chunk in chunks))
    with ledger.transaction():
        ledger.sql.execute(
            "INSERT INTO points VALUES (?, ?, ?, ?, ?)",
            (chunks[-1][0], run["id"], totals["executions"], int(time.time() * 1000), orjson.dumps(metrics)),
        )
        ledger.sql.execute("UPDATE runs SET totals = ? WHERE id = ?", (orjson.dumps(totals).decode(), run["id"]))
        ledger.sql.executemany("DELETE FROM chunks WHERE seq = ?", [(chunk[0],) for chunk in chunks])


def deliver_ending(ledger: Ledger, run: sqlite3.Row, target: Target) -> None:
    """Say that a run of our own is over, or that it goes on after all."""
    if run["ending"] == RESUMED:
        target.client.update_run(target.run_id, status=RESUMED)
    else:
        target.client.set_terminated(target.run_id, run["ending"])
    with ledger.transaction():
        ledger.sql.execute(
            "UPDATE runs SET ending_seq = NULL WHERE id = ? AND ending_seq = ?", (run["id"], run["ending_seq"])
        )
