"""The writer leaves new records alone while calls keep coming, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hokusai_mlflow.delivery.intake import Intake
from hokusai_mlflow.delivery.ledger import Ledger
from hokusai_mlflow.delivery.rest import Rest
from hokusai_mlflow.spool import SEGMENTS, SegmentAppender
from hokusai_mlflow.waiting import LEDGER

RECORD = orjson.dumps({"k": "r", "c": 0, "n": 0})
FLUSH = orjson.dumps({"k": "b", "c": 0, "id": "token", "run_id": None, "stores": []})


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SegmentAppender]:
    spool = SegmentAppender(tmp_path)
    yield spool
    spool.close()


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[Rest]:
    ledger = Ledger(tmp_path / LEDGER)
    yield Rest(Intake(tmp_path, ledger))
    ledger.close()


def age(folder: Path, seconds: float) -> None:
    """Make everything look as if it had been written that long ago."""
    for path in (folder / SEGMENTS).iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_there_is_nothing_to_leave_alone_where_nothing_is_new(rest: Rest) -> None:
    assert not rest.is_better()


def test_what_has_just_come_is_left_until_calls_pause(rest: Rest, spool: SegmentAppender, tmp_path: Path) -> None:
    spool.append(RECORD, 0, RECORD)
    assert rest.is_better()
    age(tmp_path, 1.0)
    assert rest.is_better()
    age(tmp_path, 3.0)
    assert not rest.is_better()


def test_a_flush_is_not_left_waiting(rest: Rest, spool: SegmentAppender) -> None:
    spool.append(RECORD, 0, RECORD)
    assert rest.is_better()
    spool.append(FLUSH, 0, RECORD)
    assert not rest.is_better()


def test_a_lot_is_worth_a_step(rest: Rest, spool: SegmentAppender) -> None:
    for _ in range(300):
        spool.append(orjson.dumps({"k": "r", "c": 0, "n": "x" * 1000}), 0, RECORD)
    assert not rest.is_better()


def test_nothing_is_left_for_long(rest: Rest, spool: SegmentAppender, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.append(RECORD, 0, RECORD)
    assert rest.is_better()
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    spool.append(RECORD, 0, RECORD)
    assert not rest.is_better()


def test_a_folder_that_is_deleted_meanwhile_is_no_error(rest: Rest, spool: SegmentAppender, tmp_path: Path) -> None:
    spool.append(RECORD, 0, RECORD)
    assert rest.is_better()
    for path in (tmp_path / SEGMENTS).iterdir():
        path.unlink()
    (tmp_path / SEGMENTS).rmdir()
    assert not rest.is_better()
