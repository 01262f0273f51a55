"""All errors that Hokusai raises, in one hierarchy.

Each class also inherits the builtin that callers already catch, so ``except TimeoutError`` or ``except LookupError``
works without knowing this module::

    HokusaiError
    ├── ConfigurationError (ValueError)          a setting or argument that cannot be used
    ├── ClosedError (RuntimeError)               the executor was closed
    ├── ForkError (RuntimeError)                 a component that does not work in a forked process
    ├── PluginError
    │   ├── PluginLoadError (ImportError)        a component of a plugin that failed to load was asked for
    │   ├── ComponentNotFoundError (LookupError) no loaded plugin offers the component
    │   └── ComponentConflictError (LookupError) several plugins offer it under one name
    ├── SignatureError
    │   ├── SignatureDefinitionError (TypeError) a signature that cannot work
    │   ├── SignatureNotFoundError (LookupError) no signature of that name
    │   ├── AmbiguousSignatureError (LookupError) several packs have a signature of that name
    │   └── SignatureExistsError (ValueError)    the name is taken and ``replace`` was not given
    ├── PromptError (TypeError)                  a signature whose prompt cannot be shown without a call
    ├── InputError (ValueError)                  inputs that do not fit the signature; carries every problem
    ├── CompositionError (ValueError)            a chain or pipeline that cannot work, found before any call
    ├── BatchError (ExceptionGroup)              rows of a batch failed, and on_error="raise" was asked for
    ├── FeedbackError (ValueError)               feedback that cannot be stored
    │   └── ExecutionNotFoundError (LookupError) no execution of that id was kept
    ├── OptimizationError (RuntimeError)         an optimization that cannot work, or failed
    ├── ArtifactError (ValueError)               a saved signature that cannot be used as it is
    ├── JournalError (ValueError)                a batch journal that cannot be continued
    ├── CacheError (OSError)                     a cache that cannot be opened; never raised by an execution
    ├── DamagedEntryError (ValueError)           bytes that are not the cache entry that was stored
    ├── CassetteError (ValueError)               a cassette that cannot be read or written
    ├── TrackingError (RuntimeError)             a tracker that was asked for something it cannot do
    └── ExecutionError                           an execution that started and failed; carries its attempts
        ├── LanguageModelError (RuntimeError)
        │   ├── LanguageModelUnavailable (LookupError)  none is configured, or its provider cannot serve it
        │   ├── LanguageModelRefused (PermissionError)  authentication or billing
        │   ├── RateLimitedError                        the provider asks to slow down
        │   └── PromptTooLong (ValueError)              the prompt does not fit the model's context
        ├── OutputError (ValueError)             the answer could not be parsed or does not fit the signature
        │   ├── AnswerCutOff                            the answer ended at its token limit
        │   └── AnswerRefused                           the model refused, or the provider withheld the answer
        ├── ToolError (RuntimeError)             a tool that the model called has raised
        ├── DeadlineExceeded (TimeoutError)      the timeout passed
        ├── BudgetExceeded                       the budget is spent
        ├── WorkerLost                           the worker of a backend died while it ran the row
        ├── CassetteMiss (LookupError)           the cassette has no answer to the request, and may record none
        └── ResourcesExhausted (RuntimeError)    the system has no threads or file descriptors left

``BatchInterrupted`` is a ``KeyboardInterrupt``: a batch that Ctrl-C stopped, with what was finished.

Messages name the signature, field or plugin and the next step. They never hold a credential or the value of a field
that is marked ``sensitive``.
"""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hokusai_core.results import Attempt, Problem

__all__ = [
    "AmbiguousSignatureError",
    "AnswerCutOff",
    "AnswerRefused",
    "ArtifactError",
    "BatchError",
    "BatchInterrupted",
    "BudgetExceeded",
    "CacheError",
    "CacheWarning",
    "CassetteError",
    "CassetteMiss",
    "ClosedError",
    "ComponentConflictError",
    "ComponentNotFoundError",
    "CompositionError",
    "ConfigurationError",
    "DamagedEntryError",
    "DeadlineExceeded",
    "ExecutionError",
    "ExecutionNotFoundError",
    "FeedbackError",
    "ForkError",
    "HokusaiError",
    "InputError",
    "JournalError",
    "LanguageModelError",
    "LanguageModelRefused",
    "LanguageModelUnavailable",
    "OptimizationError",
    "OutputError",
    "PluginError",
    "PluginLoadError",
    "PromptError",
    "PromptTooLong",
    "RateLimitedError",
    "ResourcesExhausted",
    "SignatureDefinitionError",
    "SignatureError",
    "SignatureExistsError",
    "SignatureNotFoundError",
    "ToolError",
    "TrackingError",
    "WorkerLost",
]


class HokusaiError(Exception):
    """Base class of every error raised by Hokusai and its standard plugins.

    Attributes:
        step: name of the step that failed, where it was one of a chain; ``outer.inner`` where that was a chain, too.
        step_inputs: names of the inputs that the step had.
        steps: results of the steps that did not fail, by name.
    """

    step: str | None = None
    step_inputs: tuple[str, ...] = ()
    steps: Mapping[str, Any] = MappingProxyType({})


class ConfigurationError(HokusaiError, ValueError):
    """A setting, environment variable or argument has a value that cannot be used."""


class ClosedError(HokusaiError, RuntimeError):
    """The executor was closed before this call."""


class ForkError(HokusaiError, RuntimeError):
    """An executor was made before ``os.fork`` with a component that does not work in the child process."""


class PluginError(HokusaiError):
    """Base class of errors about plugins and their components."""


class PluginLoadError(PluginError, ImportError):
    """A component was asked for whose plugin, or whose target, could not be loaded."""


class ComponentNotFoundError(PluginError, LookupError):
    """No plugin offers a component of that kind and name."""


class ComponentConflictError(PluginError, LookupError):
    """Several plugins offer a component of that kind and name."""


class SignatureError(HokusaiError):
    """Base class of errors about signatures themselves."""


class SignatureDefinitionError(SignatureError, TypeError):
    """A signature is defined in a way that cannot be run."""


class SignatureNotFoundError(SignatureError, LookupError):
    """No registered signature has that name or alias."""


class AmbiguousSignatureError(SignatureError, LookupError):
    """Several packs have a signature of that name; the qualified name picks one."""


class SignatureExistsError(SignatureError, ValueError):
    """A signature is registered under that name already."""


class PromptError(HokusaiError, TypeError):
    """A signature that is not answered by one request, or whose request only the call itself shows."""


class InputError(HokusaiError, ValueError):
    """Inputs do not fit the signature.

    Args:
        message: one line per problem.
        problems: every problem that was found, not only the first.
        signature: the signature's name.
    """

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), signature: str = "") -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.signature = signature


class CompositionError(HokusaiError, ValueError):
    """A chain, branch or parallel task cannot work; raised before any language model is called."""


class BatchError(HokusaiError, ExceptionGroup[Exception]):
    """Rows of a batch failed. ``except*`` finds the rows' own errors in it.

    Attributes:
        result: the ``BatchResult`` with every row, those that succeeded included.
    """

    result: Any

    @classmethod
    def of(cls, result: Any) -> Self:
        """Return the error for a batch with failed rows."""
        failed = result.failed
        causes = [failure.error for failure in failed if isinstance(failure.error, Exception)]
        for failure in failed:
            failure.error.add_note(f"row {failure.index} of the batch")
        error = cls(f"{len(failed)} of {len(result)} rows failed; the others are in .result", causes)
        error.result = result
        return error

    def derive(self, excs: Sequence[Exception]) -> Self:  # type: ignore[override]  # as the standard library says
        """Return a group of ``excs`` that belongs to the same batch."""
        twin = type(self)(self.message, excs)
        twin.result = self.result
        return twin


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a batch. No further row was started; rows in progress were finished first.

    Attributes:
        result: the ``BatchResult`` of the rows that were taken, or None where they were handed out one by one.
    """

    result: Any = None


class FeedbackError(HokusaiError, ValueError):
    """Feedback was refused; nothing was stored."""


class ExecutionNotFoundError(FeedbackError, LookupError):
    """No execution of that id was kept."""


class OptimizationError(HokusaiError, RuntimeError):
    """An optimization cannot work with what it was given, or failed; its cause is the first thing that went wrong."""


class ArtifactError(HokusaiError, ValueError):
    """A file with a saved signature is damaged, of another version, or does not fit what it is used for."""


class JournalError(HokusaiError, ValueError):
    """A batch journal is unreadable, or belongs to another signature version."""


class CacheError(HokusaiError, OSError):
    """A cache could not be opened or maintained. Executions never raise this; they continue without the cache."""


class DamagedEntryError(HokusaiError, ValueError):
    """Bytes of a cache are not the entry that was stored. A cache removes them and answers that it has none."""


class CacheWarning(UserWarning):
    """A persistent cache failed or was found damaged; executions go on."""


class CassetteError(HokusaiError, ValueError):
    """A cassette cannot be read or written: it is damaged, of a newer version, or its folder cannot be written to."""


class TrackingError(HokusaiError, RuntimeError):
    """A tracker was asked for something that it cannot do. Executions never raise it."""


class ExecutionError(HokusaiError):
    """An execution started and failed.

    Args:
        message: what failed and what to do next.
        execution_id: id of the execution, as observers saw it.
        signature: name of the signature.
        attempts: every call of the language model that was made, with its cause and cost.
    """

    #: Whether trying the same again can help; the retry policy reads it.
    retryable: bool = False
    #: Whether it concerns every caller of the same execution; a budget or a timeout is the caller's own.
    shared: bool = True
    #: Seconds that the provider asked to wait, where it did.
    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        execution_id: str = "",
        signature: str = "",
        attempts: Sequence[Attempt] = (),
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.execution_id = execution_id
        self.signature = signature
        self.attempts = tuple(attempts)
        if retryable is not None:
            self.retryable = retryable
        if retry_after is not None:
            self.retry_after = retry_after

    def replica(self) -> Self:
        """Return an equal error for another caller: one exception object cannot be raised in two threads at once."""
        twin = copy.copy(self)
        twin.__cause__, twin.__context__, twin.__traceback__ = self.__cause__, None, None
        return twin


class LanguageModelError(ExecutionError, RuntimeError):
    """The language model, or the connection to it, failed."""


class LanguageModelUnavailable(LanguageModelError, LookupError):
    """There is no language model to call: none configured, an unknown name, or a provider that cannot serve."""


class LanguageModelRefused(LanguageModelError, PermissionError):
    """The provider refused the credentials or the account."""


class RateLimitedError(LanguageModelError):
    """The provider asks to slow down; ``retry_after`` says for how long, where it told."""

    retryable = True


class PromptTooLong(LanguageModelError, ValueError):
    """The prompt does not fit into the context of the model."""


class OutputError(ExecutionError, ValueError):
    """The answer could not be parsed, or its fields do not fit the signature."""

    retryable = True


class AnswerCutOff(OutputError):
    """The answer ended at its token limit, even if it looks complete. Raise ``max_tokens``."""


class AnswerRefused(OutputError):
    """The model refused to answer, or the provider's filter withheld the answer; the same call is not tried again."""

    retryable = False


class ToolError(ExecutionError, RuntimeError):
    """A tool that the language model called has raised; the cause is its error. The execution is not tried again."""


class DeadlineExceeded(ExecutionError, TimeoutError):
    """The execution's timeout passed; ``attempts`` says what was cancelled and what was abandoned."""

    shared = False


class BudgetExceeded(ExecutionError):
    """The budget is spent. No further call was made."""

    shared = False


class WorkerLost(ExecutionError):
    """The worker of a backend died while it ran the row. What it had paid for by then is not known."""

    shared = False


class CassetteMiss(ExecutionError, LookupError):
    """The cassette has no answer to a request, and its mode allows no call. The message says what differs."""


class ResourcesExhausted(ExecutionError, RuntimeError):
    """The system has no threads or file descriptors left for the call; run fewer at once, or raise the limit."""

    shared = False
