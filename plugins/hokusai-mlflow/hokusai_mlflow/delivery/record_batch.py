"""Sorts the records of a chunk by what MLflow gets of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from attrs import define, field

from hokusai_mlflow.delivery.execution_table import EXECUTIONS, OPERATIONS, operation_row_of, row_of, trace_id_of
from hokusai_mlflow.delivery.outbox_reader import Chunk
from hokusai_mlflow.delivery.run_totals import RunSums, parameters_of
from hokusai_mlflow.delivery.trace_sampler import GROUPED

__all__ = ["Decide", "RecordBatch", "TracePart"]

#: Takes a record, how many traces wait before it, and what was decided for its operation; returns whether it is traced.
Decide = Callable[[Mapping[str, Any], int, bool | None], bool]
_TAKEN_OVER: Final[Mapping[Any, bool]] = {"row": False, "trace": True}
#: Operations under way that are remembered for a target.
_OPERATIONS: Final = 10_000


@define
class TracePart:
    """What becomes of a record in MLflow's traces.

    Args:
        role: ``trace`` for one of its own; ``step`` for spans in the trace of its chain or pipeline; ``row`` for a span
            in the trace of its batch, beside its own trace.
        record: the execution or operation.
    """

    role: Literal["trace", "step", "row"]
    record: Mapping[str, Any]


@define
class RecordBatch:
    """The records of a chunk.

    Args:
        operations: batches, chains and pipelines that are not over; as they are after this chunk.
        signatures: those whose parameters are known; likewise.
        counted: executions at the beginning that were counted before.
        host: whether the run is the host's, which gets the inputs of first executions as parameters.
        rows: table -> offset, row and whether it has a trace.
        traces: parts of traces.
        feedback: ratings.
        optimizations: optimizations.
        evaluations: evaluations.
        prompts: prompts of signatures.
        parameters: new parameters of the run.
        sums: sums over the executions.
        traced: a digit for each execution and operation: 1 where it has a trace.
        ended: whether a tracker said that the run is over.
    """

    operations: dict[str, dict[str, Any]]
    signatures: list[str]
    counted: int
    host: bool
    rows: dict[str, list[tuple[int, bytes, bool]]] = field(factory=lambda: {EXECUTIONS: [], OPERATIONS: []})
    traces: list[TracePart] = field(factory=list)
    feedback: list[Mapping[str, Any]] = field(factory=list)
    optimizations: list[Mapping[str, Any]] = field(factory=list)
    evaluations: list[Mapping[str, Any]] = field(factory=list)
    prompts: list[Mapping[str, Any]] = field(factory=list)
    parameters: dict[str, str] = field(factory=dict)
    sums: RunSums = field(factory=RunSums)
    traced: str = ""
    ended: bool = False

    def add(self, chunk: Chunk, decide: Decide) -> None:
        """Sort the records of ``chunk``; ``decide`` says which of them get a trace."""
        for offset, record in chunk.records:
            match record["k"]:
                case "e":
                    self._add_execution(offset, record, decide)
                case "o":
                    self._add_operation(offset, record, decide)
                case "f":
                    self.feedback.append(record)
                case "s":
                    self.optimizations.append(record)
                case "v":
                    self.evaluations.append(record)
                case "p":
                    self.prompts.append(record)
                case "r":
                    self.sums.refused += record["n"]
                case "x":
                    self.ended = True

    def _add_execution(self, offset: int, record: Mapping[str, Any], decide: Decide) -> None:
        parent, kind = record.get("par"), record.get("pk")
        operation = self.operations.get(parent) if parent else None
        known = operation["traced"] if operation is not None and kind in GROUPED else None
        traced = self._note(record, decide(record, len(self.traces), known))
        if parent and kind:
            self._remember(parent, kind, record, traced)
        trace = trace_id_of(parent if parent and kind in GROUPED else record["id"]) if traced else None
        if record.get("only") != "trace":
            self.rows[EXECUTIONS].append((offset, row_of(record, trace), traced))
        if traced and kind in GROUPED:
            self.traces.append(TracePart("step", record))
        elif traced:
            self.traces.append(TracePart("trace", record))
            if parent and kind:
                self.traces.append(TracePart("row", record))
        if record["sig"] not in self.signatures:
            self.signatures.append(record["sig"])
            for name, value in parameters_of(record, inputs=self.host):
                self.parameters.setdefault(name, value)
        if record.get("only") == "trace":
            return
        if self.counted:
            self.counted -= 1
        else:
            self.sums.add(record, traced)

    def _add_operation(self, offset: int, record: Mapping[str, Any], decide: Decide) -> None:
        operation = self.operations.pop(record["id"], None)
        # Where one of its executions has a trace, so has the operation.
        known = None if operation is None else operation["traced"] or (None if record["kind"] not in GROUPED else False)
        traced = self._note(record, decide(record, len(self.traces), known))
        if record.get("only") != "trace":
            trace = trace_id_of(record["id"]) if traced else None
            self.rows[OPERATIONS].append((offset, operation_row_of(record, trace), traced))
        if traced:
            self.traces.append(TracePart("trace", record))

    def _remember(self, parent: str, kind: str, record: Mapping[str, Any], traced: bool) -> None:
        operation = self.operations.setdefault(parent, {"kind": kind, "began": record["t0"], "traced": False})
        operation["traced"] |= traced
        if len(self.operations) > _OPERATIONS:
            del self.operations[next(iter(self.operations))]

    def _note(self, record: Mapping[str, Any], traced: bool) -> bool:
        # What was taken over from version 0.1 says so where MLflow has a part of it already.
        traced = _TAKEN_OVER.get(record.get("only"), traced)
        self.traced += "1" if traced else "0"
        return traced
