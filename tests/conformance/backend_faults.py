"""Batch backends of authors in a hurry: each breaks the contract in one way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from attrs import evolve

from hokusai_core.errors import LanguageModelError
from hokusai_core.plugin_api import BatchJob, JobWorker, RowHost, RowOutcome, RowTask, Usage
from hokusai_core.testing.backends import BackendConformance


class Session:
    """A session that is right: it answers rows on the event loop of the batch, with a worker made of the job's JSON."""

    capacity, chunk_size, linger, own_time = 16, 4, 0.0, False

    def __init__(self, job: BatchJob, host: RowHost) -> None:
        self.host = host
        self.ask: Any = host.admit if job.metered else None
        self.worker = JobWorker(BatchJob.from_dict(json.loads(json.dumps(job.to_dict()))))

    async def run(self, tasks: Sequence[RowTask]) -> None:
        await asyncio.gather(*map(self.answer, tasks))

    async def answer(self, task: RowTask) -> None:
        self.host.deliver(self.outcome(await self.worker.run(task, self.ask)))

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return outcome

    def close(self) -> None:
        self.worker.close()


class Backend:
    """A backend of such sessions."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def open(self, job: BatchJob, host: RowHost) -> Any:
        return self.session(job, host)

    def close(self) -> None:
        pass


class LosesTheFirstRow(Session):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        await super().run(tasks[1:])


class LosesTheLastRow(Session):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        await super().run(tasks[:-1] or tasks)


class RunsTheFirstChunkOnly(Session):
    done = False

    async def run(self, tasks: Sequence[RowTask]) -> None:
        done, self.done = self.done, True
        await super().run(() if done else tasks)


class MixesRowsUp(Session):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        numbers = [task.number for task in tasks]
        for task, number in zip(tasks, numbers[1:] + numbers[:1], strict=True):
            self.host.deliver(evolve(await self.worker.run(task, self.ask), number=number))


class CountsRowsAnew(Session):
    async def run(self, tasks: Sequence[RowTask]) -> None:
        for number, task in enumerate(tasks):
            self.host.deliver(evolve(await self.worker.run(task, self.ask), number=number))


class RepeatsTheFirstAnswer(Session):
    first: Any = None

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        self.first = self.first or outcome.outputs
        return evolve(outcome, outputs=self.first)


class RemembersRowsByTheirNumber(Session):
    """Numbers belong to one batch."""

    answers: ClassVar[dict[int, Any]] = {}

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, outputs=self.answers.setdefault(outcome.number, outcome.outputs))


class AnswersWithNothing(Session):
    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, outputs=b"{}")


class AnswersWithTheQuestion(Session):
    async def answer(self, task: RowTask) -> None:
        outcome = await self.worker.run(task, self.ask)
        self.host.deliver(evolve(outcome, outputs=json.dumps({"answer": task.inputs["question"]}).encode()))


class AnswersWithText(Session):
    """In place of JSON."""

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, outputs=str(outcome.outputs).encode())


class HidesCalls(Session):
    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, calls=())


class HidesTokens(Session):
    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, calls=tuple(evolve(call, usage=Usage(calls=1)) for call in outcome.calls))


class HidesCosts(Session):
    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return evolve(outcome, calls=tuple(evolve(call, cost=None) for call in outcome.calls))


class ForgetsHowItCameAbout(Session):
    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return RowOutcome.answered(outcome.number, json.loads(outcome.outputs or b"{}"))


class AsksTwice(Session):
    async def answer(self, task: RowTask) -> None:
        await self.worker.run(task, self.ask)
        await super().answer(task)


class NeverAsksForRoom(Session):
    """The budget is that of all workers together."""

    tests = ("test_a_budget_holds_for_all_workers_together",)

    def __init__(self, job: BatchJob, host: RowHost) -> None:
        super().__init__(evolve(job, metered=False), host)


class AsksForRoomOnce(Session):
    """One admission for all calls."""

    tests = ("test_a_budget_holds_for_all_workers_together",)

    admission: Any = None

    def __init__(self, job: BatchJob, host: RowHost) -> None:
        super().__init__(job, host)
        if job.metered:
            self.ask = self.once

    async def once(self, number: int, offer: Any, **options: Any) -> Any:
        if self.admission is None:
            self.admission = await self.host.admit(number, offer, **options)
        return self.admission


class AlwaysHasRoom(AsksForRoomOnce):
    async def once(self, number: int, offer: Any, **options: Any) -> Any:
        await self.host.admit(number, offer, **options)
        return 0


class FailsEachTenth(Session):
    count = 0

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        self.count += 1
        return RowOutcome.failed(outcome.number, LanguageModelError("busy")) if self.count % 10 == 0 else outcome


class LosesWorkers(Session):
    """A row that is answered is said to be lost, so it is paid twice."""

    count = 0

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        self.count += 1
        return RowOutcome.lost(outcome.number, "the worker died") if self.count == 1 else outcome


class HandsRowsBack(Session):
    """After it has answered them."""

    def outcome(self, outcome: RowOutcome) -> RowOutcome:
        return RowOutcome.returned(outcome.number, "it is not sure")


class NeedsAnotherArgument(Session):
    async def run(self, tasks: Sequence[RowTask], workers: int) -> None:  # type: ignore[override]  # that is the fault
        await super().run(tasks)


class HasNoCapacity:
    chunk_size, linger, own_time = 4, 0.0, False
    __init__, run, close = Session.__init__, Session.run, Session.close
    answer, outcome = Session.answer, Session.outcome


class Suite(BackendConformance):
    @pytest.fixture
    def backend(self, planted: Any) -> Any:
        return Backend(planted)


GOOD = Session
FAULTS = [
    LosesTheFirstRow, LosesTheLastRow, RunsTheFirstChunkOnly, MixesRowsUp, CountsRowsAnew, RepeatsTheFirstAnswer,
    RemembersRowsByTheirNumber, AnswersWithNothing, AnswersWithTheQuestion, AnswersWithText, HidesCalls, HidesTokens,
    HidesCosts, ForgetsHowItCameAbout, AsksTwice, NeverAsksForRoom, AsksForRoomOnce, AlwaysHasRoom, FailsEachTenth,
    LosesWorkers, HandsRowsBack, NeedsAnotherArgument, HasNoCapacity,
]  # fmt: skip


def clean_up() -> None:
    RemembersRowsByTheirNumber.answers.clear()
