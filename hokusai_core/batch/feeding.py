"""Running an engine to its end from a thread that blocks."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING, Any

from hokusai_core.batch.engines import Engine, LoopEngine, ThreadEngine
from hokusai_core.batch.rows import Handoff, is_in_memory, rows
from hokusai_core.errors import ClosedError

if TYPE_CHECKING:
    from hokusai_core.executor import Executor

__all__ = ["Feeding"]


class Feeding:
    """Runs an engine to its end from a thread that blocks."""

    def __init__(
        self, engine: Engine, executor: Executor, source: Iterable[Any], batch_size: int | None, width: int
    ) -> None:
        self._engine, self._executor = engine, executor
        self._source: Iterable[Any] = source
        self._batch_size = batch_size
        self._handoff = Handoff(width) if isinstance(engine, LoopEngine) and not is_in_memory(source) else None
        self._future: Any = None
        self._abandoned = False

    def run(self) -> None:
        """Feed the engine and wait for its end; raises what the source raises."""
        engine = self._engine
        # Kept by nobody afterwards: a generator that holds a file open ends with the batch, not with its iterator.
        source, self._source = self._source, ()
        if isinstance(engine, ThreadEngine):
            try:
                engine.feed(rows(source, self._batch_size), shared=is_in_memory(source))
            except Exception:  # of the source: what was taken is finished first
                engine.wait()
                raise
            engine.wait()
        elif isinstance(engine, LoopEngine):
            self._future = self._executor.services.loop.submit(engine.run(self._handoff or rows(source)))
            if self._handoff is not None:
                self._future.add_done_callback(lambda _: self._handoff.shut())
                self._handoff.feed(rows(source, self._batch_size))
            self._wait()

    def _wait(self) -> None:
        try:
            self._future.result()
        except CancelledError:
            if not self._abandoned:
                raise ClosedError("the executor was closed while the batch ran; the rows under way were left") from None

    def finish(self) -> None:
        """Take no further row and wait for those under way; a second Ctrl-C leaves them."""
        self.stop()
        try:
            if isinstance(self._engine, ThreadEngine):
                self._engine.wait()
            elif self._future is not None:
                wait_for([self._future])
        except KeyboardInterrupt:
            self.abandon()

    def stop(self) -> None:
        """Take no further row."""
        self._engine.stop()
        if self._handoff is not None:
            self._handoff.shut()

    def abandon(self) -> None:
        """Cancel what can be cancelled, and wait for nothing."""
        self.stop()
        self._abandoned = True
        if self._future is not None:
            self._future.cancel()
