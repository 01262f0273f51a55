"""Delivers one target, a chunk of a segment at a time: fix what is sent, send it, note that it is sent.

Rows and metrics of all that waits come first. Traces, feedback and optimizations are owed, and follow in order.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlflow.exceptions import MlflowException

from hokusai_core.errors import HokusaiError
from hokusai_core.plugin_api import OutboxFolder
from hokusai_mlflow.delivery.execution_table import (
    EXECUTIONS,
    OPERATIONS,
    PART_BYTES,
    PART_ROWS,
    part_name,
    part_of,
)
from hokusai_mlflow.delivery.failures import concerns_address
from hokusai_mlflow.delivery.mlflow_evaluations import write_evaluation_runs
from hokusai_mlflow.delivery.mlflow_feedback import write_feedback
from hokusai_mlflow.delivery.mlflow_optimizations import write_optimization_run
from hokusai_mlflow.delivery.mlflow_prompts import PromptVersions
from hokusai_mlflow.delivery.mlflow_runs import Target, Targets
from hokusai_mlflow.delivery.mlflow_table import write_metrics, write_parts
from hokusai_mlflow.delivery.mlflow_traces import interrupted, write_traces
from hokusai_mlflow.delivery.outbox_reader import Chunk, is_waiting, read_chunk, read_header
from hokusai_mlflow.delivery.record_batch import RecordBatch
from hokusai_mlflow.delivery.run_totals import advance
from hokusai_mlflow.delivery.trace_sampler import TraceSampler
from hokusai_mlflow.target_state import TargetState, read_offsets

__all__ = ["TargetDelivery", "TraceWaits"]

#: Traces that one call carries: a fraction of a second's work, so that a silent store is noticed.
_TRACES: Final = 25
_TABLES: Final = (EXECUTIONS, OPERATIONS)
#: Kinds of records that MLflow gets something of.
_CONTENT: Final = frozenset("eofsvrp")
#: Seconds for which feedback waits for its execution.
_PATIENCE: Final = 60.0


class TraceWaits(Exception):
    """Feedback arrived before its execution, which waits in another segment."""


class TargetDelivery:
    """The delivery of one target.

    Args:
        folder: the spool folder.
        key: the target.
        segment: name of one of its segments.
        targets: finds its run.
        sampler: decides which executions get a trace.
        prompts: the prompts in the registry of the store.
        touch: called before the store is talked to.
        reject: called with an error that concerns one object only, which is left out.
        count: called with counter and amount, for figures.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        segment: str,
        targets: Targets,
        sampler: TraceSampler,
        prompts: PromptVersions,
        *,
        touch: Callable[[str], None],
        reject: Callable[[str, str, Exception], None],
        count: Callable[[str, int], None],
    ) -> None:
        self._folder, self.key, self._targets, self._sampler = folder, key, targets, sampler
        self._prompts = prompts
        self._outbox = OutboxFolder(folder)
        self._touch, self._reject, self._count = touch, reject, count
        self.state = TargetState.load(folder, key, read_header(self._outbox, segment))
        #: Segment and table -> rows of the part that still grows; read again where they are not known.
        self._rows: dict[tuple[str, str], list[bytes]] = {}
        #: Feedback that waits for its execution -> since when.
        self._waiting: dict[str, float] = {}
        #: What is owed first, and what is left of it.
        self._owed: tuple[dict[str, Any], RecordBatch] | None = None

    @property
    def uri(self) -> str:
        """The store's address, without credentials."""
        return str(self.state.description["uri"])

    @property
    def name(self) -> str:
        """The name or id of the run."""
        return str(self.state.description["run_id"] or self.state.description["run_name"])

    def find(self, segments: list[str]) -> None:
        """Take note of the segments that there are."""
        known = self.state.segments
        for name in known.keys() - set(segments):
            del known[name]
            for table in _TABLES:
                self._rows.pop((name, table), None)
        for name in segments:
            known.setdefault(name, {"offset": 0, "counted": 0, "parts": {}})
        if self.state.pending is not None and self.state.pending["segment"] not in known:
            self.state.pending = None
        self.state.owed = [one for one in self.state.owed if one["segment"] in known]

    def has_more(self) -> bool:
        """Return whether something is not delivered yet."""
        return self.has_rows() or bool(self.state.owed)

    def has_rows(self) -> bool:
        """Return whether rows are not delivered yet."""
        return self.state.pending is not None or self.backlog() > 0

    def backlog(self) -> int:
        """Return how many bytes are not delivered yet."""
        return sum(size - self.state.segments[name]["offset"] for name, size in self._sizes())

    def quiet_for(self) -> float:
        """Return for how many seconds nothing was appended."""
        return time.time() - max((stat.st_mtime for _, stat in self._stats()), default=0.0)

    def deliver_rows(self) -> bool:
        """Deliver rows, metrics and parameters of a chunk; return whether there was one.

        Raises:
            RunGone, MlflowException, OSError: it was not possible; what was fixed is sent again the next time.
        """
        for name, size in self._sizes():
            segment = self.state.segments[name]
            pending = self.state.pending
            if (pending is None and size > segment["offset"]) or (pending and pending["segment"] == name):
                chunk = self._read(name)
                if chunk.end > chunk.start:
                    self._deliver(name, chunk)
                    return True
        return False

    def deliver_traces(self) -> bool:
        """Deliver some of the traces that are owed, and what belongs to them; return whether there were any.

        Raises:
            TraceWaits, RunGone, MlflowException, OSError: it was not possible.
        """
        if not self.state.owed:
            return False
        owed = self.state.owed[0]
        if self._owed is None or self._owed[0] != owed:
            fixed = iter(owed["traced"])
            batch = RecordBatch({}, [], 0, host=False)
            chunk = read_chunk(self._outbox, owed["segment"], owed["start"], end=owed["end"])
            batch.add(chunk, lambda *_: next(fixed) == "1")
            self._owed = (owed, batch)
        batch = self._owed[1]
        self._touch(self.uri)
        target = self._targets.of(self.state)
        while batch.prompts:  # before the traces, which are linked to them
            prompt = batch.prompts[0]
            self._send_one(self.state, f"prompt of {prompt['name']}", partial(self._prompts.register, target, prompt))
            del batch.prompts[0]
        if batch.traces:
            self._send_traces(target, batch.traces[:_TRACES])
            del batch.traces[:_TRACES]  # in memory only: sent again after a crash, a trace stays one
        if batch.traces:
            return True
        self._send_others(target, batch, owed)
        self.state.owed = self.state.owed[1:]
        self.state.save()
        return True

    def finish(self) -> bool:
        """Delete segments that are delivered and have no owner any more; return whether none are left."""
        done = [n for n, s in self.state.segments.items() if self._outbox.is_finished(n, s["offset"])]
        if len(done) == len(self.state.segments):
            self._end_run()
        for name in done:
            torn = self._outbox.segment(name).stat().st_size > self.state.segments[name]["offset"]
            self._count("damaged", int(torn))
            self._outbox.remove(name)
        self.find([name for name in self.state.segments if name not in done])
        if not self.state.segments:
            self.state.delete()
        elif done:
            self.state.save()
        return not self.state.segments

    # -- one chunk ------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> Chunk:
        pending = self.state.pending
        if pending is not None:
            return read_chunk(self._outbox, name, pending["start"], end=pending["end"])
        return read_chunk(self._outbox, name, self.state.segments[name]["offset"])

    def _deliver(self, name: str, chunk: Chunk) -> None:
        state = self.state
        if any(record["k"] in _CONTENT for _, record in chunk.records):
            self._touch(self.uri)
            # Before the chunk is sorted: what the run holds already decides what is counted, and what is sent again.
            target = self._targets.of(state)
            batch = self._sort(name, chunk)
            if state.pending is None:
                self._fix(name, chunk, batch)
            self._commit(name, chunk, batch, self._send(target, name, batch))
        else:
            state.segments[name]["offset"] = chunk.end
            state.ended |= any(record["k"] == "x" for _, record in chunk.records)
            state.save()

    def _sort(self, name: str, chunk: Chunk) -> RecordBatch:
        state = self.state
        batch = RecordBatch(
            copy.deepcopy(state.operations),
            list(state.signatures),
            state.segments[name]["counted"],
            host=state.description["run_id"] is not None and state.instead_of is None,
        )
        if state.pending is not None:
            fixed = iter(state.pending["traced"])
            batch.add(chunk, lambda *_: next(fixed) == "1")
        else:
            takes, header = self._sampler.takes, state.description
            before = sum(one["traced"].count("1") for one in state.owed)
            batch.add(chunk, lambda record, waiting, known: takes(record, self.key, header, before + waiting, known))
        if state.daily:  # a parameter has one value; the executions of a day have many, which table and traces hold
            batch.parameters.clear()
        return batch

    def _fix(self, name: str, chunk: Chunk, batch: RecordBatch) -> None:
        totals, metrics = advance(self.state.totals, batch.sums)
        self.state.pending = {
            "segment": name,
            "start": chunk.start,
            "end": chunk.end,
            "traced": batch.traced,
            "at": int(time.time() * 1000),
            "totals": totals,
            "metrics": metrics,
        }
        self.state.save()

    def _commit(self, name: str, chunk: Chunk, batch: RecordBatch, parts: dict[str, Any]) -> None:
        state, segment = self.state, self.state.segments[name]
        pending, state.pending = state.pending, None
        assert pending is not None  # noqa: S101  # for the type checker
        segment.update(offset=chunk.end, counted=batch.counted, parts=parts)
        state.totals, state.signatures, state.operations = pending["totals"], batch.signatures, batch.operations
        if batch.traces or batch.feedback or batch.optimizations or batch.evaluations or batch.prompts:
            state.owed.append({key: pending[key] for key in ("segment", "start", "end", "traced")})
        state.ended |= batch.ended
        state.save()
        self._count("delivered", batch.sums.executions)
        self._count("traces_sampled_away", batch.sums.executions - batch.sums.traces)
        self._count("refused", batch.sums.refused)
        self._count("damaged", chunk.damaged)

    # -- sending --------------------------------------------------------------------------------------------------

    def _send(self, target: Target, name: str, batch: RecordBatch) -> dict[str, Any]:
        pending = self.state.pending
        assert pending is not None  # noqa: S101  # for the type checker
        files, parts = self._parts(name, batch)
        write_parts(target, files)
        self._touch(self.uri)
        write_metrics(
            target, pending["metrics"], batch.parameters, step=pending["totals"]["executions"], at=pending["at"]
        )
        return parts

    def _send_others(self, target: Target, batch: RecordBatch, owed: Mapping[str, Any]) -> None:
        state = self.state
        while batch.feedback:
            feedback = batch.feedback[0]
            self._touch(self.uri)
            self._send_one(state, f"feedback on {feedback['id']}", partial(self._send_feedback, target, feedback, owed))
            del batch.feedback[0]
        for record in batch.optimizations:
            self._touch(self.uri)
            send = partial(write_optimization_run, target, record, self._prompts)
            self._send_one(state, f"optimization {record['id']}", send)
        for record in batch.evaluations:
            touch = partial(self._touch, self.uri)
            self._send_one(state, f"evaluation {record['id']}", partial(write_evaluation_runs, target, record, touch))

    def _send_traces(self, target: Target, traces: list[Any]) -> None:
        try:
            write_traces(target, traces, prompts=self._prompts)
        except MlflowException as error:
            if concerns_address(error) or self._targets.is_gone(self.state, error):
                raise
            for one in traces:  # MLflow does not say which of them it does not accept
                send = partial(write_traces, target, [one], prompts=self._prompts)
                self._send_one(self.state, f"trace of {one.record['id']}", send)

    def _send_feedback(self, target: Target, feedback: Mapping[str, Any], owed: Mapping[str, Any]) -> None:
        offsets = read_offsets(self._folder) | {owed["segment"]: owed["end"]}  # the traces before it are sent

        def waits(execution_id: str) -> bool:
            since = self._waiting.setdefault(execution_id, time.monotonic())
            return time.monotonic() - since < _PATIENCE and is_waiting(self._outbox, execution_id, offsets)

        if not write_feedback(target, feedback, waits):
            raise TraceWaits(f"execution {feedback['id']} is not delivered yet")
        self._waiting.pop(feedback["id"], None)

    def _send_one(self, state: TargetState, what: str, send: Callable[[], object]) -> None:
        """Send one object; one that MLflow will never accept is left out and counted."""
        try:
            send()
        except (MlflowException, HokusaiError, ValueError, TypeError, KeyError) as error:
            if concerns_address(error) or self._targets.is_gone(state, error):
                raise
            self._reject(self.uri, what, error)

    def _parts(self, name: str, batch: RecordBatch) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Return the artifacts that the rows of ``batch`` change, and the parts that still grow afterwards."""
        files: dict[str, bytes] = {}
        parts: dict[str, Any] = copy.deepcopy(self.state.segments[name]["parts"])
        for table in _TABLES:
            if not batch.rows[table]:
                continue
            part = parts.setdefault(table, {"number": 1, "start": batch.rows[table][0][0], "traced": ""})
            rows = self._grown(name, table, part)
            size = sum(map(len, rows))
            for offset, row, traced in batch.rows[table]:
                if len(rows) >= PART_ROWS or (rows and size + len(row) > PART_BYTES):
                    files[f"{table}/{part_name(name, part['number'])}"] = part_of(table, rows)
                    rows, size = [], 0
                    part.update(number=part["number"] + 1, start=offset, traced="")
                rows.append(row)
                size += len(row)
                part["traced"] += "1" if traced else "0"
            files[f"{table}/{part_name(name, part['number'])}"] = part_of(table, rows)
            self._rows[name, table] = rows
        return files, parts

    def _grown(self, name: str, table: str, part: dict[str, Any]) -> list[bytes]:
        """Return the rows that a part has, from memory or, after a crash, from the segment."""
        known = self._rows.pop((name, table), None)
        count = len(part["traced"])
        if not count:
            return []
        if known is not None and len(known) == count:
            return known
        chunk = read_chunk(self._outbox, name, part["start"], end=self.state.segments[name]["offset"])
        fixed = iter(part["traced"])
        again = RecordBatch({}, [], 0, host=False)
        again.add(_rows_of(chunk, table), lambda *_: next(fixed, "0") == "1")
        return [row for _, row, _ in again.rows[table]][:count]

    # -- the end --------------------------------------------------------------------------------------------------

    def _end_run(self) -> None:
        """Say that a run of an executor's own is over, and what was under way in it."""
        state = self.state
        if state.run is None:
            return
        self._touch(self.uri)
        target = self._targets.of(state)
        cut_off = {key: one for key, one in state.operations.items() if one["traced"]}
        if cut_off:
            write_traces(target, [interrupted(key, one) for key, one in cut_off.items()])
        if state.description["run_id"] is None or state.instead_of:
            try:
                ended = state.ended or state.daily  # the death of one process is not the end of a day
                target.client.set_terminated(target.run_id, "FINISHED" if ended else "KILLED")
            except MlflowException as error:
                if not self._targets.is_gone(state, error):
                    raise

    def _sizes(self) -> Iterator[tuple[str, int]]:
        return ((name, stat.st_size) for name, stat in self._stats())

    def _stats(self) -> Iterator[tuple[str, os.stat_result]]:
        for name in list(self.state.segments):
            with contextlib.suppress(FileNotFoundError):
                yield name, self._outbox.segment(name).stat()


def _rows_of(chunk: Chunk, table: str) -> Chunk:
    """Return the records of a chunk that are rows of a table."""
    kind = "e" if table == EXECUTIONS else "o"
    rows = [(at, one) for at, one in chunk.records if one["k"] == kind and one.get("only") != "trace"]
    return Chunk(chunk.start, chunk.end, rows)
