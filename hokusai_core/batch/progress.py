"""Progress of a batch: a bar on a terminal, plain lines in a log, or a callback of the host."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from attrs import frozen

from hokusai_core.batch.results import FailedExecution
from hokusai_core.errors import ConfigurationError
from hokusai_core.results import Usage

__all__ = ["BatchProgress", "ProgressCounter", "Reporter", "make_reporter"]

#: Seconds before a batch draws a bar of its own accord, between two states of the bar, and between plain lines.
_QUIET, _DRAW_EVERY, _LINES_EVERY = 1.0, 0.1, 10.0


@frozen
class BatchProgress:
    """The progress of a batch.

    Args:
        name: what is run.
        done: rows that are over, the failed ones included.
        failed: rows that failed.
        cached: rows that a cache, the journal or an identical row answered.
        total: rows that there are, None if that is not known.
        elapsed: seconds since the batch began.
        rate: rows a second that were really executed.
        eta: seconds that are left at that rate, None if that is not known.
        usage: tokens of this run.
        cost: estimated US dollars of this run.
    """

    name: str
    done: int
    failed: int
    cached: int
    total: int | None
    elapsed: float
    rate: float
    eta: float | None
    usage: Usage
    cost: float

    def __str__(self) -> str:
        rows = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        parts = [f"{self.name}: {rows} rows"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.cached:
            parts.append(f"{self.cached} cached")
        parts.append(f"{self.rate:.1f}/s")
        if self.eta is not None and self.done != self.total:
            parts.append(f"{_duration(self.eta)} left")
        parts.append(f"{self.usage.total_tokens:,} tokens")
        if self.cost:
            parts.append(f"${self.cost:.4f}")
        return ", ".join(parts)


class Reporter(Protocol):
    """Shows how far a batch is."""

    def update(self, progress: Callable[[], BatchProgress]) -> None:
        """Take note that a row is over; ``progress`` works the figures out where they are wanted."""
        ...

    def close(self, progress: Callable[[], BatchProgress]) -> None:
        """Take note that the batch is over."""
        ...


class ProgressCounter:
    """Counts the rows of a batch and tells a reporter; rows end on many threads, so every call takes turns.

    Args:
        name: what is run.
        total: rows that there are, None if that is not known.
        reporter: shows progress; None for none.
    """

    def __init__(self, name: str, total: int | None, reporter: Reporter | None) -> None:
        self._name, self._total, self._reporter = name, total, reporter
        self._started = time.monotonic()
        self._done = self._failed = self._cached = self._read_back = 0
        self._usage = Usage()
        self._cost = 0.0
        self._lock = threading.Lock()

    def count(self, outcome: Any) -> None:
        """Count a row that is over."""
        usage, cost = outcome.usage, outcome.cost
        with self._lock:
            self._done += 1
            cached = getattr(outcome, "cached", None)
            self._failed += isinstance(outcome, FailedExecution)
            self._cached += cached is not None
            self._read_back += cached == "journal"
            self._usage += usage
            self._cost += cost or 0.0
            if self._reporter is not None:
                self._reporter.update(self.progress)

    def close(self) -> None:
        """Say how it ended."""
        with self._lock:
            if self._reporter is not None:
                self._reporter.close(self.progress)
                self._reporter = None

    @property
    def done(self) -> int:
        """Rows that are over."""
        return self._done

    def progress(self) -> BatchProgress:
        """Return the figures of now."""
        elapsed = time.monotonic() - self._started
        rate = (self._done - self._read_back) / elapsed if elapsed > 0 else 0.0
        left = None if self._total is None else max(0, self._total - self._done)
        eta = None if left is None or rate <= 0 else left / rate
        return BatchProgress(
            self._name, self._done, self._failed, self._cached, self._total, elapsed, rate, eta, self._usage, self._cost
        )


def make_reporter(progress: Any, total: int | None) -> Reporter | None:
    """Return what shows progress; None for nothing.

    Args:
        progress: False for nothing; None for a bar, or lines in a log, once the batch takes a while; True for the same
            from the start; or a callable that is given a ``BatchProgress`` after every row.
        total: rows that there are, None if that is not known.

    Raises:
        ConfigurationError: ``progress`` is none of these.
    """
    if progress is False:
        return None
    if callable(progress):
        return _Callable(progress)
    if progress is not None and progress is not True:
        raise ConfigurationError(f"progress={progress!r}: expected True, False, None or a callable")
    stream = sys.stderr
    quiet = _QUIET if progress is None else 0.0
    if stream is None:
        return None
    if stream.isatty():
        try:
            return _Bar(importlib.import_module("rich.progress"), importlib.import_module("rich.console"), total, quiet)
        except ImportError:  # a bar is a comfort that the core does not depend on
            pass
    return _Lines(stream, quiet=_LINES_EVERY if progress is None else 0.0)


class _Callable:
    """A callable of the host's; what it raises must not cost the batch."""

    def __init__(self, tell: Callable[[BatchProgress], object]) -> None:
        self._tell: Callable[[BatchProgress], object] | None = tell

    def update(self, progress: Callable[[], BatchProgress]) -> None:
        if self._tell is None:
            return
        try:
            self._tell(progress())
        except Exception as error:
            self._tell = None
            warnings.warn(
                f"the progress callable raised {type(error).__name__}: {error}; the batch goes on without it",
                stacklevel=2,
            )

    def close(self, progress: Callable[[], BatchProgress]) -> None:
        """Say nothing: the last row has said it."""


class _Lines:
    """A line from time to time, and one at the end."""

    def __init__(self, stream: TextIO, quiet: float) -> None:
        self._stream = stream
        self._next = time.monotonic() + quiet
        self._wrote = quiet <= 0.0

    def update(self, progress: Callable[[], BatchProgress]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next, self._wrote = now + _LINES_EVERY, True
            self._write(progress())

    def close(self, progress: Callable[[], BatchProgress]) -> None:
        if self._wrote:
            self._write(progress())

    def _write(self, progress: BatchProgress) -> None:
        try:
            print(progress, file=self._stream, flush=True)
        except (OSError, ValueError):  # the other end of the pipe is gone, or the stream was closed
            self._next = float("inf")


class _Bar:
    """A bar on the terminal, drawn by rich."""

    def __init__(self, rich: Any, console: Any, total: int | None, quiet: float) -> None:
        self._bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[figures]}"),
            console=console.Console(stderr=True),
            transient=quiet > 0.0,
        )
        self._task: Any = None
        self._total = total
        self._next = time.monotonic() + quiet

    def update(self, progress: Callable[[], BatchProgress]) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _DRAW_EVERY
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, figures="")
        self._draw(progress())

    def close(self, progress: Callable[[], BatchProgress]) -> None:
        if self._task is not None:
            self._draw(progress())
            self._bar.stop()

    def _draw(self, now: BatchProgress) -> None:
        figures = str(now).partition(" rows")[2].lstrip(", ")
        self._bar.update(self._task, description=now.name, completed=now.done, figures=figures)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
