"""Failures of plugins: their records, the log that warns about each once, and how to fix each."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from attrs import frozen

from hokusai_core.components import Component, Owner
from hokusai_core.errors import PluginLoadError
from hokusai_core.install_command import install_command
from hokusai_core.loggers import AreaLogger
from hokusai_core.plugins.fix_hints import mend_import, missing_distributions, or_turn_off
from hokusai_core.plugins.hook_validation import NewerHookApiError
from hokusai_core.plugins.records import PluginRecord
from hokusai_core.process import fork_callbacks
from hokusai_core.redaction import printable_cause, scrub

__all__ = [
    "FailureLog",
    "Phase",
    "PluginFailure",
    "PluginWarning",
    "ProtocolError",
    "describe_error",
    "frames_inside",
    "load_failure",
    "target_failure",
]

#: Where a plugin failed: its metadata (``discovery``), the import of its module, the check of its hooks
#: (``register``), a ``provide_*`` hook or one of its offers, one signature of its pack, the ``target`` of a component,
#: or an ``on_*`` hook (``observe``).
Phase = Literal["discovery", "import", "register", "provide", "signature", "target", "observe"]

_LOG: Final = AreaLogger("plugins")
_LONGEST_MESSAGE = 400
#: The core, and the distribution that builds on its executor.
_OWN = frozenset({__name__.partition(".")[0], "hokusai"})


class ProtocolError(TypeError):
    """A target made an object that lacks something of the protocol of its kind."""


class PluginWarning(UserWarning):
    """A plugin failed. Everything else continues without it."""


@frozen
class PluginFailure:
    """A failure of a plugin: the part that cannot be used, the cause, and the fix.

    Args:
        plugin: name of the entry point; empty where the distribution's metadata could not be read that far.
        distribution: name of the distribution.
        version: its version.
        phase: where it failed.
        cause: the exception, or a sentence.
        remedy: the command or variable that mends it, and the one that turns the plugin off.
        subject: the hook, component or signature that failed; empty where the whole plugin did.
        count: how often; above 1 only for observers.
    """

    plugin: str
    distribution: str
    version: str
    phase: Phase
    cause: BaseException | str
    remedy: str
    subject: str = ""
    count: int = 1

    @property
    def reason(self) -> str:
        """The cause in one line."""
        return self.cause if isinstance(self.cause, str) else describe_error(self.cause)

    def as_error(self) -> PluginLoadError:
        """Return an error to raise, with the cause as its ``__cause__``."""
        error = PluginLoadError(str(self))
        error.__cause__ = printable_cause(self.cause) if isinstance(self.cause, BaseException) else None
        return error

    def __str__(self) -> str:
        installed = " ".join(part for part in (self.distribution, self.version) if part)
        who = f"plugin {self.plugin!r}" if self.plugin else "a plugin"
        where = f" of {installed}" if installed else ""
        what = f" in {self.subject}" if self.subject else ""
        stop = "" if self.reason.endswith((".", "?", "!")) else "."
        return f"{who}{where} failed ({self.phase}{what}): {self.reason}{stop} {self.remedy}"


def load_failure(record: PluginRecord, requires: Sequence[str], phase: Phase, error: BaseException) -> PluginFailure:
    """Return the record of a plugin that could not be loaded."""
    if phase == "import":
        module = record.target.partition(":")[0]
        remedy = mend_import(error, module=module, distribution=record.distribution, requires=requires)
    elif isinstance(error, NewerHookApiError):
        remedy = f"Wrong version: {install_command('hokusai-core', options='--upgrade')}"
    else:
        remedy = "None of its hooks is used. " + (
            f"pip install --upgrade {record.distribution}, or report it to its author." if record.distribution else ""
        )
    return PluginFailure(
        record.name, record.distribution, record.version, phase, error, or_turn_off(remedy, record.name)
    )


def target_failure(kind: str, component: Component, error: BaseException) -> PluginFailure:
    """Return the record of a target that failed."""
    owner = component.owner or Owner("")
    return PluginFailure(
        plugin=owner.plugin,
        distribution=owner.distribution,
        version=owner.version,
        phase="target",
        cause=error,
        remedy=or_turn_off(_mend(component, owner, error), owner.plugin),
        subject=f"{kind} {component.name}",
    )


def _mend(component: Component, owner: Owner, error: BaseException) -> str:
    if isinstance(error, ProtocolError):
        return "Not usable: " + (
            f"pip install --upgrade {owner.distribution}, or report it to its author"
            if owner.distribution
            else "fix it"
        )
    missing = missing_distributions(component.requires) if isinstance(error, ImportError) else []
    if missing:
        return f"Not installed: pip install {' '.join(missing)}"
    module = component.target.partition(":")[0] if isinstance(component.target, str) else ""
    return mend_import(error, module=module, distribution=owner.distribution)


def describe_error(error: BaseException) -> str:
    """Return class and message of an exception in one line, whatever its ``__str__`` does."""
    kind = type(error).__name__
    try:
        text = scrub(" ".join(str(error).split()))
    except Exception:  # an exception class of a plugin may itself be broken
        return f"{kind} (its message cannot be shown)"
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + "..."
    return f"{kind}: {text}" if text else kind


class FailureLog:
    """The failures of one manager; each is warned about once.

    Warnings are collected first and given by ``announce``, outside every lock: a host's warning filter may raise or
    run code of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, ...], PluginFailure] = {}
        self._unsaid: list[str] = []
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def add(self, failure: PluginFailure, *, warn: bool = True) -> None:
        """Keep ``failure``, in place of an earlier one of the same plugin, phase and subject."""
        with self._lock:
            known = _key(failure) in self._failures
            self._failures[_key(failure)] = failure
            if not known:
                _LOG.warning("%s", failure)
            if warn and not known:
                self._unsaid.append(str(failure))

    def say(self, message: str) -> None:
        """Queue a warning that is no failure of a plugin."""
        with self._lock:
            self._unsaid.append(message)

    def extend(self, failures: Iterable[PluginFailure]) -> None:
        """Keep several failures."""
        for failure in failures:
            self.add(failure)

    def discard(self, failure: PluginFailure) -> None:
        """Drop what was kept under the plugin, phase and subject of ``failure``: it works now."""
        with self._lock:
            self._failures.pop(_key(failure), None)

    def all(self) -> tuple[PluginFailure, ...]:
        """Return the failures in the order in which they happened."""
        with self._lock:
            return tuple(self._failures.values())

    def announce(self) -> None:
        """Warn about what was not warned about yet; the warning points at the host's code, not into Hokusai."""
        while self._unsaid:
            with self._lock:
                if not self._unsaid:
                    return
                message = self._unsaid.pop(0)
            warnings.warn(message, PluginWarning, stacklevel=frames_inside())


def frames_inside() -> int:
    """Return the ``stacklevel`` of a warning that points at the host's code, not into Hokusai."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OWN:
        level, frame = level + 1, frame.f_back
    return max(level, 1)


def _key(failure: PluginFailure) -> tuple[str, ...]:
    # The reason tells apart several failures of one phase, such as two unreadable distributions; an observer's
    # changes from call to call and must not.
    reason = failure.reason if failure.phase in {"discovery", "provide", "signature"} else ""
    return (failure.plugin, failure.distribution, failure.phase, failure.subject, reason)
