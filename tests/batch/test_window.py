"""The window slides over the rows: which run at once, how far the source is read, who shares a call."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Budget, Executor
from hokusai_core.errors import BudgetExceeded
from hokusai_core.types import BatchRow

MakeExecutor = Callable[..., Executor]
#: Below, rows run on threads; above, on an event loop.
WINDOWS = pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])


def wait_until(met: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


@WINDOWS
def test_as_many_rows_run_at_once_as_there_are_workers(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    lm = make_lm()
    rows = [{"question": f"q{n} meet={workers}"} for n in range(4 * workers)]
    make_executor(lm=lm).execute_batch("Ask", rows, max_workers=workers)
    assert lm.engine.most_in_flight == workers


def test_one_row_after_the_other(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm(delay=0.005)
    executor = make_executor(lm=lm, max_workers=8)
    results = executor.execute_batch("Ask", [{"question": f"q{n}"} for n in range(10)], parallel=False)
    assert lm.engine.most_in_flight == 1
    assert list(lm.engine.seen) == [f"q{n}" for n in range(10)]
    assert results[9]["answer"] == "answer to q9"


@WINDOWS
def test_a_slow_row_does_not_hold_up_the_others(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    lm = make_lm()
    rows = [{"question": f"{n}" + (" hang=60" if n == 0 else "")} for n in range(200)]
    handed_out = make_executor(lm=lm).iter_batch("Ask", rows, max_workers=workers, batch_size=10)
    others = [next(handed_out).index for _ in range(199)]  # all of them, though the rows are read ten at a time
    assert 0 not in others
    lm.engine.free.set()
    assert [row.index for row in handed_out] == [0]


@WINDOWS
def test_an_endless_source_is_read_no_further_than_the_window(make_executor: MakeExecutor, workers: int) -> None:
    read = itertools.count()
    taken = 0

    def source() -> Iterator[dict[str, str]]:
        nonlocal taken
        for taken in read:
            yield {"question": f"q{taken}"}

    with make_executor().iter_batch("Ask", source(), max_workers=workers) as rows:
        first = [next(rows) for _ in range(10)]
        time.sleep(0.2)  # no row is taken meanwhile
        assert taken <= 10 + 3 * workers
    assert len({row.index for row in first}) == 10
    assert all(row["answer"] == f"answer to q{row.index}" for row in first)
    after = taken
    time.sleep(0.1)
    assert taken == after


@WINDOWS
def test_rows_come_as_they_finish_though_the_source_waits(make_executor: MakeExecutor, workers: int) -> None:
    """The source gives the second row only when the first has come out: a batch that reads ahead first would hang."""
    out = threading.Event()

    def source() -> Iterator[dict[str, str]]:
        yield {"question": "first"}
        assert out.wait(10)
        yield {"question": "second"}

    rows = make_executor().iter_batch("Ask", source(), max_workers=workers)
    assert next(rows)["answer"] == "answer to first"
    out.set()
    assert next(rows).index == 1
    with pytest.raises(StopIteration):
        next(rows)
    with pytest.raises(StopIteration):
        next(rows)


def test_a_row_is_a_pair_and_also_its_outcome(make_executor: MakeExecutor) -> None:
    good, bad = sorted(make_executor().iter_batch("Ask", [{"question": "q"}, {"question": "x fail=9"}]))
    index, outcome = good
    assert (index, outcome["answer"], good["answer"], good.ok, good.error) == (
        0,
        "answer to q",
        "answer to q",
        True,
        None,
    )
    assert bad.index == 1
    assert not bad.ok
    assert type(bad.error).__name__ == "LanguageModelError"
    with pytest.raises(RuntimeError):
        bad["answer"]
    assert good.inputs == {"question": "q"}
    assert good.to_dict()["outputs"] == {"answer": "answer to q"}


@WINDOWS
def test_leaving_early_takes_no_further_row(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    lm = make_lm(delay=0.005)
    executor = make_executor(lm=lm)
    closed = []

    def source() -> Iterator[dict[str, str]]:
        try:  # such as a generator that holds a file open
            for number in itertools.count():
                yield {"question": f"q{number}"}
        finally:
            closed.append(True)

    with executor.iter_batch("Ask", source(), max_workers=workers) as rows:
        for row in rows:
            if row.index >= 20:
                break
    wait_until(lambda: bool(closed))
    for row in executor.iter_batch("Ask", source(), max_workers=workers):
        if row.index >= 20:
            break
    del row
    gc.collect()
    wait_until(lambda: lm.engine.in_flight == 0)
    calls = lm.engine.calls
    time.sleep(0.1)
    assert lm.engine.calls == calls
    assert executor.execute_signature("Ask", {"question": "still works"})["answer"] == "answer to still works"


def test_several_threads_may_take_rows_from_one_iterator(make_executor: MakeExecutor) -> None:
    rows = make_executor().iter_batch("Ask", ({"question": f"q{n} sleep=0.01"} for n in range(20)))
    with ThreadPoolExecutor(3) as pool:
        taken = [pool.submit(lambda: [row.index for row in rows]) for _ in range(3)]
        assert sorted(itertools.chain.from_iterable(one.result(10) for one in taken)) == list(range(20))


@WINDOWS
def test_what_the_source_raises_comes_after_what_was_taken(make_executor: MakeExecutor, workers: int) -> None:
    def source() -> Iterator[dict[str, str]]:
        for number in range(6):
            yield {"question": f"q{number} sleep=0.03"}
        raise OSError("the file ends here")

    executor = make_executor()
    got: list[BatchRow] = []
    with pytest.raises(OSError, match="the file ends here") as caught:  # noqa: PT012  # the loop is the call
        for row in executor.iter_batch("Ask", source(), max_workers=workers):
            got.append(row)
    assert sorted(row.index for row in got) == list(range(6))
    with pytest.raises(OSError, match="the file ends here") as caught:
        executor.execute_batch("Ask", source(), max_workers=workers)
    assert "6 rows over, which are in .result" in caught.value.__notes__[0]
    assert [result["answer"][:12] for result in caught.value.result] == [f"answer to q{n}" for n in range(6)]  # type: ignore[attr-defined]


@WINDOWS
@pytest.mark.parametrize("order", ["spread", "adjacent"])
def test_identical_rows_share_one_call(make_executor: MakeExecutor, make_lm: Any, workers: int, order: str) -> None:
    lm = make_lm(delay=0.002)
    numbers = [n % 100 if order == "spread" else n // 10 for n in range(1_000)]
    results = make_executor(lm=lm).execute_batch("Ask", [{"question": f"q{n}"} for n in numbers], max_workers=workers)
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in numbers]
    assert lm.engine.calls == 100


def test_without_the_cache_every_row_has_an_answer_of_its_own(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm()
    rows = [{"question": "same"}] * 10
    make_executor(lm=lm).execute_batch("Ask", rows, cache="off")
    make_executor(lm=lm, cache_enabled=False).execute_batch("Ask", rows)
    assert lm.engine.calls == 20


@WINDOWS
def test_refreshing_asks_once_for_identical_rows(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    rows = [{"question": f"q{n % 5}"} for n in range(50)]
    executor.execute_batch("Ask", rows)
    assert lm.engine.calls == 5
    executor.execute_batch("Ask", rows, cache="refresh", max_workers=workers)
    assert lm.engine.calls == 10
    executor.execute_batch("Ask", rows)
    assert lm.engine.calls == 10


@WINDOWS
def test_a_spent_budget_keeps_what_is_done(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    executor.execute_batch("Ask", [{"question": f"q{n}"} for n in range(3)])
    budget = Budget(calls=10)
    rows = [{"question": f"q{n}"} for n in range(50)]
    results = executor.execute_batch("Ask", rows, budget=budget, max_workers=workers)
    assert lm.engine.calls == 3 + 10
    assert len(results.succeeded) == 13  # those that were known cost nothing
    assert {type(failure.error) for failure in results.failed} == {BudgetExceeded}
    assert len(executor.execute_batch("Ask", rows).succeeded) == 50


@pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])
def test_a_batch_inside_a_batch(make_executor: MakeExecutor, make_lm: Any, workers: int) -> None:
    """Neither waits for the other's workers."""
    executor = make_executor(max_workers=workers)
    inner = make_executor(max_workers=workers)

    def rows() -> Iterator[dict[str, str]]:
        for number in range(10):
            nested = executor.execute_batch("Ask", [{"question": f"{number}.{n}"} for n in range(5)])
            yield {"question": " ".join(result["answer"][-3:] for result in nested)}

    results = inner.execute_batch("Ask", rows())
    assert results[9]["answer"] == "answer to 9.0 9.1 9.2 9.3 9.4"


@WINDOWS
@pytest.mark.parametrize("journaled", [True, False], ids=["journal", "no journal"])
def test_leaving_does_not_wait_for_a_source_that_gives_nothing(
    make_executor: MakeExecutor, tmp_path: Path, workers: int, journaled: bool
) -> None:
    more = threading.Event()

    def source() -> Iterator[dict[str, str]]:
        yield {"question": "first"}
        more.wait(30)

    kept: dict[str, Any] = {"journal": tmp_path / "journal"} if journaled else {}
    executor = make_executor()
    rows = executor.iter_batch("Ask", source(), max_workers=workers, **kept)
    assert next(rows)["answer"] == "answer to first"
    others: list[BatchRow] = []
    waiting = threading.Thread(target=lambda: others.extend(rows), daemon=True)
    waiting.start()
    leaving = threading.Thread(target=rows.close, daemon=True)
    leaving.start()
    leaving.join(10)
    waiting.join(10)
    assert not leaving.is_alive()
    assert not waiting.is_alive()
    assert others == []
    if journaled:  # it was given back
        assert executor.execute_batch("Ask", [{"question": "first"}], **kept)[0].cached == "journal"  # type: ignore[union-attr]
    more.set()


class OfOneThread(Sequence[dict[str, str]]):
    """Rows that may be read by the thread that made them only, as those of an SQLite connection."""

    def __init__(self, size: int) -> None:
        self.size, self.thread = size, threading.get_ident()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        assert threading.get_ident() == self.thread
        if index >= self.size:
            raise IndexError
        return {"question": f"q{index}"}


@WINDOWS
def test_a_sequence_of_the_callers_is_read_on_the_callers_thread(make_executor: MakeExecutor, workers: int) -> None:
    results = make_executor().execute_batch("Ask", OfOneThread(200), max_workers=workers)
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(200)]
