"""Feedback stores of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from hokusai_core.errors import ExecutionNotFoundError
from hokusai_core.events import FeedbackGiven, OutcomeRecorded
from hokusai_core.feedback import KeptExecution
from hokusai_core.testing.feedback_stores import FeedbackStoreConformance

#: What of an execution is kept as it is.
NAMES = ("execution_id", "signature", "signature_version", "fingerprint", "inputs", "outputs", "model", "started_at")


class FileStore:
    """A store that is right: one JSON file under a lock, replaced at each change."""

    fork_safe = True

    def __init__(self, folder: Path) -> None:
        self.path, self.guard = folder / "feedback.json", folder / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        with open(self.guard, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.path.read_bytes()) if self.path.exists() else {}
        return loaded

    def save(self, rows: dict[str, Any]) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(rows))
        temporary.replace(self.path)

    @contextmanager
    def changed(self) -> Iterator[dict[str, Any]]:
        with self.locked():
            rows = self.load()
            yield rows
            self.save(rows)

    def keep(self, execution: Any, signature: Any) -> None:
        with self.changed() as rows:
            old = rows.get(execution.execution_id, {"feedback": [], "outcomes": []})
            kept = {name: getattr(execution, name) for name in NAMES}
            rows[execution.execution_id] = self.replaced(old, {**kept, "spec": signature.to_dict()})

    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **new}

    def encode(self, feedback: Any) -> dict[str, Any]:
        return attrs.asdict(feedback)

    def add(self, feedback: Any) -> None:
        self.append("feedback", feedback)

    def add_outcome(self, outcome: Any) -> None:
        self.append("outcomes", outcome)

    def append(self, what: str, given: Any) -> None:
        with self.changed() as rows:
            if given.execution_id not in rows:
                raise ExecutionNotFoundError(f"execution {given.execution_id!r} is not kept")
            rows[given.execution_id][what].append(self.encode(given))

    def outcome_direction(self, signature: str, name: str) -> bool | None:
        found = [one for row in self.load().values() if row["signature"] == signature for one in row["outcomes"]]
        return next((bool(one["higher_is_better"]) for one in found if one["name"] == name), None)

    def read(
        self, *, execution_id: str | None = None, signature: str | None = None, rated: bool | None = None
    ) -> Iterator[KeptExecution]:
        with self.locked():
            rows = self.order(list(self.load().values()))
        for row in rows:
            if (
                (execution_id is None or row["execution_id"] == execution_id)
                and self.named(row["signature"], signature)
                and (rated is None or self.is_rated(row) is rated)
            ):
                yield self.decode(row)

    def order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows

    def named(self, name: str, wanted: str | None) -> bool:
        return wanted is None or name == wanted or name.endswith(f"/{wanted}")

    def is_rated(self, row: dict[str, Any]) -> bool:
        return bool(row["feedback"])

    def decode(self, row: dict[str, Any]) -> KeptExecution:
        feedback = tuple(FeedbackGiven(**one) for one in row["feedback"])
        outcomes = tuple(OutcomeRecorded(**one) for one in row["outcomes"])
        return KeptExecution(**{**row, "feedback": feedback, "outcomes": outcomes})

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        found = [one for one in self.read(signature=signature) if since is None or one.started_at >= since]
        yield from sorted(found, key=lambda one: one.started_at)

    def delete(self, execution_id: str) -> bool:
        with self.changed() as rows:
            return rows.pop(execution_id, None) is not None

    def close(self) -> None:
        pass


class ForgetsTheSpec(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **new, "spec": {}}


class ForgetsTheFingerprint(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **new, "fingerprint": ""}


class RoundsTimes(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **new, "started_at": float(int(new["started_at"]))}


class KeepingAgainDropsFeedback(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {"feedback": [], "outcomes": [], **new}


class KeepingAgainChangesNothing(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**new, **old}


class KeepsTheLatestFeedback(FileStore):
    def append(self, what: str, given: Any) -> None:
        super().append(what, given)
        with self.changed() as rows:
            row = rows[given.execution_id]
            row[what] = list({one["source"]: one for one in row[what]}.values())


class NewestFeedbackFirst(FileStore):
    def decode(self, row: dict[str, Any]) -> KeptExecution:
        return super().decode({**row, "feedback": row["feedback"][::-1]})


class FeedbackOnNothing(FileStore):
    def append(self, what: str, given: Any) -> None:
        with suppress(ExecutionNotFoundError):
            super().append(what, given)


class UnknownIsAKeyError(FileStore):
    def append(self, what: str, given: Any) -> None:
        with self.changed() as rows:
            rows[given.execution_id][what].append(self.encode(given))


class ForgetsDraws(FileStore):
    def encode(self, feedback: Any) -> dict[str, Any]:
        return {**super().encode(feedback), "drawn": False} if hasattr(feedback, "drawn") else super().encode(feedback)


class CutsComments(FileStore):
    def encode(self, feedback: Any) -> dict[str, Any]:
        encoded = super().encode(feedback)
        return {**encoded, "comment": (encoded["comment"] or "")[:4000]} if "comment" in encoded else encoded


class StripsText(FileStore):
    def replaced(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **json.loads(json.dumps(new).replace("\\u0000", ""))}


class NewestFirst(FileStore):
    def order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows[::-1]


class NamesMatchByTheirEnd(FileStore):
    def named(self, name: str, wanted: str | None) -> bool:
        return wanted is None or name.endswith(wanted) or name.startswith(wanted)


class NamesNeedThePack(FileStore):
    def named(self, name: str, wanted: str | None) -> bool:
        return wanted is None or name == wanted


class OutcomesAreRatings(FileStore):
    def is_rated(self, row: dict[str, Any]) -> bool:
        return bool(row["feedback"] or row["outcomes"])


class IgnoresRated(FileStore):
    def is_rated(self, row: dict[str, Any]) -> Any:
        return None if row["feedback"] else False


class HigherIsAlwaysBetter(FileStore):
    def outcome_direction(self, signature: str, name: str) -> bool | None:
        return None if super().outcome_direction(signature, name) is None else True


class DeletesNothing(FileStore):
    def delete(self, execution_id: str) -> bool:
        return execution_id in self.load()


class DeletesWithoutASign(FileStore):
    def delete(self, execution_id: str) -> Any:
        super().delete(execution_id)


class SearchIsUnsorted(FileStore):
    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        return (one for one in self.read(signature=signature) if since is None or one.started_at >= since)


class NoLock(FileStore):
    """Two threads change the file at once."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        time.sleep(0)
        yield

    def save(self, rows: dict[str, Any]) -> None:
        time.sleep(0)
        temporary = self.path.with_suffix(f".{threading.get_ident()}")
        temporary.write_text(json.dumps(rows))
        temporary.replace(self.path)


class OnlyForItsProcess(FileStore):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def load(self) -> dict[str, Any]:
        assert os.getpid() == self.process, "a connection of another process"
        return super().load()


class InMemory(FileStore):
    """It is written when it is closed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows = MEMORY.setdefault(folder, super().load())

    def load(self) -> dict[str, Any]:
        return self.rows

    def save(self, rows: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        super().save(self.rows)


class KeepsLiveValues(InMemory):
    fork_safe = True

    def save(self, rows: dict[str, Any]) -> None:
        FileStore.save(self, rows)


class ChangesTheEvent(FileStore):
    def keep(self, execution: Any, signature: Any) -> None:
        execution.inputs["kept"] = True
        super().keep(execution, signature)


class OutageIsSilent(FileStore):
    @contextmanager
    def locked(self) -> Iterator[None]:
        if self.guard.parent.exists():
            with super().locked():
                yield
        else:
            yield

    def save(self, rows: dict[str, Any]) -> None:
        if self.path.parent.exists():
            super().save(rows)


class Chatty(FileStore):
    def add(self, feedback: Any) -> None:
        super().add(feedback)
        os.write(2, b"thank you\n")


class LeavesFilesOpen(FileStore):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        OPENED.append(open(self.guard, "wb"))  # noqa: SIM115  # that is the fault


class CannotCloseTwice(FileStore):
    def close(self) -> None:
        del self.guard


MEMORY: dict[Path, dict[str, Any]] = {}
OPENED: list[Any] = []


class Suite(FeedbackStoreConformance):
    @pytest.fixture
    def make_store(self, planted: Any, tmp_path: Path) -> Callable[[], Any]:
        (tmp_path / "store").mkdir(exist_ok=True)
        return lambda: planted(tmp_path / "store")

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], Any]:
        @contextmanager
        def away() -> Iterator[None]:
            (tmp_path / "store").rename(tmp_path / "elsewhere")
            yield
            (tmp_path / "elsewhere").rename(tmp_path / "store")

        return away


GOOD = FileStore
FAULTS = [
    ForgetsTheSpec, ForgetsTheFingerprint, RoundsTimes, KeepingAgainDropsFeedback, KeepingAgainChangesNothing,
    KeepsTheLatestFeedback, NewestFeedbackFirst, FeedbackOnNothing, UnknownIsAKeyError, ForgetsDraws, CutsComments,
    StripsText, NewestFirst, NamesMatchByTheirEnd, NamesNeedThePack, OutcomesAreRatings, IgnoresRated,
    HigherIsAlwaysBetter, DeletesNothing, DeletesWithoutASign, SearchIsUnsorted, NoLock, OnlyForItsProcess, InMemory,
    KeepsLiveValues, ChangesTheEvent, OutageIsSilent, Chatty, LeavesFilesOpen, CannotCloseTwice,
]  # fmt: skip


def clean_up() -> None:
    MEMORY.clear()
    while OPENED:
        OPENED.pop().close()
