"""What a session does when calls of workers fail in an order that a cluster seldom shows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hokusai_core.plugin_api import CallOffer, JobNotes, RowOutcome, RowTask
from hokusai_ray.session import RaySession


class Unreachable(Exception):
    """As Ray raises where an actor does not answer."""


RAY = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=Exception, ActorUnavailableError=Unreachable), is_initialized=lambda: True
)


class Method:
    """A method of an actor: the call begins at once."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def remote(self, *arguments: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.function(*arguments))


class Actor:
    """Answers every row. A silent one fails to take rows, and has died or answers again 0.2 s later."""

    def __init__(self, *, silent: bool, comes_back: bool = True) -> None:
        self.silent, self.comes_back = silent, comes_back
        self.batches: list[int] = []
        self.news: asyncio.Queue[RowOutcome] = asyncio.Queue()
        self.start, self.collect, self.open, self.end = map(Method, (self._start, self._collect, self._open, self._end))

    async def _start(self, identity: str, job: str, tasks: Sequence[RowTask]) -> bool:
        self.batches.append(len(tasks))
        if self.silent:
            raise Unreachable("no answer")
        for task in tasks:
            self.news.put_nowait(RowOutcome.answered(task.number, {"answer": "yes"}))
        return True

    async def _collect(self, job: str, seconds: float) -> tuple[str, list[RowOutcome]]:
        if self.silent:
            await asyncio.sleep(0.2)
            if not self.comes_back:
                raise Unreachable("it died")
            self.silent = False
            return "one", []
        return "one", [await self.news.get()]

    async def _open(self, job: Any, concurrency: int) -> tuple[str, str]:
        return "two", "it has another version"

    async def _end(self, job: str) -> None:
        """Nothing is left to end."""


class Host:
    """Takes outcomes, and runs what was lost again, as a batch does."""

    notes: JobNotes | None = None

    def __init__(self) -> None:
        self.outcomes: dict[int, list[RowOutcome]] = {}
        self.again: list[int] = []

    def deliver(self, outcome: RowOutcome) -> None:
        self.outcomes.setdefault(outcome.number % 100, []).append(outcome)
        if outcome.status == "lost":
            self.again.append(outcome.number + 100)

    async def admit(self, number: int, offer: CallOffer, *, rated: bool = True) -> int | None:
        raise AssertionError("nothing bounds these calls, so none is asked about")


def answered(*actors: Actor) -> list[int]:
    """Run rows on actors, again as long as they are lost, and return how often each one was lost."""

    async def run() -> list[int]:
        host = Host()
        job: Any = SimpleNamespace(job_id="j")
        workers = [(actor, "one") for actor in actors]
        session = RaySession(RAY, job, host, workers, concurrency=4, prefetch=0, chunk_size=4, patience=5.0)
        waiting = list(range(8))
        while waiting:
            await asyncio.wait_for(session.run([RowTask(number=number, inputs={}) for number in waiting]), 10)
            waiting, host.again = host.again, []
        session.close()
        assert all(told[-1].status == "answered" for told in host.outcomes.values())
        return [len(host.outcomes[number]) - 1 for number in range(8)]

    return asyncio.run(run())


def test_a_worker_that_takes_no_rows_is_sent_no_others_until_it_is_known_what_became_of_it() -> None:
    for comes_back in (True, False):
        silent, well = Actor(silent=True, comes_back=comes_back), Actor(silent=False)
        lost = answered(silent, well)
        assert sum(lost) == silent.batches[0] == 4
        assert max(lost) == 1


def test_rows_wait_for_a_worker_that_only_missed_a_message() -> None:
    alone = Actor(silent=True)
    assert sum(answered(alone)) == 4
    assert sum(alone.batches) == 12
