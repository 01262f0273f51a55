"""Sources of rows: any iterable, sync or async, finite or endless."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

from attrs import define

from hokusai_core.batch.results import FailedExecution
from hokusai_core.errors import ConfigurationError, ExecutionError, HokusaiError

if TYPE_CHECKING:
    from hokusai_core.runtime.window import Permit

__all__ = ["Row", "RowQueue", "aiter_rows", "check_rows", "is_in_memory", "iter_rows", "row_count"]


@define(eq=False)
class Row:
    """One row of a batch.

    Args:
        index: its number, from 0.
        inputs: what the source gave.
        key: what the journal finds it by; None without a journal.
        room: its permit among the rows that were taken and not yet handed out, where these are bounded.
    """

    index: int
    inputs: Any
    key: str | None = None
    room: Permit | None = None

    def failed(self, error: Exception, hidden: frozenset[str]) -> FailedExecution:
        """Return the outcome of this row where it failed with ``error``; values of ``hidden`` fields are not shown."""
        if isinstance(error, HokusaiError):
            error.__traceback__ = None  # it leads through frames of ours only, and keeps all that they hold alive
        attempts = error.attempts if isinstance(error, ExecutionError) else ()
        return FailedExecution(self.index, self.inputs, error, attempts, hidden)


def check_rows(source: Any, *, asynchronous: bool = False) -> None:
    """Refuse what cannot be rows, before anything is run.

    Raises:
        ConfigurationError: says what was given and what is expected.
    """
    if isinstance(source, (str, bytes, Mapping)) or not (
        isinstance(source, Iterable) or (asynchronous and isinstance(source, AsyncIterable))
    ):
        raise ConfigurationError(
            f"a batch takes an iterable of rows, each a mapping of input field to value; got {type(source).__name__}"
        )
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        raise ConfigurationError(
            f"a {type(source).__name__} iterates over its columns; give its rows: frame.to_dict('records')"
        )


def is_in_memory(source: Any) -> bool:
    """Return whether all rows are in memory, so that any thread may take one at any time.

    Other sequences may read their rows from somewhere else, and allow that on one thread only.
    """
    return isinstance(source, (list, tuple))


def row_count(source: Any) -> int | None:
    """Return how many rows there are; None where that is not known."""
    count = length_hint(source, -1)
    return None if count < 0 else count


def iter_rows(source: Iterable[Any], batch_size: int | None = None) -> Iterator[Row]:
    """Number the rows of ``source``, and read ``batch_size`` of them at once."""
    given = map(_copied, source)
    for index, inputs in enumerate(given if batch_size is None else _read_ahead(given, batch_size)):
        yield Row(index, inputs)


async def aiter_rows(source: Any, batch_size: int | None = None) -> AsyncIterator[Row]:
    """Async version of ``iter_rows``; an ordinary iterable is read on the event loop."""
    if not isinstance(source, AsyncIterable):
        for row in iter_rows(source, batch_size):
            yield row
        return
    index = 0
    async for inputs in source:
        yield Row(index, _copied(inputs))
        index += 1


def _copied(inputs: Any) -> Any:
    """Copy a row, as some sources use one mapping for all their rows."""
    try:
        return dict(inputs) if isinstance(inputs, Mapping) else inputs
    except Exception:  # of a mapping that reads its values from elsewhere: only its own row is to fail
        return inputs


def _read_ahead(given: Iterator[Any], count: int) -> Iterator[Any]:
    while chunk := list(islice(given, count)):
        yield from chunk


class RowQueue(Iterator[Row]):
    """Passes rows that one thread reads on to worker threads or an event loop; one consumer asks at a time.

    Args:
        source: the rows.
        capacity: rows that are read ahead at most.
    """

    def __init__(self, source: Iterator[Row], capacity: int) -> None:
        self._source: Iterator[Row] = source
        self._capacity = capacity
        self._read: deque[Row] = deque()
        # A condition is reentrant: the garbage collector may run inside, and shut the queue of a forgotten iterator.
        self._changed = threading.Condition()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = self._shut = False
        self._error: Exception | None = None

    def feed(self) -> None:
        """Read the source to its end, or until the queue is shut; blocks while the queue is full."""
        # A generator that holds a file open ends with the batch, not with the batch's iterator.
        source, self._source = self._source, iter(())
        try:
            while self._has_space():
                row = next(source, None)
                if row is None:
                    return
                with self._changed:
                    self._read.append(row)
                    self._wake()
        except Exception as error:  # is raised where the rows are taken
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._wake()

    def shut(self) -> None:
        """Release the thread that reads, and the consumer: the source may not give a row for a long time."""
        with self._changed:
            self._shut = self._ended = True
            self._wake()

    def __next__(self) -> Row:
        with self._changed:
            while not (self._read or self._ended):
                self._changed.wait()
        row = self._first()
        if row is None:
            raise StopIteration
        return row

    async def stream(self) -> AsyncIterator[Row]:
        """Yield the rows on an event loop."""
        while True:
            with self._changed:
                waiter = None
                if not (self._read or self._ended):
                    waiter = self._waiter = asyncio.get_running_loop().create_future()
            if waiter is not None:
                await waiter
            elif (row := self._first()) is None:
                return
            else:
                yield row

    def _has_space(self) -> bool:
        with self._changed:
            while len(self._read) >= self._capacity and not self._shut:
                self._changed.wait()
            return not self._shut

    def _first(self) -> Row | None:
        """Return the next row, None at the end; raise what the source has raised."""
        with self._changed:
            if self._read:
                self._changed.notify_all()
                return self._read.popleft()
        if self._error is not None:
            raise self._error
        return None

    def _wake(self) -> None:
        self._changed.notify_all()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop = waiter.get_loop()
            try:
                loop.call_soon_threadsafe(_set, waiter)
            except RuntimeError:
                if not loop.is_closed():
                    raise


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
