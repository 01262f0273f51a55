"""Single flight: identical executions at the same time share one call of the language model.

The first caller of a key leads and works; the others wait. Threads and event loops may be mixed. Where the leader
fails, each waiter gets that error. Where the leader goes away (cancelled, or its deadline passed), nothing is known
about the answer, so one of the waiters takes the lead and the rest go on waiting.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Flight", "Flights", "LeaderLeft"]

T = TypeVar("T")


class LeaderLeft(Exception):
    """The leader went away without an answer; try to take the lead."""


class Flight(Generic[T]):
    """One piece of work that several callers want.

    Args:
        key: what tells it from others.
        retries: tries after the first that its leader makes.

    Attributes:
        outcome: the answer or the error, once there is one.
        thread: identifier of the thread on which its leader works.
    """

    def __init__(self, key: str, retries: int = 0) -> None:
        self.key, self.retries = key, retries
        self.outcome: Future[T] = Future()
        self.thread = threading.get_ident()


class Flights(Generic[T]):
    """The flights under way in one executor."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def under_way(self, key: str) -> bool:
        """Return whether somebody works on ``key`` right now."""
        return key in self._flights

    def join(self, key: str, retries: int = 0) -> tuple[Flight[T], bool]:
        """Return the flight of ``key`` and whether the caller leads it.

        A leader must call ``leave`` in the end, whether it has called ``land`` before or not.
        """
        with self._lock:
            if self._process != os.getpid():  # a forked child inherits the flights, but no leader
                self._flights, self._process = {}, os.getpid()
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key, retries)
            return flight, True

    def land(self, flight: Flight[T], *, answer: T | None = None, error: Exception | None = None) -> None:
        """Give every waiter the answer, or the error."""
        self._remove(flight)
        if error is not None:
            flight.outcome.set_exception(error)
        else:
            flight.outcome.set_result(answer)  # type: ignore[arg-type]  # exactly one of the two is given

    def leave(self, flight: Flight[T]) -> None:
        """Go away; where it has not landed, a waiter takes the lead."""
        if not flight.outcome.done():
            self._remove(flight)
            flight.outcome.set_exception(LeaderLeft())

    def _remove(self, flight: Flight[T]) -> None:
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
