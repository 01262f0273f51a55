"""Trackers of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.events import ExecutionFinished
from hokusai_core.feedback import KeptExecution
from hokusai_core.testing.trackers import TrackerConformance


class FileTracker:
    """A tracker that is right: it spools each execution as a line, and delivers lines to another file."""

    fork_safe = True

    def __init__(self, folder: Path) -> None:
        self.spool, self.target = folder / "spool", folder / "target" / "executions"
        self.counts = {"accepted": 0, "delivered": 0}
        self.last_error: str | None = None
        self.lock = threading.Lock()

    def describe(self, event: Any) -> dict[str, Any]:
        return {name: getattr(event, name) for name in ("execution_id", "signature", "status", "inputs", "outputs",
                "model", "started_at", "latency", "cost", "signature_version", "fingerprint")}  # fmt: skip

    def encode(self, event: Any) -> bytes:
        return json.dumps(self.describe(event), default=repr).encode() + b"\n"

    def wanted(self, event: Any) -> bool:
        return isinstance(event, ExecutionFinished)

    def record(self, event: Any) -> None:
        if self.wanted(event):
            self.append(self.encode(event))
            self.counts["accepted"] += 1

    def append(self, line: bytes) -> None:
        file = os.open(self.spool, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line)
        os.close(file)

    def flush(self, timeout: float | None = None) -> bool:
        with self.lock:
            try:
                return self.deliver()
            except OSError as error:
                self.last_error = str(error)
                return False

    def deliver(self) -> bool:
        if not self.spool.exists():
            return True
        with open(self.target, "ab") as target:
            taken = self.spool.with_name("taken")
            self.spool.rename(taken)
            target.write(taken.read_bytes())
            taken.unlink()
        self.counts["delivered"] = self.counts["accepted"]
        return True

    async def aflush(self, timeout: float | None = None) -> bool:
        return await asyncio.to_thread(self.flush, timeout)

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        self.flush()
        rows = [json.loads(line) for line in self.target.read_bytes().splitlines()] if self.target.exists() else []
        names = ("execution_id", "signature", "signature_version", "fingerprint", "inputs", "outputs", "model",
                 "started_at", "latency", "cost")  # fmt: skip
        for row in self.order(rows):
            if (since is None or row["started_at"] >= since) and self.named(row["signature"], signature):
                yield KeptExecution(**{name: row[name] for name in names})

    def order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: float(row["started_at"]))

    def named(self, name: str, wanted: str | None) -> bool:
        return wanted is None or name == wanted or name.endswith(f"/{wanted}")

    def status(self) -> Mapping[str, Any]:
        waiting = len(self.spool.read_bytes().splitlines()) if self.spool.exists() else 0
        return {**self.counts, "backlog": waiting, "last_error": self.last_error}

    def close(self) -> None:
        self.flush()


class OnlySuccesses(FileTracker):
    def wanted(self, event: Any) -> bool:
        return super().wanted(event) and event.status == "ok"


class OnlyPaid(FileTracker):
    def wanted(self, event: Any) -> bool:
        return super().wanted(event) and not event.cached


class DeliversAgain(FileTracker):
    def deliver(self) -> bool:
        kept = self.spool.read_bytes() if self.spool.exists() else b""
        try:
            return super().deliver()
        finally:
            self.spool.write_bytes(kept)


class OperationsAreExecutions(FileTracker):
    def wanted(self, event: Any) -> bool:
        return hasattr(event, "status")

    def describe(self, event: Any) -> dict[str, Any]:
        names = ("execution_id", "operation_id", "optimization_id", "evaluation_id")
        found = next(getattr(event, name) for name in names if hasattr(event, name))
        return {"execution_id": found, "signature": getattr(event, "signature", ""), "status": event.status}


class FailsOnLaterEvents(FileTracker):
    known = ("ExecutionFinished", "OperationFinished", "FeedbackGiven", "OutcomeRecorded", "OptimizationFinished",
             "EvaluationFinished")  # fmt: skip

    def wanted(self, event: Any) -> bool:
        return self.known.index(type(event).__name__) == 0


class LaterEventsAreExecutions(FileTracker):
    def wanted(self, event: Any) -> bool:
        return hasattr(event, "execution_id") and not hasattr(event, "given_at") and not hasattr(event, "recorded_at")

    def describe(self, event: Any) -> dict[str, Any]:
        return {name: getattr(event, name) for name in ("execution_id", "signature", "status")}


class OnlyPlainJson(FileTracker):
    def encode(self, event: Any) -> bytes:
        return json.dumps(self.describe(event)).encode() + b"\n"


class OnlyUtf8(FileTracker):
    def encode(self, event: Any) -> bytes:
        return json.dumps(self.describe(event), default=repr, ensure_ascii=False).encode() + b"\n"


class LinesMix(FileTracker):
    """A value with a line break ends the line."""

    def encode(self, event: Any) -> bytes:
        return super().encode(event).replace(b"\\n", b"\n")


class SendsAtOnce(FileTracker):
    def record(self, event: Any) -> None:
        time.sleep(0.001)  # a request
        super().record(event)


class ComputesAtOnce(FileTracker):
    def record(self, event: Any) -> None:
        until = time.thread_time() + 0.008
        while time.thread_time() < until:
            pass
        super().record(event)


class SharesABuffer(FileTracker):
    """Two threads fill it at once."""

    line = b""

    def record(self, event: Any) -> None:
        self.line = self.encode(event) if self.wanted(event) else b""
        time.sleep(0)
        super().append(self.line)
        self.counts["accepted"] += bool(self.line)


class BuffersInMemory(FileTracker):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting: list[bytes] = []

    def append(self, line: bytes) -> None:
        self.waiting.append(line)

    def deliver(self) -> bool:
        waiting, self.waiting = self.waiting, []
        for line in waiting:
            super().append(line)
        return super().deliver()

    def status(self) -> Mapping[str, Any]:
        return {**super().status(), "backlog": len(self.waiting)}


class LosesItsBufferWhenClosed(BuffersInMemory):
    def close(self) -> None:
        self.waiting = []


class OnlyForItsProcess(FileTracker):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def record(self, event: Any) -> None:
        if os.getpid() == self.process:
            super().record(event)


class BlockingFlush(FileTracker):
    async def aflush(self, timeout: float | None = None) -> bool:
        return self.flush(timeout)


class FlushDoesNotWait(FileTracker):
    async def aflush(self, timeout: float | None = None) -> bool:
        return True


class SaysNothing(FileTracker):
    def flush(self, timeout: float | None = None) -> Any:
        super().flush(timeout)


class CannotCloseTwice(FileTracker):
    def close(self) -> None:
        super().close()
        del self.spool


class FiguresAreObjects(FileTracker):
    def status(self) -> Mapping[str, Any]:
        return {**super().status(), "spool": self.spool}


class FiguresAreMissing(FileTracker):
    def status(self) -> Mapping[str, Any]:
        return {"accepted": self.counts["accepted"]}


class CountsNothing(FileTracker):
    def status(self) -> Mapping[str, Any]:
        return {**super().status(), "accepted": 0}


class SearchIsUnsorted(FileTracker):
    def order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows


class SearchNeedsThePack(FileTracker):
    def named(self, name: str, wanted: str | None) -> bool:
        return wanted is None or name == wanted


class ChangesTheEvent(FileTracker):
    def encode(self, event: Any) -> bytes:
        event.inputs.pop("password", None)
        event.inputs["name"] = str(event.inputs.get("name"))
        return super().encode(event)


class KeepsLiveValues(FileTracker):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept: dict[str, Any] = {}

    def encode(self, event: Any) -> bytes:
        self.kept[event.execution_id] = event.inputs
        return super().encode(event)

    def order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return super().order([{**row, "inputs": self.kept[row["execution_id"]]} for row in rows])


class Chatty(FileTracker):
    def record(self, event: Any) -> None:
        super().record(event)
        os.write(1, b"recorded\n")


class OutageStopsExecutions(FileTracker):
    def append(self, line: bytes) -> None:
        self.target.parent.stat()
        super().append(line)


class OutageIsWaitedFor(FileTracker):
    def deliver(self) -> bool:
        until = time.monotonic() + 1.1
        while not self.target.parent.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return super().deliver()


class OutageIsASuccess(FileTracker):
    def flush(self, timeout: float | None = None) -> bool:
        super().flush(timeout)
        return True


class OutageLosesEvents(FileTracker):
    def flush(self, timeout: float | None = None) -> bool:
        done = super().flush(timeout)
        self.spool.unlink(missing_ok=True)
        return done


class OutageIsNotTold(FileTracker):
    def status(self) -> Mapping[str, Any]:
        return {**super().status(), "last_error": None}


class LeavesAThread(FileTracker):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        threading.Thread(target=END.wait, daemon=True).start()


END = threading.Event()


class Suite(TrackerConformance):
    @pytest.fixture
    def make_tracker(self, planted: Any, tmp_path: Path) -> Callable[[], Any]:
        (tmp_path / "target").mkdir(exist_ok=True)
        return lambda: planted(tmp_path)

    @pytest.fixture
    def read_executions(self, tmp_path: Path) -> Callable[[], Any]:
        path = tmp_path / "target" / "executions"
        return lambda: [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], Any]:
        @contextmanager
        def away() -> Iterator[None]:
            (tmp_path / "target").rename(tmp_path / "elsewhere")
            yield
            (tmp_path / "elsewhere").rename(tmp_path / "target")

        return away


GOOD = FileTracker
FAULTS = [
    OnlySuccesses, OnlyPaid, DeliversAgain, OperationsAreExecutions, FailsOnLaterEvents, LaterEventsAreExecutions,
    OnlyPlainJson, OnlyUtf8, LinesMix, SendsAtOnce, ComputesAtOnce, SharesABuffer, BuffersInMemory,
    LosesItsBufferWhenClosed, OnlyForItsProcess, BlockingFlush, FlushDoesNotWait, SaysNothing, CannotCloseTwice,
    FiguresAreObjects, FiguresAreMissing, CountsNothing, SearchIsUnsorted, SearchNeedsThePack, ChangesTheEvent,
    KeepsLiveValues, Chatty, OutageStopsExecutions, OutageIsWaitedFor, OutageIsASuccess, OutageLosesEvents,
    OutageIsNotTold, LeavesAThread,
]  # fmt: skip


def clean_up() -> None:
    END.set()
