"""The durable outbox: nothing that was accepted is lost, whatever dies, and everything is sent in order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.errors import TrackingError
from hokusai_core.plugin_api import DurableOutbox, OutboxFolder


class Receiver:
    """Takes records, except while it is down."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.calls = 0
        self.down = False

    def send(self, records: Sequence[bytes]) -> None:
        self.calls += 1
        if self.down:
            raise ConnectionError("refused; password=hunter2")
        self.taken += records


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def make(tmp_path: Path, receiver: Receiver) -> Iterator[Callable[..., DurableOutbox]]:
    made: list[DurableOutbox] = []

    def make_outbox(**options: Any) -> DurableOutbox:
        outbox = DurableOutbox(tmp_path / "spool", receiver.send, close_timeout=2.0, **options)
        made.append(outbox)
        return outbox

    yield make_outbox
    receiver.down = False
    for outbox in made:
        outbox.close()


def test_records_arrive_in_order_in_batches(make: Callable[..., DurableOutbox], receiver: Receiver) -> None:
    outbox = make(batch=10)
    records = [b'{"n": %d}' % number for number in range(95)]
    for record in records:
        outbox.append(record)
    assert outbox.flush(10)
    assert receiver.taken == records
    assert receiver.calls <= 30
    status = outbox.status()
    assert (status["accepted"], status["delivered"], status["backlog"], status["last_error"]) == (95, 95, 0, None)
    outbox.append(b"last")
    assert asyncio.run(outbox.aflush(10))
    assert receiver.taken[-1] == b"last"


def test_a_closed_outbox_leaves_no_segment(
    make: Callable[..., DurableOutbox], receiver: Receiver, tmp_path: Path
) -> None:
    outbox = make()
    outbox.append(b"one")
    outbox.close()
    outbox.close()
    assert receiver.taken == [b"one"]
    assert OutboxFolder(tmp_path / "spool").segments() == []


def test_an_outbox_that_is_not_used_makes_no_folder(make: Callable[..., DurableOutbox], tmp_path: Path) -> None:
    outbox = make()
    assert outbox.flush(0.0)
    outbox.close()
    assert not (tmp_path / "spool").exists()


def test_a_receiver_that_is_down_gets_everything_later(make: Callable[..., DurableOutbox], receiver: Receiver) -> None:
    outbox = make()
    receiver.down = True
    outbox.append(b"one")
    outbox.append(b"two")
    assert outbox.flush(0.5) is False
    status = outbox.status()
    assert status["backlog"] == 2
    assert status["spool_bytes"] > 0
    assert status["last_error"].startswith("ConnectionError: refused")
    assert "hunter2" not in status["last_error"]
    receiver.down = False
    assert outbox.flush(10)  # does not wait for the next try
    assert receiver.taken == [b"one", b"two"]
    assert outbox.status()["last_error"] is None


def test_a_batch_that_fails_is_sent_again_and_nothing_before_it(
    make: Callable[..., DurableOutbox], receiver: Receiver
) -> None:
    outbox = make(batch=2)
    taken: list[bytes] = []

    def send(records: Sequence[bytes]) -> None:
        if b"3" in records and receiver.calls < 2:
            receiver.calls += 1
            raise OSError("no")
        taken.extend(records)

    outbox._send = send
    for number in range(6):
        outbox.append(b"%d" % number)
    assert outbox.flush(10)
    assert taken == [b"%d" % number for number in range(6)]


def test_what_a_killed_process_has_left_is_delivered_by_the_next(
    make: Callable[..., DurableOutbox], receiver: Receiver, tmp_path: Path
) -> None:
    child = os.fork()
    if child == 0:
        receiver.down = True
        outbox = DurableOutbox(tmp_path / "spool", receiver.send)
        for number in range(50):
            outbox.append(b"%d" % number)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    successor = make()
    assert successor.flush(10)
    assert receiver.taken == [b"%d" % number for number in range(50)]


def test_parent_and_forked_child_both_append(make: Callable[..., DurableOutbox], receiver: Receiver) -> None:
    outbox = make()
    receiver.down = True
    outbox.append(b"before")
    child = os.fork()
    if child == 0:
        outbox.append(b"inside")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    outbox.append(b"after")
    receiver.down = False
    assert outbox.flush(10)
    assert sorted(receiver.taken) == [b"after", b"before", b"inside"]


def test_two_objects_of_one_folder_send_each_record_once(
    make: Callable[..., DurableOutbox], receiver: Receiver
) -> None:
    outboxes = [make(), make()]

    def work(outbox: DurableOutbox, name: int) -> None:
        for number in range(100):
            outbox.append(b"%d-%d" % (name, number))

    threads = [threading.Thread(target=work, args=(outboxes[name % 2], name)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(outbox.flush(10) for outbox in outboxes)
    assert sorted(receiver.taken) == sorted(b"%d-%d" % (name, number) for name in range(4) for number in range(100))


def test_a_full_outbox_refuses_and_says_why(make: Callable[..., DurableOutbox], receiver: Receiver) -> None:
    outbox = make(limit=2000)
    receiver.down = True
    end = time.monotonic() + 10
    told = ""
    while not told and time.monotonic() < end:
        try:
            outbox.append(b"x" * 500)
        except TrackingError as error:
            told = str(error)
        time.sleep(0.02)
    assert "2000 bytes that are not delivered" in told
    assert "ConnectionError" in told
    receiver.down = False
    assert outbox.flush(10)
    outbox.append(b"taken again")


def test_a_deleted_folder_is_told_of(make: Callable[..., DurableOutbox], receiver: Receiver, tmp_path: Path) -> None:
    outbox = make()
    receiver.down = True
    outbox.append(b"lost")
    for entry in OutboxFolder(tmp_path / "spool").segments():
        os.unlink(entry.path)
    assert outbox.flush(5) is False
    assert "was deleted" in outbox.status()["last_error"]
    receiver.down = False
    outbox.append(b"kept")
    assert outbox.flush(10)
    assert receiver.taken == [b"kept"]
