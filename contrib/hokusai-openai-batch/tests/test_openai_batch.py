"""Batches through a batch service: submitted once, collected whole, and finished whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Budget, Executor
from hokusai_core.errors import (
    BudgetExceeded,
    ConfigurationError,
    DeadlineExceeded,
    LanguageModelError,
    OutputError,
)
from hokusai_core.testing.backends import BackendConformance, executors_on
from hokusai_openai_batch import OpenAIBatchBackend
from hokusai_openai_batch.tickets import Tickets

MakeExecutor = Callable[..., Executor]


def fast(**options: Any) -> OpenAIBatchBackend:
    return OpenAIBatchBackend(**{"poll": 0.02, "linger": 0.1, "certain_after": 0.2, **options})


@pytest.fixture
def server(batch_server: Any) -> Any:
    return batch_server


@pytest.fixture
def make_executor(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExecutor]:
    with executors_on(server, monkeypatch) as make:
        yield make


def rows(count: int) -> list[dict[str, str]]:
    return BackendConformance.rows(count)


class TestOpenAIBatch(BackendConformance):
    needs_journal, price = True, 0.5

    @pytest.fixture
    def backend(self) -> OpenAIBatchBackend:
        return fast()

    @pytest.fixture
    def server(self, batch_server: Any) -> Any:
        return batch_server

    def calls(self, server: Any) -> int:
        return int(server.answered)


def test_what_the_service_leaves_open_is_finished_online_under_one_budget(
    make_executor: MakeExecutor, server: Any, tmp_path: Path
) -> None:
    server.expires_after = 6
    budget = Budget(cost=1)
    results = make_executor().execute_batch(
        "Ask",
        rows(10),
        backend=fast(),
        journal=tmp_path / "j",
        budget=budget,
        parameters={"max_tokens": 100},
        progress=False,
    )
    assert [outcome["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(10)]
    assert len(server.batches) == 1
    assert sorted(server.in_batches) == [f"tag-{number}" for number in range(6)]
    assert sorted(server.online) == [f"tag-{number}" for number in range(6, 10)]
    assert set((server.in_batches + server.online).values()) == {1}
    full = (120 + 80) / 1_000_000
    assert [outcome.cost for outcome in results] == pytest.approx([full / 2] * 6 + [full] * 4)
    assert budget.spent_cost == pytest.approx(full * 7)
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}


def test_rows_that_are_refused_or_garbled_are_told_or_tried_again(
    make_executor: MakeExecutor, server: Any, tmp_path: Path
) -> None:
    server.refused, server.garbled = {"tag-1": 400, "tag-2": 503}, {"tag-3"}
    executor = make_executor()
    told = executor.execute_batch("Ask", rows(5), backend=fast(), journal=tmp_path / "j", progress=False)
    assert [(failure.index, type(failure.error)) for failure in told.failed] == [
        (1, LanguageModelError),
        (3, OutputError),
    ]
    assert "tag-1 is refused" in str(told.failed[0].error)
    assert told.failed[1].cost == pytest.approx(100 / 1_000_000), "what cannot be read was paid, at half the price"
    assert dict(server.online) == {"tag-2": 1}, "a server's own trouble says nothing of the row"
    again = make_executor(retry_on_failure=True, cache_enabled=False).execute_batch(
        "Ask", rows(5), backend=fast(), journal=tmp_path / "other", progress=False
    )
    assert [failure.index for failure in again.failed] == [1]
    assert again[3]["answer"] == "seen tag-3"
    assert [attempt.outcome for attempt in again[3].attempts] == ["failed", "ok"]
    assert again[3].cost == pytest.approx(300 / 1_000_000)


def test_a_batch_that_fails_or_takes_too_long(make_executor: MakeExecutor, server: Any, tmp_path: Path) -> None:
    executor = make_executor(cache_enabled=False)
    server.fail_batches = "the file has a line that is too long"
    failed = executor.execute_batch("Ask", rows(2), backend=fast(), journal=tmp_path / "j", progress=False)
    assert all("a line that is too long" in str(failure.error) for failure in failed.failed)
    assert len(failed.failed) == 2
    server.fail_batches = ""
    again = executor.execute_batch("Ask", rows(2), backend=fast(), journal=tmp_path / "j", progress=False)
    assert len(again.succeeded) == 2, "a batch that failed is over, and the next run submits another"
    assert len(server.batches) == 2
    server.looks = 10_000
    late = executor.execute_batch("Ask", rows(2), backend=fast(max_wait=0.1), journal=tmp_path / "k", progress=False)
    assert [outcome["answer"] for outcome in late] == ["seen tag-0", "seen tag-1"]
    assert server.batches["batch_2"]["status"] == "cancelled"
    assert sum(server.online.values()) == 2
    unfinished = executor.execute_batch(
        "Ask", rows(2), backend=fast(max_wait=0.1, finish_online=False), journal=tmp_path / "l", progress=False
    )
    assert all(isinstance(failure.error, DeadlineExceeded) for failure in unfinished.failed)
    assert len(unfinished.failed) == 2


def test_an_answer_that_was_lost_on_the_way_is_looked_for(
    make_executor: MakeExecutor, server: Any, tmp_path: Path
) -> None:
    server.forget_created = True
    results = make_executor().execute_batch("Ask", rows(3), backend=fast(), journal=tmp_path / "j", progress=False)
    assert len(results.succeeded) == 3
    assert len(server.batches) == 1


def test_what_cannot_work_is_refused_before_anything_is_sent(
    make_executor: MakeExecutor, server: Any, tmp_path: Path
) -> None:
    executor = make_executor()
    with pytest.raises(ConfigurationError, match="needs journal="):
        executor.execute_batch("Ask", rows(1), backend=fast())
    with pytest.raises(ConfigurationError, match="price"):
        OpenAIBatchBackend(price=2)
    failed = executor.execute_batch(
        "Ask", rows(1), backend=fast(), lm="gemini/x", journal=tmp_path / "j", progress=False
    )
    assert "no batch service that is known" in str(failed.failed[0].error)
    assert not server.files


def test_a_batch_under_way_for_another_model_is_not_mixed_in() -> None:
    class Notes(list[Any]):
        def read(self) -> list[Any]:
            return list(self)

        write = list.append

    notes = Notes()
    Tickets(notes, "openai/small").begin(["k1", "k2"])
    assert [one.places for one in Tickets(notes, "openai/small").open] == [{"k1": 0, "k2": 1}]
    with pytest.raises(ConfigurationError, match="under way for openai/small"):
        Tickets(notes, "openai/large")
    tickets = Tickets(notes, "openai/small")
    tickets.submitted(tickets.open[0], "batch_7")
    assert Tickets(notes, "openai/small").open[0].batch_id == "batch_7"
    tickets.collected(tickets.open[0])
    assert not Tickets(notes, "openai/large").open


def test_a_spent_budget_keeps_rows_out_of_the_file(make_executor: MakeExecutor, server: Any, tmp_path: Path) -> None:
    results = make_executor().execute_batch(
        "Ask", rows(5), backend=fast(), journal=tmp_path / "j", budget=Budget(tokens=200), progress=False
    )
    assert 1 <= len(results.succeeded) < 5 or all(isinstance(one.error, BudgetExceeded) for one in results.failed)


# -- killed ---------------------------------------------------------------------------------------------------------


#: A process that runs a batch on the service at an address, and may be killed at any point.
SCRIPT = """
import json, os, sys
from hokusai_core import Executor
from hokusai_openai_batch import OpenAIBatchBackend

url, journal, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
table = {"model": "openai/scripted", "api_base": url, "api_key_env": "BATCH_TEST_KEY"}
prices = {"openai/scripted": {"input": 1.0, "output": 2.0}}
backend = OpenAIBatchBackend(poll=0.05, linger=0.2, certain_after=0.3)
options = {"models": {"scripted": table}, "prices": prices, "plugins": [], "environ": dict(os.environ)}
with Executor(lm="scripted", **options) as executor:
    executor.register_signature("Ask", "question -> answer")
    rows = [{"question": f"tag-{number}?"} for number in range(count)]
    results = executor.execute_batch("Ask", rows, backend=backend, journal=journal, progress=False)
    answers = [outcome["answer"] if outcome else str(outcome.error) for outcome in results]
    print(json.dumps({"answers": answers, "calls": results.usage.calls}))
"""


def start(server: Any, journal: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, server.base_url, str(journal), str(count)]
    environ = {**os.environ, "BATCH_TEST_KEY": "no-secret"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return dict(json.loads(told))


def test_a_killed_batch_goes_on_in_another_process_and_submits_nothing_twice(
    make_executor: MakeExecutor, server: Any, tmp_path: Path
) -> None:
    """Killed while it submits: the service has the batch, and the process has no answer. Then a part of it expires."""
    journal, started = tmp_path / "j", list[subprocess.Popen[str]]()
    server.expires_after = 30

    def kill(_: int) -> None:
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()

    server.on_create = kill
    started.append(start(server, journal, 40))
    started[0].communicate(timeout=60)
    assert len(server.batches) == 1
    results = make_executor().execute_batch("Ask", rows(40), backend=fast(), journal=journal, progress=False)
    assert [outcome["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(40)]
    assert results.usage.calls == 40
    assert len(server.batches) == 1
    assert set((server.in_batches + server.online).values()) == {1}
    assert (sum(server.in_batches.values()), sum(server.online.values())) == (30, 10)


@pytest.mark.soak
def test_killed_at_any_moment(server: Any, tmp_path: Path) -> None:
    """Twenty kills at random moments: each row is answered once in a batch, but for those under way online."""
    chance, journal = random.Random(7), tmp_path / "j"
    server.looks, server.expires_after = 40, 150
    for _ in range(20):
        process = start(server, journal, 200)
        try:
            process.wait(timeout=chance.uniform(1.0, 5.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    told = finished(start(server, journal, 200))
    assert told["answers"] == [f"seen tag-{number}" for number in range(200)]
    assert len(server.batches) == 1
    assert set(server.in_batches.values()) == {1}
    assert sum(server.online.values()) <= 50 + 20 * 8
