"""The feedback stage: stores an execution for feedback before its caller gets the result."""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import ComponentConflictError, PluginError
from hokusai_core.install_command import install_command
from hokusai_core.option_table import ComponentChoice
from hokusai_core.process import check_fork_safe, fork_callbacks, made_after_fork
from hokusai_core.redaction import scrubbed_error

if TYPE_CHECKING:
    from hokusai_core.events import ExecutionFinished
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import FeedbackStore
    from hokusai_core.signatures import SignatureSpec

__all__ = ["FeedbackStage", "FeedbackWarning"]


class FeedbackWarning(UserWarning):
    """An execution could not be kept for feedback. Its result is not affected."""


class FeedbackStage:
    """Keeps executions in a feedback store, which is made for the first one.

    Args:
        plugins: where stores come from.
        chosen: name of a store, or a store; None for the only installed one.
    """

    def __init__(self, plugins: PluginManager, chosen: Any) -> None:
        self._plugins, self._chosen = plugins, chosen
        self._store: FeedbackStore | None = None
        self._made = False
        self._lock = threading.Lock()
        self._kept = self._failed = 0
        self._last_error: str | None = None
        #: Stores of parent processes; kept, as closing one would close what the parent uses.
        self._inherited: list[FeedbackStore] = []
        self._forked = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock, self._forked = threading.Lock(), True
        given = self._chosen is not None and not isinstance(self._chosen, str | ComponentChoice)
        if self._store is not None and not given and made_after_fork(self._store):
            self._inherited.append(self._store)
            self._store, self._made = None, False

    def prepare(self) -> None:
        """Make the store, before an execution that is to be kept is paid for.

        Raises:
            PluginError: there is a store to use and its plugin cannot make it. A store that is only out of order is no
                error: executions go on, and a warning says that they are not kept.
        """
        try:
            self.store()
        except PluginError:
            raise
        except Exception:  # `keep` tries again and warns
            return

    def keep(self, event: ExecutionFinished, spec: SignatureSpec) -> bool:
        """Keep an execution and return whether it is durable. A failure is warned about, never raised."""
        try:
            store = self.store()
            if store is None:
                self._fail(f"no feedback store is installed ({install_command('hokusai-teleprompt')})")
                return False
            store.keep(event, spec)
        except Exception as error:  # the answer is paid for, so a full disk must not cost it
            self._fail(scrubbed_error(error))
            return False
        with self._lock:
            self._kept += 1
        return True

    async def akeep(self, event: ExecutionFinished, spec: SignatureSpec) -> bool:
        """Async version of ``keep``."""
        return await asyncio.to_thread(self.keep, event, spec)

    def store(self) -> FeedbackStore | None:
        """Return the store, None where there is none."""
        with self._lock:
            if not self._made:
                self._store = self._make()
                self._made = True
            if self._forked and self._store is self._chosen:
                check_fork_safe("feedback store", type(self._chosen).__name__, self._chosen)
            return self._store

    def stats(self) -> dict[str, Any]:
        """Return how many executions were kept, how many were not, and why the last one was not."""
        with self._lock:
            return {"kept": self._kept, "failed": self._failed, "last_error": self._last_error}

    def close(self) -> None:
        """Close the store if it was made here."""
        with self._lock:
            store, self._store = self._store, None
            given = self._chosen is not None and not isinstance(self._chosen, str | ComponentChoice)
        if store is not None and not given:
            store.close()

    def _make(self) -> FeedbackStore | None:
        if self._chosen is not None and not isinstance(self._chosen, str | ComponentChoice):
            given: FeedbackStore = self._chosen
            return given
        if self._chosen is not None:
            store: FeedbackStore = self._plugins.create("feedback_store", self._chosen)
            return store
        offered = self._plugins.components("feedback_store")
        if len(offered) > 1:
            names = ", ".join(component.qualified_name for component in offered)
            raise ComponentConflictError(
                f"several feedback stores are installed ({names}); choose with feedback_store='...' or "
                "HOKUSAI_FEEDBACK_STORE"
            )
        return self._plugins.create("feedback_store", offered[0].qualified_name) if offered else None

    def _fail(self, cause: str) -> None:
        with self._lock:
            self._failed += 1
            self._last_error = cause
        warnings.warn(
            f"an execution was not kept for feedback, so none can be given on it: {cause}",
            FeedbackWarning,
            stacklevel=2,
        )
