"""What a component must be able to do, as small structural types.

A component needs no base class: an object with these methods is one. Where a method does I/O it has an asynchronous
twin, prefixed with ``a``, so that neither a thread nor an event loop ever waits for the other's kind.
``hokusai_core.testing`` holds a conformance suite for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hokusai_core.caching.entry import CacheEntry
    from hokusai_core.events import ExecutionFinished, FeedbackGiven, TrackedEvent
    from hokusai_core.feedback import KeptExecution
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationTask
    from hokusai_core.results import Problem
    from hokusai_core.signatures import Edition, SignatureSpec

__all__ = [
    "Backend",
    "Cache",
    "CacheMaintenance",
    "EditionSource",
    "FeedbackStore",
    "LanguageModelProvider",
    "Metric",
    "Optimizer",
    "Tracker",
    "Validator",
]


@runtime_checkable
class Cache(Protocol):
    """A persistent tier behind the memory cache.

    Keys are hexadecimal digests. A cache that cannot answer raises ``CacheError``, after a short time of its own
    choosing: the timeout of an execution does not interrupt a look-up. The execution path then goes on without it.
    Every method may be called from many threads and event loops at once. A cache says with attributes ``tier`` (the
    word that results show, such as ``"disk"``) and ``secret`` (at least 16 random bytes that belong to the store and
    outlive the process: sensitive inputs enter keys only hashed with it).
    """

    tier: str
    secret: bytes

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry stored under ``key``, or None. Expired entries need not be filtered."""
        ...

    def put(self, entry: CacheEntry) -> None:
        """Store ``entry`` under its key, replacing what was there."""
        ...

    async def aget(self, key: str) -> CacheEntry | None:
        """Do as ``get`` without blocking the event loop."""
        ...

    async def aput(self, entry: CacheEntry) -> None:
        """Do as ``put`` without blocking the event loop."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice is harmless."""
        ...


@runtime_checkable
class CacheMaintenance(Protocol):
    """What ``hokusai cache`` needs of a cache; a cache may leave it out."""

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        """Yield the stored entries, of one signature where it is named."""
        ...

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        """Remove entries of one signature, or stored more than ``older_than`` seconds ago, or all; return how many."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Return JSON-able figures: entries, bytes, location, damage that was found."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Records executions somewhere.

    ``record`` runs on the caller's thread: it must return within microseconds and never raise for reasons of its
    backend. What it accepted must survive until it is delivered. A tracker may also have a method ``anchor`` that
    returns a context manager: it is entered on the thread of a public call before the work goes to other threads, and
    context variables that it sets are there when ``record`` is called. Where it has a true attribute
    ``wants_exchanges``, the events of executions carry prompts and raw answers.
    """

    def record(self, event: TrackedEvent) -> None:
        """Accept one event; one of a kind that it does not know is left alone, as later versions may add some."""
        ...

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver what was accepted; return whether all was delivered within ``timeout`` seconds."""
        ...

    async def aflush(self, timeout: float | None = None) -> bool:
        """Do as ``flush`` without blocking the event loop."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, delivered, backlog, last error."""
        ...

    def close(self) -> None:
        """Flush within reason and release everything; calling it twice is harmless."""
        ...


@runtime_checkable
class Validator(Protocol):
    """Checks inputs before a language model is paid, and outputs before they reach anybody.

    It is asked on the thread of the execution, or on its event loop: return quickly, the timeout of the execution does
    not interrupt it. One that raises stops the execution with a ``PluginError``, because a check is never skipped.
    """

    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        """Return every problem of bound inputs; an empty sequence where there is none."""
        ...

    def validate_outputs(
        self, signature: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        """Return every problem of parsed outputs; an empty sequence where there is none."""
        ...


@runtime_checkable
class LanguageModelProvider(Protocol):
    """Makes language models out of names such as ``local`` or ``local/path-to-weights``."""

    def available(self) -> str | None:
        """Return None where it can serve, else one line that says why not and what mends it. Must be cheap."""
        ...

    def load(self, name: str, **options: Any) -> LanguageModel:
        """Return the model called ``name`` (what follows ``provider/``; empty for the default).

        Raises:
            LanguageModelUnavailable: where it cannot be had; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Free the models that were loaded; calling it twice is harmless."""
        ...


@runtime_checkable
class EditionSource(Protocol):
    """Knows which signature stands in for another one under its name.

    Listings ask for every installed signature: answer quickly, from a file or from memory.
    """

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        """Return the edition of a signature, None for none.

        Args:
            name: qualified name of the signature, ``pack/Name``.
            spec: the signature as its pack or the host defines it.
            namespace: the namespace of the executor; editions of another one are never returned.

        Raises:
            HokusaiError: there is an edition and it cannot be used, for example because ``spec`` has changed since it
                was made. The original is used, and the message is shown as a warning.
        """
        ...


@runtime_checkable
class FeedbackStore(Protocol):
    """Keeps executions and what people say of them; used by many threads and processes at once.

    What a method stored is durable when it returns.
    """

    def keep(self, execution: ExecutionFinished, signature: SignatureSpec) -> None:
        """Keep an execution; keeping it again replaces it and leaves its feedback alone."""
        ...

    def add(self, feedback: FeedbackGiven) -> None:
        """Add feedback to what was said before.

        Raises:
            FeedbackError: no such execution is kept.
        """
        ...

    def read(
        self, *, execution_id: str | None = None, signature: str | None = None, rated: bool | None = None
    ) -> Iterator[KeptExecution]:
        """Yield kept executions, the oldest first.

        Args:
            execution_id: only this one.
            signature: only those of one signature, by ``pack/Name`` or ``Name``.
            rated: only those with feedback, or only those without.
        """
        ...

    def delete(self, execution_id: str) -> bool:
        """Remove an execution with all that was said of it; return whether there was one."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice is harmless."""
        ...


@runtime_checkable
class Metric(Protocol):
    """Scores outputs against an example. ``range`` and ``higher_is_better`` say how to read the number.

    A metric may have more: ``name``; ``source``, where it is defined; ``using(models, task)`` where it asks a language
    model itself (returns the metric with one of ``models(lm)``, which is metered, and is the one that is optimized for
    None; ``task`` are the signature's instructions); and ``aggregate(pairs)`` where the score of a whole set is not the
    mean of its examples' (takes pairs of expected and given outputs).
    """

    range: tuple[float, float]
    higher_is_better: bool

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the score of ``outputs``, within ``range``."""
        ...


@runtime_checkable
class Optimizer(Protocol):
    """Searches for instructions and demos that score better."""

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``; an empty sequence where it can."""
        ...

    def propose(self, task: OptimizationTask) -> Iterable[Candidate]:
        """Yield candidates as they are found, each scored on ``task.dev`` or not scored yet.

        The caller measures candidates on held-out examples and decides; an optimizer never does.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs rows of a batch somewhere: in this process, on a cluster, through a provider's batch service."""

    def submit(self, rows: Iterable[tuple[int, Mapping[str, Any]]], signature: str, options: Mapping[str, Any]) -> None:
        """Take rows (index, inputs) to be executed with ``options`` of ``execute_signature``."""
        ...

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield (index, outcome) as rows finish; each submitted index exactly once."""
        ...

    def close(self) -> None:
        """Stop what still runs and release everything; calling it twice is harmless."""
        ...
