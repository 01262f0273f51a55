"""Publisher: brings MLflow up to date with the ledger, a run at a time, and survives MLflow's refusals."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from mlflow.exceptions import MlflowException

from hokusai_mlflow.delivery.ledger import Ledger
from hokusai_mlflow.delivery.mlflow_feedback import deliver_feedback
from hokusai_mlflow.delivery.mlflow_optimizations import deliver_optimization
from hokusai_mlflow.delivery.mlflow_rows import deliver_ending, deliver_metrics, deliver_rows
from hokusai_mlflow.delivery.mlflow_runs import Target, Targets
from hokusai_mlflow.delivery.mlflow_stores import is_busy
from hokusai_mlflow.delivery.mlflow_traces import deliver_traces

__all__ = ["Publisher"]

#: Seconds between two updates of a run that nobody waits for.
_PACE: Final = 1.0
#: Traces that one call carries: a fraction of a second's work, so that a flush never waits long behind them.
_TRACES: Final = 25
_LONGEST_PAUSE: Final = 60.0
_BUSY_PAUSE: Final = 0.5
#: Errors behind an error that are looked at.
_DEEPEST: Final = 12
_UNACCEPTABLE: Final = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")

#: What of it a flush waits for: all for the stores that its tracker uses, or one run of the host's.
_WAITED_FOR: Final = (
    "due.seq <= flush.seq AND due.run IN (SELECT id FROM runs WHERE CASE WHEN flush.run_id IS NULL "
    "THEN uri IN (SELECT uri FROM flush_stores WHERE token = flush.token) ELSE key = 'run:' || flush.run_id END)"
)


class Publisher:
    """Delivers what the ledger holds.

    Args:
        ledger: what is to be delivered.
        targets: where to.
        on_contact: called before a store is talked to, which may not answer for long.
    """

    def __init__(self, ledger: Ledger, targets: Targets, on_contact: Callable[[], None] = lambda: None) -> None:
        self._ledger, self._targets, self._on_contact = ledger, targets, on_contact
        self._delivered_at: dict[int, float] = {}
        #: Address -> until when it is left alone, and for how long this time.
        self._paused: dict[str, tuple[float, float]] = {}
        #: Address that was talked to last.
        self.contact: str | None = None
        #: Address -> last error and how often delivery has failed since it last worked.
        self.errors: dict[str, dict[str, Any]] = {}
        self.last_error: dict[str, Any] | None = None

    def step(self, *, hurry: bool = False) -> bool:
        """Deliver some of what is due; return whether anything was sent.

        Args:
            hurry: whether somebody waits for all of it.
        """
        wanted = {row[0] for row in self._waited_for()}
        due = self._ledger.column("SELECT DISTINCT run FROM due")
        sent = False
        for number in sorted(due, key=lambda run: run not in wanted):
            paced = time.monotonic() - self._delivered_at.get(number, float("-inf")) < _PACE
            if paced and not hurry and number not in wanted:
                sent |= self._guarded(number, self._deliver_traces)
            else:
                sent |= self._guarded(number, self._deliver)
        return sent

    def pending(self) -> dict[str, int]:
        """Return how many executions, traces, feedbacks and optimizations wait."""
        counts = self._ledger.sql.execute(
            "SELECT (SELECT count(*) FROM rows WHERE sent = 0), "
            "(SELECT count(*) FROM traces WHERE parent IS NULL), (SELECT count(*) FROM feedback), "
            "(SELECT count(*) FROM optimizations)"
        ).fetchone()
        return dict(zip(("executions", "traces", "feedback", "optimizations"), counts, strict=True))

    def is_done(self) -> bool:
        """Return whether MLflow has everything."""
        return not self._ledger.sql.execute("SELECT 1 FROM due LIMIT 1").fetchone()

    def answered(self) -> list[str]:
        """Return and forget the flushes whose executions MLflow has."""
        tokens = self._ledger.column(
            f"SELECT token FROM flushes AS flush WHERE NOT EXISTS (SELECT 1 FROM due "  # noqa: S608  # our own constant
            f"WHERE {_WAITED_FOR})"
        )
        if tokens:
            with self._ledger.transaction():
                for table in ("flushes", "flush_stores"):
                    self._ledger.sql.executemany(
                        f"DELETE FROM {table} WHERE token = ?",  # noqa: S608
                        [(token,) for token in tokens],
                    )
        return tokens

    def is_stuck(self) -> bool:
        """Return whether everything that waits is for stores that refuse it."""
        uris = self._ledger.column("SELECT DISTINCT uri FROM runs WHERE id IN (SELECT run FROM due)")
        return bool(uris) and all(uri in self._paused for uri in uris)

    def _waited_for(self) -> list[tuple[int]]:
        return self._ledger.sql.execute(
            f"SELECT DISTINCT due.run FROM flushes AS flush JOIN due ON {_WAITED_FOR}"  # noqa: S608  # our own constant
        ).fetchall()

    def _run(self, number: int) -> sqlite3.Row:
        cursor = self._ledger.sql.cursor()
        cursor.row_factory = sqlite3.Row
        found: sqlite3.Row = cursor.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
        return found

    def _guarded(self, number: int, deliver: Callable[[sqlite3.Row, Target], bool]) -> bool:
        run = self._run(number)
        uri = run["uri"]
        until, pause = self._paused.get(uri, (0.0, 0.5))
        if time.monotonic() < until:
            return False
        try:
            self._targets.prepare(run)
            self._touch(uri)
            if uri in self.errors:
                self._targets.probe(uri)
            target = self._targets.of(run)
            self._touch(uri)
            sent = deliver(run, target)
        except sqlite3.Error:
            raise  # the ledger's own: MLflow wraps those of its database
        except Exception as error:  # whatever MLflow raises: the executions stay in the ledger, and it is tried again
            self._failed(run, error, pause)
            return False
        if self._paused.pop(uri, None):
            self.errors.pop(uri, None)
        return sent

    def _failed(self, run: sqlite3.Row, error: Exception, pause: float) -> None:
        uri = run["uri"]
        if is_busy(error):
            self._paused[uri] = (time.monotonic() + _BUSY_PAUSE, pause)
            return
        if self._targets.is_gone(run, error):
            self._targets.forget(run["id"])
        pause = min(_LONGEST_PAUSE, pause * 2)
        self._paused[uri] = (time.monotonic() + pause, pause)
        count = self.errors.get(uri, {"count": 0})["count"] + 1
        self.last_error = {"uri": uri, "error": self._described(error), "at": time.time()}
        self.errors[uri] = {"error": self.last_error["error"], "count": count}

    def _described(self, error: Exception) -> str:
        if (cause := _network_error(error)) is not None:
            return f"{type(cause).__name__}: {cause}"  # what MLflow makes of it is ten times as long
        # Only what MLflow's own errors say: a database driver's would quote the statement with its values.
        lines = str(error).splitlines() if isinstance(error, MlflowException) or not _quotes_values(error) else []
        first = lines[0][:300] if lines else "details left out"
        return f"{type(error).__name__}: {self._targets.hide(first)}"

    def _deliver(self, run: sqlite3.Row, target: Target) -> bool:
        self._delivered_at[run["id"]] = time.monotonic()
        while deliver_rows(self._ledger, run, target):
            self._touch(run["uri"])
        self._touch(run["uri"])
        deliver_metrics(self._ledger, run, target)
        self._touch(run["uri"])
        self._deliver_traces(run, target)
        self._touch(run["uri"])
        self._deliver_feedback(run, target)
        self._deliver_optimizations(run, target)
        if run["ending_seq"] is not None and not self._has_due(run):
            deliver_ending(self._ledger, run, target)
        return True

    def _touch(self, uri: str) -> None:
        """Note that the store is talked to from now on: how long one of its answers takes tells whether it hangs."""
        self.contact = uri
        self._on_contact()

    def _has_due(self, run: sqlite3.Row) -> bool:
        query = "SELECT count(*) FROM due WHERE run = ?"
        return bool(self._ledger.sql.execute(query, (run["id"],)).fetchone()[0] > 1)  # the ending itself is one

    def _deliver_traces(self, run: sqlite3.Row, target: Target) -> bool:
        waiting = self._ledger.sql.execute(
            "SELECT id, data FROM traces WHERE run = ? AND parent IS NULL ORDER BY seq LIMIT ?", (run["id"], _TRACES)
        ).fetchall()
        if not waiting:
            return False
        try:
            deliver_traces(target, [self._with_steps(orjson.loads(data)) for _, data in waiting])
        except MlflowException as error:
            if error.error_code not in _UNACCEPTABLE:
                raise
            for identifier, data in waiting:
                self._accept_or_count(run, target, identifier, self._with_steps(orjson.loads(data)))
        with self._ledger.transaction():
            self._ledger.sql.executemany(
                "DELETE FROM traces WHERE run = ?1 AND (id = ?2 OR parent = ?2)",
                [(run["id"], identifier) for identifier, _ in waiting],
            )
        return True

    def _with_steps(self, record: dict[str, Any]) -> dict[str, Any]:
        if record["k"] == "o":
            steps = self._ledger.column("SELECT data FROM traces WHERE parent = ? ORDER BY began", record["id"])
            record["steps"] = [orjson.loads(data) for data in steps]
        return record

    def _accept_or_count(self, run: sqlite3.Row, target: Target, identifier: str, record: Mapping[str, Any]) -> None:
        """Send one trace of a batch that MLflow found unacceptable; one that it will never take is counted."""
        try:
            deliver_traces(target, [record])
        except MlflowException as error:
            if error.error_code not in _UNACCEPTABLE:
                raise
            self.last_error = {
                "uri": run["uri"],
                "error": f"trace of execution {identifier} was rejected: {self._described(error)}",
                "at": time.time(),
            }
            with self._ledger.transaction():
                self._ledger.count("traces_rejected", 1)

    def _deliver_feedback(self, run: sqlite3.Row, target: Target) -> None:
        for seq, data in self._ledger.sql.execute(
            "SELECT seq, data FROM feedback WHERE run = ? ORDER BY seq", (run["id"],)
        ).fetchall():
            feedback = orjson.loads(data)
            if self._trace_waits(feedback["id"]):
                continue  # its trace comes first
            deliver_feedback(target, feedback)
            with self._ledger.transaction():
                self._ledger.sql.execute("DELETE FROM feedback WHERE seq = ?", (seq,))

    def _deliver_optimizations(self, run: sqlite3.Row, target: Target) -> None:
        for seq, data in self._ledger.sql.execute(
            "SELECT seq, data FROM optimizations WHERE run = ? ORDER BY seq", (run["id"],)
        ).fetchall():
            deliver_optimization(target, orjson.loads(data))
            with self._ledger.transaction():
                self._ledger.sql.execute("DELETE FROM optimizations WHERE seq = ?", (seq,))

    def _trace_waits(self, execution_id: str) -> bool:
        found = self._ledger.sql.execute("SELECT 1 FROM traces WHERE id = ? LIMIT 1", (execution_id,)).fetchone()
        return found is not None


def _network_error(error: BaseException) -> OSError | None:
    """Return what the operating system said of the connection, None where it is not to blame."""
    found, seen = None, 0
    next_one: BaseException | None = error
    while next_one is not None and seen < _DEEPEST:
        if isinstance(next_one, (ConnectionError, TimeoutError, socket.gaierror)) and type(next_one).__module__ in (
            "builtins",
            "socket",
        ):
            found = next_one
        next_one, seen = next_one.__cause__ or next_one.__context__, seen + 1
    return found


def _quotes_values(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg", "psycopg2", "pymysql")
