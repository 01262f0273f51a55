"""Delivers the targets of a spool folder, one after the other, and keeps the failures of one from the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mlflow.exceptions import MlflowException

from hokusai_core.plugin_api import OutboxFolder
from hokusai_mlflow.delivery.failures import Failures, network_error
from hokusai_mlflow.delivery.mlflow_prompts import PromptVersions
from hokusai_mlflow.delivery.mlflow_runs import Targets
from hokusai_mlflow.delivery.mlflow_stores import is_busy, private_files
from hokusai_mlflow.delivery.outbox_reader import CHUNK
from hokusai_mlflow.delivery.target_delivery import TargetDelivery, TraceWaits
from hokusai_mlflow.delivery.trace_sampler import TraceSampler
from hokusai_mlflow.target_state import TargetState, state_files

__all__ = ["Publisher"]

#: Seconds without a new record after which a target is delivered to, so that the writer works when its caller does not;
#: and seconds after which it is delivered to although records keep coming.
_QUIET: Final = 2.0
_LONGEST: Final = 10.0


class Publisher:
    """Brings MLflow up to date with a spool folder.

    Args:
        folder: the spool folder.
        secret_uris: addresses with credentials, by their public form.
        on_contact: called before a store is talked to, which may not answer for long.
    """

    def __init__(self, folder: Path, secret_uris: Mapping[str, str], on_contact: Callable[[], None]) -> None:
        self._folder, self._on_contact = folder, on_contact
        TargetState.make_folder(folder)
        self._targets, self._sampler = Targets(secret_uris), TraceSampler()
        self._deliveries: dict[str, TargetDelivery] = {}
        #: Target -> since when something waits there.
        self._waiting: dict[str, float] = {}
        self.failures = Failures(self._described)
        #: Address that was talked to last.
        self.contact: str | None = None
        #: Figure -> how much of it.
        self.counters: dict[str, int] = {}
        #: What people have to know, and nothing is tried again for.
        self.notes: list[str] = []
        self._prompts = PromptVersions(self._note_prompts)

    def step(self, *, hurry: bool = False) -> bool:
        """Deliver a chunk of each target; return whether anything was sent.

        Args:
            hurry: whether something waits for all of it.
        """
        self._find()
        sent = False
        # Those that failed come last, so that a store that does not answer holds up the others least.
        failed = self.failures.has_failed
        for one in sorted(self._deliveries.values(), key=lambda d: failed(d.uri) or failed(d.uri, d.key)):
            delivered = False
            if one.has_rows() and (hurry or self._is_due(one)):
                delivered = self._guarded(one, one.deliver_rows)
                if one.backlog() < CHUNK:
                    self._waiting.pop(one.key, None)
            if not delivered and one.state.owed:
                delivered = self._guarded(one, one.deliver_traces)
            sent |= delivered
        return sent

    def _is_due(self, one: TargetDelivery) -> bool:
        now = time.monotonic()
        return now - self._waiting.setdefault(one.key, now) > _LONGEST or one.quiet_for() > _QUIET

    def retire(self) -> bool:
        """Delete segments that are delivered and have no owner any more; return whether a target is done with."""
        self._find()
        done = False
        for one in list(self._deliveries.values()):
            if not one.state.pending and not one.state.owed and self._guarded(one, one.finish, talks=False):
                del self._deliveries[one.key]
                done = True
        OutboxFolder(self._folder).remove_unfinished()
        return done

    def is_done(self) -> bool:
        """Return whether MLflow has everything."""
        self._find()
        return not any(one.has_more() for one in self._deliveries.values())

    def is_stuck(self) -> bool:
        """Return whether everything that waits is refused at the moment."""
        waiting = [one for one in self._deliveries.values() if one.has_more()]
        return bool(waiting) and all(self.failures.is_paused(one.uri, one.key) for one in waiting)

    def has_owners(self) -> bool:
        """Return whether there are segments."""
        return bool(self._deliveries)

    def _find(self) -> None:
        found: dict[str, list[str]] = {}
        for entry in OutboxFolder(self._folder).segments():
            found.setdefault(OutboxFolder.destination_key(entry.name), []).append(entry.name)
        for key, names in found.items():
            if key not in self._deliveries:
                self._deliveries[key] = TargetDelivery(
                    self._folder,
                    key,
                    names[0],
                    self._targets,
                    self._sampler,
                    self._prompts,
                    touch=self._touch,
                    reject=self._reject,
                    count=self._count,
                )
            self._deliveries[key].find(names)
        for key in self._deliveries.keys() - found.keys():
            del self._deliveries[key]
        for path in state_files(self._folder):
            if path.stem not in found:
                path.unlink(missing_ok=True)  # its segments were deleted by the user

    def _guarded(self, one: TargetDelivery, deliver: Callable[[], bool], *, talks: bool = True) -> bool:
        if self.failures.is_paused(one.uri, one.key) or not self._folder.is_dir():
            return False  # for what was deleted, no store must be made again
        try:
            with private_files(one.uri):
                self._targets.prepare(one.uri)
                if self.failures.has_failed(one.uri):
                    self._touch(one.uri)
                    self._targets.probe(one.uri)
                done = deliver()
        except TraceWaits:
            return False
        except Exception as error:  # whatever MLflow raises: the records stay in their segment
            if is_busy(error):
                self.failures.note_busy(one.uri)
                return False
            if self._targets.is_gone(one.state, error):
                self._targets.forget(one.state)
            self.failures.note(one.uri, one.key, one.name, error)
            return False
        if talks:
            self.failures.worked(one.uri, one.key, one.name)
        return done

    def _touch(self, uri: str) -> None:
        """Note that the store is talked to from now on: how long one of its answers takes tells whether it hangs."""
        self.contact = uri
        self._on_contact()

    def _reject(self, uri: str, what: str, error: Exception) -> None:
        self.failures.reject(uri, f"{what} was rejected: {self._described(error)}")
        self._count("rejected", 1)

    def _note_prompts(self, reason: str) -> None:
        self.notes.append(
            f"{self.contact} keeps no prompts ({reason}); executions are tracked without. "
            "HOKUSAI_TRACKING_PROMPTS=false says that on purpose"
        )

    def _count(self, counter: str, amount: int) -> None:
        if amount:
            self.counters[counter] = self.counters.get(counter, 0) + amount

    def _described(self, error: Exception) -> str:
        if (cause := network_error(error)) is not None:
            return f"{type(cause).__name__}: {cause}"  # what MLflow makes of it is ten times as long
        # Only what MLflow's own errors say: a database driver's would quote the statement with its values.
        lines = str(error).splitlines() if isinstance(error, MlflowException) or not _quotes_values(error) else []
        first = lines[0][:300] if lines else "details left out"
        return f"{type(error).__name__}: {self._targets.hide(first)}"


def _quotes_values(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg", "psycopg2", "pymysql")
