"""Budgets in files: shared by threads, processes and forks, and refused where they cannot be trusted."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Budget, Usage
from hokusai_core.call_records import CallEstimate, CostBound
from hokusai_core.errors import BudgetExceeded, ConfigurationError
from hokusai_core.execution.budget_file import BudgetFile
from hokusai_core.execution.budget_ledger import BudgetFileError
from hokusai_core.storage import DamagedStateError, LockedState

DOLLAR = 10**12


def estimate(cents: float) -> CallEstimate:
    return CallEstimate("m", 1, 1, lambda: CostBound(round(cents * DOLLAR / 100)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "team.budget"


def test_budgets_with_one_file_share_what_is_spent(file: Path) -> None:
    first, second = Budget(cost=1, file=file), Budget(cost=1, calls=3, file=file)
    reservation = first.reserve(estimate(60))
    with pytest.raises(BudgetExceeded, match=r"calls under way have reserved"):
        second.reserve(estimate(60), timeout=0)
    reservation.charge(Usage(10, 5, 1), 0.35)
    second.reserve(estimate(60)).charge(Usage(10, 5, 1), 0.25)
    assert first.spent_cost == second.spent_cost == 0.6
    assert first.spent == Usage(20, 10, 2)
    with pytest.raises(
        BudgetExceeded, match=r"\$0\.4000 of \$1\.0000 is left, and the next call may cost up to \$0\.5000"
    ):
        first.reserve(estimate(50))
    second.reserve(estimate(1)).refund()
    second.reserve(estimate(1)).charge(Usage(1, 1, 1), 0.01)
    with pytest.raises(BudgetExceeded, match="all 3 calls are made"):
        second.reserve(estimate(1))
    first.reserve(estimate(1)).refund()  # its own ceilings are not reached


def test_money_is_exact() -> None:
    budget = Budget(cost=0.3)
    for _ in range(3):
        budget.reserve(estimate(10)).charge(Usage(1, 1, 1), 0.1)
    assert budget.spent_cost == 0.3
    assert budget.reason() == "$0.3000 of $0.3000 is spent"
    many = Budget(cost=1)
    for _ in range(100_000):
        many.reserve(estimate(0.001)).charge(Usage(1, 1, 1), 0.00001)
    assert many.spent_cost == 1.0


def test_a_reservation_is_settled_once() -> None:
    budget = Budget(cost=1)
    reservation = budget.reserve(estimate(50))
    reservation.charge(Usage(1, 1, 1), 0.2)
    reservation.charge(Usage(1, 1, 1), 0.2)
    reservation.refund()
    assert (budget.spent_cost, budget.spent.calls, budget.to_dict()["reserved"]["cost"]) == (0.2, 1, 0.0)


@pytest.mark.parametrize("shared", [False, True])
def test_threads_wait_for_each_other_and_never_pass_the_ceiling(shared: bool, file: Path) -> None:
    budget = Budget(cost=1, file=file if shared else None)
    lock, spent, made = threading.Lock(), [0, 0], []

    def work() -> None:
        while True:
            try:
                reservation = budget.reserve(estimate(30))
            except BudgetExceeded:
                return
            with lock:
                spent[0] += 30
                spent[1] = max(spent)
            time.sleep(0.002)
            with lock:
                spent[0] -= 30
            reservation.charge(Usage(1, 1, 1), 0.05)
            made.append(1)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent_cost == 0.75  # the next call may cost 30 cents, and 25 are left
    assert len(made) == 15
    assert spent[1] <= 90


def test_tasks_wait_without_blocking_their_loop(file: Path) -> None:
    budget = Budget(cost=1, file=file)
    beats = 0

    async def one() -> None:
        reservation = await budget.areserve(estimate(50))
        await asyncio.sleep(0.01)
        reservation.charge(Usage(1, 1, 1), 0.01)

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.005)

    async def run() -> None:
        beating = asyncio.create_task(beat())
        await asyncio.gather(*(one() for _ in range(10)))
        beating.cancel()

    asyncio.run(run())
    assert budget.spent_cost == 0.1
    assert beats > 5


def _reserve_and_die(file: Path, cents: float, ready: Any) -> None:
    Budget(cost=1, file=file).reserve(estimate(cents))
    ready.set()
    time.sleep(60)


def _killed(file: Path, cents: float) -> int:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_reserve_and_die, args=(file, cents, ready))
    process.start()
    assert ready.wait(20)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.pid


def test_what_a_dead_process_reserved_is_spent_until_it_is_released(file: Path) -> None:
    budget = Budget(cost=1, file=file)
    _killed(file, 70)
    with pytest.raises(
        BudgetExceeded, match=r"\$0\.3000 of \$1\.0000 is left \(\$0\.7000 of it was reserved by processes"
    ):
        budget.reserve(estimate(40), timeout=30)
    assert budget.spent_cost == 0.7
    assert budget.to_dict()["spent"]["uncertain"] == 0.7
    given = BudgetFile(file).release()
    assert (given.calls, given.cost) == (1, 7 * DOLLAR // 10)
    budget.reserve(estimate(40)).refund()
    assert budget.spent_cost == 0.0


def test_what_a_living_process_reserved_is_not_released(file: Path) -> None:
    reservation = Budget(cost=1, file=file).reserve(estimate(70))
    opened = BudgetFile(file)
    assert opened.release().calls == 0
    assert opened.read(lambda account: account.under_way) == 7 * DOLLAR // 10
    for lock in file.with_name("team.budget.processes").iterdir():
        lock.unlink()
    assert opened.release().calls == 0  # without its file nothing tells
    other = Budget(cost=1, file=file)
    with pytest.raises(BudgetExceeded, match=r"\$0\.3000 of \$1\.0000 is left"):
        other.reserve(estimate(40), timeout=30)  # and no one waits for it
    assert opened.release(unproved=True).calls == 1
    reservation.charge(Usage(1, 1, 1), 0.5)  # it was alive, and what it has spent counts
    assert opened.read(lambda account: account.spent) == DOLLAR // 2


def test_a_process_that_ends_with_calls_under_way_leaves_the_proof_of_its_death(file: Path) -> None:
    child = os.fork()
    if child == 0:
        Budget(cost=1, file=file).reserve(estimate(70))
        os._exit(0)
    os.waitpid(child, 0)
    opened = BudgetFile(file)
    assert opened.bury_dead()
    assert opened.read(lambda account: account.dead.cost) == 7 * DOLLAR // 10


def test_a_forked_child_counts_for_itself(file: Path) -> None:
    budget = Budget(cost=1, file=file)
    reservation = budget.reserve(estimate(20))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            reservation.charge(Usage(1, 1, 1), 0.2)  # it is the parent's, and nothing happens
            own = budget.reserve(estimate(30))
            own.charge(Usage(1, 1, 1), 0.3)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert budget.spent_cost == 0.3
    assert not BudgetFile(file).bury_dead()
    reservation.charge(Usage(1, 1, 1), 0.1)
    assert budget.spent_cost == 0.4


def test_the_parents_death_shows_while_a_forked_child_lives(file: Path) -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        budget = Budget(cost=1, file=file)
        budget.reserve(estimate(20))
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        os.write(writer, f"{child}\n".encode())
        time.sleep(30)
        os._exit(0)
    os.close(writer)
    child = int(os.read(reader, 100))
    time.sleep(0.2)  # until it has closed what it inherited
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        assert BudgetFile(file).bury_dead()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_budget_with_a_file_is_pickled_and_one_without_is_not(file: Path) -> None:
    budget = Budget(cost=1, calls=5, unpriced="allow", file=file)
    budget.reserve(estimate(20)).charge(Usage(1, 1, 1), 0.2)
    twin = pickle.loads(pickle.dumps(budget))  # noqa: S301  # its own
    assert (twin.cost, twin.calls, twin.unpriced, twin.spent_cost) == (1, 5, "allow", 0.2)
    with pytest.raises(TypeError, match="share it by a file"):
        pickle.dumps(Budget(cost=1))


# -- files that cannot be trusted ------------------------------------------------------------------------------------


def test_damage_anywhere_is_refused_by_name(file: Path) -> None:
    Budget(cost=1, file=file).reserve(estimate(20)).charge(Usage(1, 1, 1), 0.2)
    whole = file.read_bytes()
    first = whole.index(b"\n")
    places = [*range(first), *range(4096, 4096 + 40), *range(4096 + 65_536, 4096 + 65_536 + 40)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        file.write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"team\.budget"):
            Budget(cost=1, file=file)
    file.write_bytes(whole)
    assert Budget(cost=1, file=file).spent_cost == 0.2


@pytest.mark.parametrize("content", [b"", b"{}", b"hokusai-budget 1 65536 -\n", b"hokusai-journal 1 65536 -\n" * 9000])
def test_something_else_is_refused_by_name(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"team\.budget"):
        Budget(cost=1, file=file)
    assert file.read_bytes() == content


def test_a_file_of_a_newer_version_is_refused_by_name(file: Path) -> None:
    Budget(cost=1, file=file)
    file.write_bytes(file.read_bytes().replace(b"budget 1 ", b"budget 2 "))
    with pytest.raises(ConfigurationError, match=r"team\.budget was written by a newer version of Hokusai"):
        Budget(cost=1, file=file)


@pytest.mark.parametrize("loss", ["deleted", "replaced", "emptied"])
def test_a_file_that_is_lost_stops_calls(loss: str, file: Path) -> None:
    budget = Budget(cost=1, file=file)
    reservation = budget.reserve(estimate(20))
    whole = file.read_bytes()
    if loss == "deleted":
        file.unlink()
    elif loss == "replaced":
        file.rename(file.with_name("old"))
        Budget(cost=1, file=file)
    else:
        os.truncate(file, 0)
    reservation.charge(Usage(1, 1, 1), 0.2)  # the caller gets the answer that was paid for
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match=r"no call is made.*team\.budget"):
            budget.reserve(estimate(1))
    assert whole


def test_a_full_disk_stops_the_making_of_a_file_and_nothing_after(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConfigurationError, match="No space left on device; free space"):
            Budget(cost=1, file=file)
    assert not list(file.parent.iterdir())
    budget = Budget(cost=1, file=file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(BudgetExceeded, match=r"no call is made.*No space left"):
            budget.reserve(estimate(1))
    budget.reserve(estimate(1)).refund()


def test_a_write_that_a_kill_has_cut_off_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    state = LockedState(path, kind="test", version=1, initial=b"one")
    state.change(lambda value: (b"two", None))
    write = os.pwrite

    class Killed(BaseException):
        pass

    def cut(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) > 1:
            write(descriptor, data[: len(data) // 2], offset)
            raise Killed
        return write(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", cut)
        with pytest.raises(Killed):
            state.change(lambda value: (b"three", None))
    again = LockedState(path, kind="test", version=1, initial=None)
    assert again.change(lambda value: (b"four", value)) == b"two"
    assert state.change(lambda value: (None, value)) == b"four"


def test_a_value_that_is_too_long_changes_nothing(tmp_path: Path) -> None:
    state = LockedState(tmp_path / "state", kind="test", version=1, initial=b"one")
    with pytest.raises(OSError, match="holds more than fits"):
        state.change(lambda value: (b"x" * 70_000, None))
    long = b"y" * 60_000
    state.change(lambda value: (long, None))
    assert state.change(lambda value: (None, value)) == long
    with pytest.raises(DamagedStateError):
        LockedState(tmp_path / "state", kind="other", version=1, initial=b"")


def test_only_its_user_reads_the_file(file: Path) -> None:
    Budget(cost=1, file=file).reserve(estimate(1)).refund()
    folder = file.with_name("team.budget.processes")
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_that_must_exist_is_not_made(file: Path) -> None:
    with pytest.raises(BudgetFileError, match="No such file"):
        BudgetFile(file)
    assert not file.exists()
