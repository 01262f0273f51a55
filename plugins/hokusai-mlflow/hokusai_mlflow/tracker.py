"""MlflowTracker: accepts executions on the caller's thread in microseconds, and leaves the rest to the writer."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from hokusai_mlflow.options import TrackingOptions, make_options
from hokusai_mlflow.recorder import Recorder

if TYPE_CHECKING:
    from hokusai_core.plugin_api import TrackedEvent

__all__ = ["MlflowTracker"]


class MlflowTracker:
    """Records executions in MLflow without the caller noticing.

    ``record`` appends one line to the spool. A writer process, started when there is something to deliver, reads the
    spool and talks to MLflow. What was accepted survives the death of this process, of the writer and of the
    tracking server, and is delivered once.

    Args:
        **options: see ``TrackingOptions``.

    Raises:
        ConfigurationError: an option is unknown or has a value that cannot be used.

    Example::

        with Executor(trackers={"mlflow": MlflowTracker(experiment="Mails", sampling=0.1)}) as executor:
            executor.execute_signature("EmailDraft", inputs)
    """

    def __init__(self, **options: Any) -> None:
        self._state = Recorder(make_options(options))
        # Neither the exit of the process nor the end of a forgotten tracker needs the tracker itself.
        weakref.finalize(self, self._state.abandon).atexit = False

    @property
    def options(self) -> TrackingOptions:
        """The options that this tracker works with."""
        return self._state.options

    def record(self, event: TrackedEvent) -> None:
        """Accept one event: one unbuffered append to the spool."""
        self._state.record(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Have everything delivered that was accepted so far.

        Args:
            timeout: seconds to wait at most, None for as long as it takes.

        Returns:
            Whether MLflow has all of it.
        """
        wait = self._state.wait(timeout)
        for pause in wait:
            time.sleep(pause)
        return wait.delivered

    async def aflush(self, timeout: float | None = None) -> bool:
        """Do as ``flush`` without blocking the event loop."""
        wait = self._state.wait(timeout)
        for pause in wait:
            await asyncio.sleep(pause)
        return wait.delivered

    def anchor(self) -> AbstractContextManager[None]:
        """Return a context whose copies, on whatever thread, record in the host's run that is active here."""
        return self._state.anchor()

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, refused, backlog, lag, the last error, where it goes."""
        return self._state.status()

    def close(self) -> None:
        """Deliver what waits, for ``exit_timeout`` seconds at most; the writer goes on with the rest."""
        self._state.close()
