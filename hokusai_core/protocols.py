"""Protocols of components: one for each kind.

A component needs no base class. An object with the methods of the protocol is one, and it is checked when it is made.
A method that does I/O has an asynchronous version whose name begins with ``a``.

Each component may have an attribute ``fork_safe``: whether an object that was made before ``os.fork`` works in the
child process. If it is true, the object is used on. If it is false or left out, an object that was made by its name is
made again in the child. An object that the host has passed is used on, unless ``fork_safe`` is false: then the first
call in the child raises ``ForkError``.

Each kind has a conformance suite in ``hokusai_core.testing``, which a plugin's tests subclass: ``CacheConformance`` in
``hokusai_core.testing.caches``, ``TrackerConformance`` in ``.trackers``, and so on. Signature sources and commands are
no objects with methods: the hook that provides them says what their targets do, and suites of their own test it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from hokusai_core.batch_job import BatchJob, RowHost, RowTask
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.cache_lease import CacheLease
    from hokusai_core.events import ExecutionFinished, FeedbackGiven, TrackedEvent
    from hokusai_core.feedback import KeptExecution
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationTask
    from hokusai_core.results import Problem
    from hokusai_core.signature_registry import Edition
    from hokusai_core.signatures import SignatureSpec
    from hokusai_core.strategy_task import StrategyTask

__all__ = [
    "COMPONENT_PROTOCOLS",
    "Backend",
    "BatchSession",
    "Cache",
    "CacheLeases",
    "CacheMaintenance",
    "EditionSource",
    "FeedbackStore",
    "LanguageModelProvider",
    "Metric",
    "Optimizer",
    "Strategy",
    "Tool",
    "Tracker",
    "Validator",
    "protocol_problems",
]


@runtime_checkable
class Cache(Protocol):
    """A persistent tier behind the memory cache.

    Keys are hexadecimal digests. Every method may be called from many threads and event loops at once.

    A cache that cannot answer raises ``CacheError`` soon, because the timeout of an execution does not interrupt a
    look-up. The execution then goes on without it.

    Attributes:
        tier: the word that results show in ``cached``, such as ``"disk"``.
        secret: at least 16 random bytes that belong to the store and outlive the process. Sensitive inputs enter keys
            only hashed with it.

    A cache may have more:

    ``fork_safe``
        whether it works in a child process of the one that made it; see the top of this module.
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
        """Async version of ``get``."""
        ...

    async def aput(self, entry: CacheEntry) -> None:
        """Async version of ``put``."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice is harmless."""
        ...


@runtime_checkable
class CacheMaintenance(Protocol):
    """Optional methods of a cache that the command ``hokusai cache`` uses."""

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        """Yield the stored entries, only those of one signature if it is named."""
        ...

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        """Remove entries of one signature, or stored more than ``older_than`` seconds ago, or all; return how many."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Return JSON-able figures: entries, bytes, location, damage that was found."""
        ...


@runtime_checkable
class CacheLeases(Protocol):
    """Optional methods of a cache that several processes share: identical executions at the same time make one call.

    An execution that finds no answer takes a lease on its key. The one that holds it makes the call and publishes the
    answer; the others wait, and look again. A lease ends when its answer is published, when it is released, and a while
    after its process was killed or has stopped running. Then another process may take it. From then on the answer of
    the earlier holder is no longer stored, because a later one may be there.

    The cache renews the leases that it holds for as long as its process runs. All methods may be called from many
    threads and event loops at once. Where they raise ``CacheError``, executions go on without leases.
    """

    def lease(self, key: str) -> CacheLease:
        """Take the lease on ``key`` if no one holds it; ``held`` of what is returned says so."""
        ...

    async def alease(self, key: str) -> CacheLease:
        """Async version of ``lease``."""
        ...

    def lease_end(self, lease: CacheLease) -> Future[None]:
        """Return a future that is done when another's lease has ended. It must not block.

        The future raises ``CacheError`` if the store fails.
        """
        ...

    def publish(self, entry: CacheEntry, lease: CacheLease) -> bool:
        """Store ``entry`` and end the lease in one step; if a later lease was given, store nothing and return False."""
        ...

    async def apublish(self, entry: CacheEntry, lease: CacheLease) -> bool:
        """Async version of ``publish``."""
        ...

    def release(self, lease: CacheLease) -> None:
        """End a held lease without an answer. It must not block, and is harmless after ``publish``."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Records executions, such as in a file or on a tracking server.

    ``record`` runs on the thread of the caller: it must return within microseconds, and must not raise because its
    backend fails. An event that it has accepted must survive until it is delivered.

    A tracker may have more:

    ``anchor()``
        returns a context manager. It is entered around a batch, a chain, a pipeline and parallel tasks, on the thread
        of the call; context variables that it sets are there in all that is done for them, and when ``record`` is
        called for their executions.
    ``anchor_operation(operation_id, kind, name)``
        as ``anchor``, and entered in its place around a batch, a chain, a pipeline or parallel tasks: so a span that it
        starts is the parent of their executions. ``record`` gets the ``OperationFinished`` with this id later, perhaps
        after the context manager was left.
    ``begin_execution(execution_id, signature)``
        is called before an execution asks the persistent cache and the language model, in a context of its own.
        Context variables that it sets are there in all that the execution does, on whatever thread, and when
        ``record`` is called for it; no other execution sees them, so they need not be reset. So a span that it starts
        is the parent of the spans of HTTP requests, and ``record`` ends it. It must return within microseconds. An
        answer from the memory cache begins nothing.
    ``wants_exchanges``
        if true, the events of executions carry prompts and raw answers.
    ``wants_prompts``
        if true, the events of executions and optimizations carry the ``PromptTemplate`` of the signature. It is made
        once for each signature and language model.
    ``search(since, signature)``
        yields what it has recorded as ``KeptExecution``, the oldest first: from ``since`` on (seconds since the epoch;
        None for all), and of one signature (``pack/Name`` or ``Name``; None for all). Both are keyword arguments.
        ``hokusai replay`` uses it.
    ``fork_safe``
        whether it works in a child process of the one that made it; see the top of this module.
    """

    def record(self, event: TrackedEvent) -> None:
        """Accept one event. Ignore an event of an unknown class, because later versions may add some."""
        ...

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver what was accepted; return whether all was delivered within ``timeout`` seconds."""
        ...

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of ``flush``."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, delivered, backlog, last error."""
        ...

    def close(self) -> None:
        """Flush within reason and release everything; calling it twice is harmless."""
        ...


@runtime_checkable
class Validator(Protocol):
    """Checks inputs before a call of a language model, and outputs before they are returned.

    It runs on the thread of the execution, or on its event loop: return quickly, because the timeout of the execution
    does not interrupt it. A validator that raises stops the execution with a ``PluginError``: no check is skipped.
    """

    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        """Return every problem of bound inputs; an empty sequence for none."""
        ...

    def validate_outputs(
        self, signature: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        """Return every problem of parsed outputs; an empty sequence for none."""
        ...


@runtime_checkable
class LanguageModelProvider(Protocol):
    """Makes language models from names such as ``local`` or ``local/path-to-weights``.

    A provider may have more:

    ``fork_safe``
        whether it works in a child process of the one that made it; see the top of this module. The engine of a
        language model may have it, too.
    ``context_tokens() -> int``
        returns the most tokens of a prompt and its answer, which `hokusai models` shows. Must be cheap.
    """

    def available(self) -> str | None:
        """Return None if it can serve, else one line that says why not and how to fix it. Must be cheap."""
        ...

    def load(self, name: str, **options: Any) -> LanguageModel:
        """Return the model called ``name`` (what follows ``provider/``; empty for the default).

        Raises:
            LanguageModelUnavailable: it cannot be loaded; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Free the models that were loaded; calling it twice is harmless."""
        ...


@runtime_checkable
class EditionSource(Protocol):
    """Finds the signature that replaces another one under its name.

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
    """Keeps executions and the feedback on them.

    Many threads and processes use it at once. What a method stores is durable when it returns.

    A store may have more:

    ``search(since, signature)``
        yields kept executions, the oldest first; see ``Tracker``.
    ``fork_safe``
        whether it works in a child process of the one that made it; see the top of this module.
    ``add_outcome(outcome)`` and ``outcome_direction(signature, name)``
        The first adds an ``OutcomeRecorded`` to an execution, and raises ``ExecutionNotFoundError`` as ``add`` does.
        ``read`` then yields executions with their ``outcomes``. The second returns the ``higher_is_better`` of the
        outcomes of a name on a signature, None where there are none. Without them, outcomes cannot be recorded.
    """

    def keep(self, execution: ExecutionFinished, signature: SignatureSpec) -> None:
        """Keep an execution. Keeping it again replaces it, and its feedback stays."""
        ...

    def add(self, feedback: FeedbackGiven) -> None:
        """Add feedback to an execution, beside earlier feedback.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
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
        """Remove an execution with its feedback; return whether there was one."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice is harmless."""
        ...


@runtime_checkable
class Metric(Protocol):
    """Scores outputs against an example.

    Attributes:
        range: lowest and highest score.
        higher_is_better: whether a higher score is a better one.

    A metric may have more:

    ``name`` and ``source``
        how it is called, and where it is defined.
    ``using(models, task)``
        for a metric that asks a language model: returns the metric with a model from ``models(lm)``, which counts its
        calls. ``models(None)`` is the model that is optimized; ``task`` are the instructions of the signature.
    ``unmetered``
        true for a metric that calls a language model by itself. An evaluation with a budget refuses it.
    ``aggregate(pairs)``
        for a metric whose score of a set is not the mean of the scores: takes pairs of expected and given outputs.
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
        """Return the reasons why this optimizer cannot work on ``task``; an empty sequence if it can."""
        ...

    def propose(self, task: OptimizationTask) -> Iterable[Candidate]:
        """Yield candidates as they are found, each scored on ``task.dev`` or without a score.

        The optimizer decides nothing: its caller measures the candidates on held-out examples.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs rows of batches elsewhere: on a cluster, or through a provider's batch service.

    The executor keeps everything that does not need the language model: it checks inputs, asks the cache, keeps the
    journal, the budget and the rate limits, validates answers, tries again, and notifies trackers. A backend makes
    attempts: it gets tasks and gives outcomes.

    A backend may have more:

    ``needs_journal``
        true for a backend whose batches must have a journal, because it keeps notes there. A batch without one is
        refused before its first row.
    ``fork_safe``
        whether it works in a child process of the one that made it; see the top of this module.
    """

    def open(self, job: BatchJob, host: RowHost) -> BatchSession:
        """Return a session for a batch, before its first row.

        Args:
            job: the batch as data; workers make a ``JobWorker`` of it.
            host: takes outcomes, admits calls, and keeps notes.

        Raises:
            ConfigurationError: the job cannot be run here; says why. No row was taken.
        """
        ...

    def close(self) -> None:
        """Release everything; calling it twice is harmless. Sessions are closed before."""
        ...


@runtime_checkable
class BatchSession(Protocol):
    """One batch on a backend.

    Attributes:
        capacity: tasks that are under way at once at most. The executor takes no further row meanwhile.
        chunk_size: tasks that ``run`` is given at once at most.
        linger: seconds without a further task after which ``run`` is given what there is, even if it is less than
            ``chunk_size``.
        own_time: whether tasks keep to a time of their own, such as that of a batch service. The timeout of a row then
            bounds only what the executor does itself.
    """

    capacity: int
    chunk_size: int
    linger: float
    own_time: bool

    async def run(self, tasks: Sequence[RowTask]) -> None:
        """Answer tasks: give each outcome to ``RowHost.deliver`` as soon as it is known, and return after the last.

        It runs on the event loop of the batch, many times at once. A task without an outcome, or whose ``run`` raises,
        fails. Cancelling it cancels what can be cancelled.
        """
        ...

    def close(self) -> None:
        """Stop what still runs and release everything; calling it twice is harmless."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """A way to answer a signature: with one call, with thoughts before the answer, with tools, with several tries.

    Its options are the keyword arguments of the component's target. Those named ``tools``, ``reward`` and ``strategy``
    name other components: the target gets a mapping of name to ``Tool``, a ``Reward`` and a ``Strategy`` in their
    place.

    Attributes:
        version: version of what it does. Raise it when other answers are to be expected: it is part of cache keys, and
            of the fingerprints of signatures that declare the strategy.
    """

    version: str

    def build(self, task: StrategyTask) -> Any:
        """Return the ``dspy.Module`` that answers ``task.signature``.

        It takes the inputs of ``task.signature`` and returns a ``dspy.Prediction`` with its outputs. Whatever else the
        prediction holds, such as thoughts, is found in ``ExecutionResult.extras``. The module is used by many threads
        and event loops at once, so it keeps nothing of a call. If it has only ``forward``, calls that are awaited run
        on a thread. When no try gave an answer, it raises: it never returns None. Errors of the classes
        ``BudgetExceeded``, ``DeadlineExceeded`` and ``RateLimitedError`` must pass through.
        """
        ...


@runtime_checkable
class Tool(Protocol):
    """A function that a strategy lets a language model call.

    Many threads and event loops call it at once. ``FunctionTool`` makes one from a function.

    Attributes:
        description: what it does, for the language model.
        parameters: JSON schema of its arguments, of type ``object``. Arguments that do not fit never reach ``call``.
        version: version of what it does; it is part of cache keys.
    """

    description: str
    parameters: Mapping[str, Any]
    version: str

    def call(self, **arguments: Any) -> Any:
        """Return the result, as a value with a JSON form, or an awaitable of it."""
        ...


#: Kind of component -> what the objects that its target makes must be able to do.
COMPONENT_PROTOCOLS: Final[Mapping[str, type]] = {
    "language_model": LanguageModelProvider,
    "cache": Cache,
    "tracker": Tracker,
    "validator": Validator,
    "optimizer": Optimizer,
    "metric": Metric,
    "feedback_store": FeedbackStore,
    "edition_source": EditionSource,
    "backend": Backend,
    "strategy": Strategy,
    "tool": Tool,
}

#: Bytes that sensitive inputs are hashed with at least.
_SECRET_BYTES = 16


def protocol_problems(protocol: type, candidate: object) -> list[str]:
    """Return what keeps an object from satisfying a protocol, each as a phrase such as ``it has no method get()``.

    Nothing of the object is called, and no property is read.

    Args:
        protocol: one of the protocols of this module.
        candidate: the object.
    """
    if isinstance(candidate, type):
        return [f"it is the class {candidate.__name__}, not an object of it"]
    problems = [
        f"it has no attribute {name!r}" for name in protocol.__annotations__ if not _has_attribute(candidate, name)
    ]
    if protocol is Cache and _has_attribute(candidate, "secret"):
        secret = inspect.getattr_static(candidate, "secret", None)
        if not hasattr(type(secret), "__get__"):  # else it is a property
            problems += secret_problems(secret)
    for name, declared in vars(protocol).items():
        if inspect.isfunction(declared) and not name.startswith("_"):
            problem = _method_problem(name, declared, getattr(candidate, name, None))
            problems += [problem] if problem else []
    return problems


def _has_attribute(candidate: object, name: str) -> bool:
    missing = object()
    # Reading a property may open files, so the class is looked at first.
    return inspect.getattr_static(candidate, name, missing) is not missing or hasattr(candidate, name)


def secret_problems(secret: object) -> list[str]:
    """Return what keeps the secret of a cache from hiding the sensitive inputs that are hashed with it."""
    if not isinstance(secret, bytes):
        return [f"its secret must be bytes, not {type(secret).__name__}"]
    if len(secret) < _SECRET_BYTES:
        return [f"its secret has {len(secret)} bytes, and {_SECRET_BYTES} are the least"]
    return []


def _method_problem(name: str, declared: Callable[..., Any], method: Any) -> str | None:
    if not callable(method):
        return f"it has no method {name}()"
    if inspect.iscoroutinefunction(method) and not inspect.iscoroutinefunction(declared):
        return f"{name}() is asynchronous, and must be a plain method"
    wanted = list(inspect.signature(declared).parameters.values())[1:]
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return None  # built in C, without a readable signature
    positional = [item.name for item in wanted if item.kind is item.POSITIONAL_OR_KEYWORD]
    keywords = {item.name: None for item in wanted if item.kind is item.KEYWORD_ONLY}
    try:
        signature.bind(*positional, **keywords)
    except TypeError:
        return f"{name}() does not take ({', '.join([*positional, *keywords])})"
    return None
