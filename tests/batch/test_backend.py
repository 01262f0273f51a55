"""Batches that run somewhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hokusai_core import Component, Executor, hookimpl
from hokusai_core.errors import (
    ComponentNotFoundError,
    ConfigurationError,
    ExecutionError,
    LanguageModelError,
    OutputError,
    WorkerLost,
)
from hokusai_core.plugin_api import BatchJob, JobWorker, RowError, RowHost, RowOutcome, RowTask, Usage
from hokusai_core.testing.backends import BackendConformance, executors_on
from hokusai_core.testing.chat_server import ChatServer

MakeExecutor = Callable[..., Executor]


class InProcessSession:
    """Answers rows on the event loop of the batch, by a worker that was made of the job's JSON."""

    capacity, chunk_size, linger, own_time = 16, 4, 0.0, False

    def __init__(self, job: BatchJob, host: RowHost) -> None:
        self.host, self.ask = host, host.admit if job.metered else None
        self.worker = JobWorker(BatchJob.from_dict(json.loads(json.dumps(job.to_dict()))))
        self.chunks: list[int] = []

    async def run(self, tasks: Sequence[RowTask]) -> None:
        self.chunks.append(len(tasks))
        await asyncio.gather(*map(self.answer, tasks))

    async def answer(self, task: RowTask) -> None:
        self.host.deliver(await self.worker.run(task, self.ask))

    def close(self) -> None:
        self.worker.close()


class InProcessBackend:
    session_class: type[InProcessSession] = InProcessSession

    def __init__(self) -> None:
        self.jobs: list[BatchJob] = []
        self.sessions: list[InProcessSession] = []
        self.closed = 0

    def open(self, job: BatchJob, host: RowHost) -> InProcessSession:
        self.jobs.append(job)
        self.sessions.append(self.session_class(job, host))
        return self.sessions[-1]

    def close(self) -> None:
        self.closed += 1


def of(session: type[InProcessSession]) -> InProcessBackend:
    backend = InProcessBackend()
    backend.session_class = session
    return backend


class TestRowsOfThisProcess(BackendConformance):
    @pytest.fixture
    def backend(self) -> str:
        return "local"


class TestInProcess(BackendConformance):
    @pytest.fixture
    def backend(self) -> InProcessBackend:
        return InProcessBackend()


# -- what the suite finds -------------------------------------------------------------------------------------------


class LosesRows(InProcessSession):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        await super().run(tasks[1:])


class MixesRowsUp(InProcessSession):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        numbers = [task.number for task in tasks]
        for task, number in zip(tasks, numbers[1:] + numbers[:1], strict=True):
            self.host.deliver(evolve(await self.worker.run(task, self.ask), number=number))


class HidesCalls(InProcessSession):
    async def answer(self, task: RowTask) -> None:
        self.host.deliver(evolve(await self.worker.run(task, self.ask), calls=()))


class AsksTwice(InProcessSession):
    async def answer(self, task: RowTask) -> None:
        await self.worker.run(task, self.ask)
        await super().answer(task)


class NeverAsks(InProcessSession):
    def __init__(self, job: BatchJob, host: RowHost) -> None:
        super().__init__(evolve(job, metered=False), host)


class Forgets(InProcessSession):
    async def answer(self, task: RowTask) -> None:
        outcome = await self.worker.run(task, self.ask)
        self.host.deliver(RowOutcome.answered(task.number, json.loads(outcome.outputs or b"{}")))


FAULTS = [
    (LosesRows, "test_outcomes_are_in_order_and_tell_how_they_came_about"),
    (MixesRowsUp, "test_outcomes_are_in_order_and_tell_how_they_came_about"),
    (HidesCalls, "test_outcomes_are_in_order_and_tell_how_they_came_about"),
    (Forgets, "test_outcomes_are_in_order_and_tell_how_they_came_about"),
    (AsksTwice, "test_a_row_that_fails_leaves_the_others_alone"),
    (NeverAsks, "test_a_budget_holds_for_all_workers_together"),
]


@pytest.mark.parametrize(("session", "test"), FAULTS, ids=[session.__name__ for session, _ in FAULTS])
def test_the_suite_finds_a_backend_that(
    session: type[InProcessSession], test: str, make_remote: MakeExecutor, server: ChatServer
) -> None:
    with pytest.raises((AssertionError, ExecutionError)):
        getattr(TestInProcess(), test)(of(session), make_remote, server, {})


# -- what a session may say -----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer("[[ ## answer ## ]]\nseen {tag}\n\n[[ ## completed ## ]]") as server:
        yield server


@pytest.fixture
def make_remote(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExecutor]:
    with executors_on(server, monkeypatch) as make:
        yield make


def rows(count: int) -> list[dict[str, str]]:
    return BackendConformance.rows(count)


class Scripted(InProcessSession):
    """Answers as the number in the question says."""

    async def answer(self, task: RowTask) -> None:
        number = int(task.inputs["question"].removeprefix("tag-").rstrip("?"))
        if number == 1:
            self.host.deliver(RowOutcome.failed(task.number, LanguageModelError("scripted outage")))
        elif number == 2:
            self.host.deliver(RowOutcome.answered(task.number, {"reply": "?"}, usage=Usage(1, 1, 1), cost=0.5))
        elif number == 3:
            self.host.deliver(RowOutcome.returned(task.number, "it is too large"))
        elif (number == 4 and task.attempt < 3) or number == 5:
            self.host.deliver(RowOutcome.lost(task.number, "the node is gone"))
        elif number == 6:
            self.host.deliver(RowOutcome.answered(task.number, {"answer": "x"}, model="another/model"))
        else:
            self.host.deliver(RowOutcome.answered(4711, {"answer": "of an unknown row"}))
            await super().answer(task)
            self.host.deliver(RowOutcome.answered(task.number, {"answer": "said twice"}))


def test_every_kind_of_outcome_finds_its_row(make_remote: MakeExecutor, server: ChatServer) -> None:
    backend = of(Scripted)
    results = make_remote().execute_batch("Ask", rows(7), backend=backend, progress=False)
    assert [(outcome.index, type(outcome.error)) for outcome in results.failed] == [
        (1, LanguageModelError), (2, OutputError), (5, WorkerLost), (6, ExecutionError),
    ]  # fmt: skip
    assert [result["answer"] for result in results.succeeded] == ["seen tag-0", "seen tag-3", "seen tag-4"]
    assert results[2].cost == 0.5, "an answer that does not fit was paid"
    survived, lost = results[4], results[5]
    assert [attempt.outcome for attempt in survived.attempts] == ["abandoned", "abandoned", "ok"]
    assert survived.usage.calls == 3, "what was lost may have been paid"
    assert [attempt.outcome for attempt in lost.attempts] == ["abandoned"] * 3
    assert "the node is gone" in str(lost.error)
    assert "asked another/model" in str(results[6].error)
    assert server.counts.requests == 3
    assert sum(backend.sessions[0].chunks) == 7 + 2 + 2
    assert backend.closed == 0, "it belongs to who made it"


def test_what_is_lost_counts_towards_the_budget(make_remote: MakeExecutor) -> None:
    from hokusai_core import Budget

    class LosesOnce(InProcessSession):
        async def answer(self, task: RowTask) -> None:
            if task.attempt > 1:
                return await super().answer(task)
            await self.worker.run(task, self.ask)  # it was paid, and then the worker died
            self.host.deliver(RowOutcome.lost(task.number, "killed"))
            return None

    budget = Budget(calls=5)
    results = make_remote().execute_batch("Ask", rows(4), backend=of(LosesOnce), budget=budget, progress=False)
    assert budget.to_dict()["spent"]["calls"] == 5
    assert len(results.succeeded) <= 2


def test_a_session_that_breaks_fails_its_rows_and_no_others(make_remote: MakeExecutor) -> None:
    class Breaks(InProcessSession):
        chunk_size = 2

        async def run(self, tasks: Sequence[RowTask]) -> None:
            if any("tag-3" in task.inputs["question"] for task in tasks):
                raise ConnectionError("the cluster is gone")
            await super().run(tasks)

    results = make_remote().execute_batch("Ask", rows(6), backend=of(Breaks), progress=False)
    assert [failure.index for failure in results.failed] == [2, 3]
    assert all("the cluster is gone" in str(failure.error) for failure in results.failed)


def test_a_backend_of_a_plugin_is_made_once_and_closed_with_the_executor(make_remote: MakeExecutor) -> None:
    made: list[InProcessBackend] = []

    class Plugin:
        @hookimpl
        def provide_backends(self) -> list[Component]:
            def make(size: int = 1) -> InProcessBackend:
                made.append(InProcessBackend())
                return made[-1]

            return [Component(name="beside", target=make)]

    executor = make_remote(extra_plugins=[Plugin()])
    for backend in ("beside", "beside", {"name": "beside", "size": 2}):
        assert executor.execute_batch("Ask", rows(1), backend=backend, progress=False)[0]["answer"] == "seen tag-0"
    assert len(made) == 2
    with pytest.raises(ComponentNotFoundError, match="did you mean 'beside'"):
        executor.execute_batch("Ask", rows(1), backend="besides")
    with pytest.raises(ConfigurationError, match="expected a mapping of 'name'"):
        executor.execute_batch("Ask", rows(1), backend={"size": 2})
    executor.close()
    assert [backend.closed for backend in made] == [1, 1]


def test_testing_mode_answers_here(make_remote: MakeExecutor, server: ChatServer) -> None:
    backend = InProcessBackend()
    results = make_remote(mode="testing").execute_batch("Ask", rows(2), backend=backend, progress=False)
    assert results[0]["answer"] == "Sample answer"
    assert not backend.jobs
    assert not server.counts.requests


def test_a_policy_travels_as_data(make_remote: MakeExecutor) -> None:
    from hokusai_core import ModelPolicy

    backend = InProcessBackend()
    policy = ModelPolicy(["status-500", {"lm": "scripted", "parameters": {"temperature": 0.5}}], failures=None)
    results = make_remote(lm=policy).execute_batch("Ask", rows(2), backend=backend, progress=False)
    assert [result["answer"] for result in results.succeeded] == ["seen tag-0", "seen tag-1"]
    assert [attempt.model for attempt in results[0].attempts] == ["openai/status-500", "openai/scripted"]
    assert json.loads(json.dumps(backend.jobs[0].to_dict()))["lm"]["models"][1]["parameters"] == {"temperature": 0.5}


def test_a_job_says_what_is_left_and_how_long(make_remote: MakeExecutor) -> None:
    from hokusai_core import Budget

    backend, budget = InProcessBackend(), Budget(calls=9, cost=1, seconds=60)
    budget.reserve().charge(Usage(10, 5, 1), 0.25)
    make_remote().execute_batch("Ask", rows(1), backend=backend, budget=budget, timeout=7, progress=False)
    (job,) = backend.jobs
    assert (job.name, job.timeout, job.metered) == ("local/Ask", 7.0, True)
    assert job.budget is not None
    assert (job.budget["calls"], job.budget["tokens"], job.budget["cost"]) == (8, None, 0.75)
    assert job.deadline is not None
    assert 0 < job.budget["seconds"] <= 60
    assert "no-secret" not in json.dumps(job.to_dict())
    with pytest.raises(ConfigurationError, match="unknown: colour"):
        BatchJob.from_dict({**job.to_dict(), "colour": "red"})
    with pytest.raises(ConfigurationError, match="another signature"):
        JobWorker(evolve(job, fingerprint="0" * 32))
    with pytest.raises(ConfigurationError, match=r"hokusai-core 99\.0 is wanted"):
        JobWorker(evolve(job, plugins={"hokusai-core": "99.0"}))


def test_an_error_is_the_same_on_the_other_side() -> None:
    error = LanguageModelError("it is down", retryable=True, retry_after=3.0)
    again = RowError.of(error).to_error()
    assert isinstance(again, LanguageModelError)
    assert (str(again), again.retryable, again.retry_after) == ("it is down", True, 3.0)
    assert str(RowError.of(KeyError("x")).to_error()) == "KeyError: 'x'"
    assert type(RowError("BatchInterrupted", "no").to_error()) is ExecutionError


def test_notes_of_a_session_are_in_the_journal(make_remote: MakeExecutor, tmp_path: Path) -> None:
    class Notes(InProcessSession):
        def __init__(self, job: BatchJob, host: RowHost) -> None:
            super().__init__(job, host)
            assert host.notes is not None
            self.before = list(host.notes.read())
            host.notes.write({"ticket": len(self.before)})

    backend: Any = of(Notes)
    for _ in range(2):
        make_remote().execute_batch("Ask", rows(2), backend=backend, journal=tmp_path / "j", progress=False)
    assert [session.before for session in backend.sessions] == [[], [{"ticket": 0}]]

    class NeedsJournal(InProcessBackend):
        needs_journal = True

    with pytest.raises(ConfigurationError, match="needs journal="):
        make_remote().execute_batch("Ask", rows(1), backend=NeedsJournal(), progress=False)
