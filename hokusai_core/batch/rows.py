"""Where rows come from: any iterable, also an endless one, also an asynchronous one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Any

from hokusai_core.batch.row_execution import Row
from hokusai_core.errors import ConfigurationError
from hokusai_core.runtime.window import ConcurrencyWindow, Permit

__all__ = ["Handoff", "aiter_rows", "check_rows", "is_in_memory", "rows", "total_of"]


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
    """Return whether all rows lie in memory, so that it does not matter which thread takes one, or when.

    Other sequences may read them from somewhere, and from one thread only.
    """
    return isinstance(source, (list, tuple))


def total_of(source: Any) -> int | None:
    """Return how many rows there are, None where nobody knows."""
    count = length_hint(source, -1)
    return None if count < 0 else count


def rows(source: Iterable[Any], batch_size: int | None = None) -> Iterator[Row]:
    """Number the rows of ``source``; ``batch_size`` of them are read at once."""
    given = map(_kept, source)
    for index, inputs in enumerate(given if batch_size is None else _read_ahead(given, batch_size)):
        yield Row(index, inputs)


async def aiter_rows(source: Any, batch_size: int | None = None) -> AsyncIterator[Row]:
    """Do as ``rows`` for an asynchronous iterable, or an ordinary one, which is then read on the event loop."""
    if not isinstance(source, AsyncIterable):
        for row in rows(source, batch_size):
            yield row
        return
    index = 0
    async for inputs in source:
        yield Row(index, _kept(inputs))
        index += 1


def _kept(inputs: Any) -> Any:
    """Return a row that its source cannot change any more: some reuse one mapping for all rows."""
    try:
        return dict(inputs) if isinstance(inputs, Mapping) else inputs
    except Exception:  # of a mapping that reads its values somewhere: its row fails, and does not end the others
        return inputs


def _read_ahead(given: Iterator[Any], count: int) -> Iterator[Any]:
    while chunk := list(islice(given, count)):
        yield from chunk


class Handoff:
    """Hands rows that one thread reads to an event loop on another, a bounded number ahead.

    Args:
        capacity: rows that are read ahead at most.
    """

    def __init__(self, capacity: int) -> None:
        self._space = ConcurrencyWindow(capacity)
        self._rows: deque[tuple[Row, Permit]] = deque()
        # Reentrant: the garbage collector may run inside, and shut the handoff of an iterator that was forgotten.
        self._lock = threading.RLock()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._ended = False
        self._error: Exception | None = None

    def feed(self, source: Iterator[Row]) -> None:
        """Read ``source`` until its end, or until nobody wants more."""
        try:
            while place := self._space.enter():
                row = next(source, None)
                if row is None:
                    return
                self._put(row, place)
        except Exception as error:  # belongs to whoever takes the rows
            self._error = error
        finally:
            self._put(None, None)

    def shut(self) -> None:
        """Let the reading thread go, and whoever waits for a row: the source may not give one for a long time."""
        self._space.shut()
        self._put(None, None)

    def __aiter__(self) -> AsyncIterator[Row]:
        return self

    async def __anext__(self) -> Row:
        while True:
            with self._lock:
                taken = self._rows.popleft() if self._rows else None
                ended = self._ended
                waiter = None
                if taken is None and not ended:
                    loop = asyncio.get_running_loop()
                    waiter = loop.create_future()
                    self._waiting = loop, waiter
            if taken is not None:
                taken[1].leave()
                return taken[0]
            if waiter is None:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await waiter

    def _put(self, row: Row | None, place: Permit | None) -> None:
        with self._lock:
            if row is None or place is None:
                self._ended = True
            else:
                self._rows.append((row, place))
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            loop, waiter = waiting
            try:
                loop.call_soon_threadsafe(_wake, waiter)
            except RuntimeError:
                if not loop.is_closed():
                    raise


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
