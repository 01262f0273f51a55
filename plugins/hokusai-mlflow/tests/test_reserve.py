from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow import TrackingWarning, reserve, writer
from hokusai_mlflow.delivery import loop
from hokusai_mlflow.delivery.ledger import Ledger


def test_room_is_set_aside_used_and_set_aside_again(tmp_path: Path) -> None:
    assert not reserve.use(tmp_path)
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).stat().st_size > 0
    assert not reserve.is_used(tmp_path)
    assert reserve.use(tmp_path)
    assert reserve.is_used(tmp_path)
    reserve.keep(tmp_path)  # not while it is in use
    assert reserve.is_used(tmp_path)
    assert not reserve.use(tmp_path)
    reserve.refill(tmp_path)
    assert not reserve.is_used(tmp_path)


def test_a_full_disk_is_recognized_whatever_says_so() -> None:
    small = sqlite3.connect(":memory:")
    small.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as full:
        small.execute("CREATE TABLE t (a)")
    assert reserve.is_needed(full.value)
    assert reserve.is_needed(OSError(errno.ENOSPC, "full"))
    assert not reserve.is_needed(OSError(errno.EACCES, "no"))
    with pytest.raises(sqlite3.OperationalError) as wrong:
        small.execute("SELECT * FROM nothing")
    assert not reserve.is_needed(wrong.value)


def test_trackers_accept_nothing_while_the_writer_needs_the_last_room(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(first := make_event())
    place.wait_until((place.spool / reserve.NAME).exists)
    reserve.use(place.spool)
    place.wait_until(lambda: tracker._state._courier.full)
    with pytest.warns(TrackingWarning, match="its disk is full"):
        tracker.record(make_event())
    assert place.deliver()
    reserve.refill(place.spool)
    place.wait_until(lambda: not tracker._state._courier.full)
    tracker.record(last := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [first.execution_id, last.execution_id]
    assert tracker.status()["refused"] == 1


def test_hardly_any_room_is_enough_to_deliver(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "is_scarce", lambda _folder: True)
    tracker = place.tracker(sampling=0)
    ids = []
    for _ in range(170):
        tracker.record(event := make_event())
        ids.append(event.execution_id)
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == ids
    with Ledger(place.spool / "ledger.db").sql as ledger:
        assert ledger.execute("SELECT count(*) FROM rows").fetchone()[0] < 50  # of the last part


def test_what_is_delivered_gives_its_room_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    empty = ledger.held()
    with ledger.transaction():
        rows = [(1, str(number), number, 0.0, b"x" * 3000) for number in range(4000)]
        ledger.sql.executemany("INSERT INTO traces VALUES (?, ?, ?, ?, ?, NULL)", rows)
    assert ledger.held() > empty + 12_000_000
    with ledger.transaction():
        ledger.sql.execute("DELETE FROM traces")
    for _ in range(4):
        ledger.give_back()
    assert ledger.held() <= empty + 2**16
    ledger.save_room()
    ledger.close()
    assert (tmp_path / "ledger.db").stat().st_size < 6_000_000


def test_a_writer_that_runs_out_of_room_begins_anew_with_what_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    class Writer:
        def __init__(self, folder: Path, _secrets: Any) -> None:
            begun.append(reserve.is_used(folder))

        def serve(self, **_: Any) -> None:
            if len(begun) == 1:
                raise OSError(errno.ENOSPC, "full")

        def close(self) -> None:
            """Nothing is open."""

        def wants_more(self) -> bool:
            return False

    monkeypatch.setattr(loop, "Writer", Writer)
    monkeypatch.setattr(loop, "handle_signals", lambda _writer: None)
    monkeypatch.setattr(writer, "prepare_environment", lambda: None)
    reserve.keep(tmp_path)
    writer.main(tmp_path)
    assert begun == [False, True]
