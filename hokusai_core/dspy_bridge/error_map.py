"""Map errors of DSPy and of providers to the errors of ``hokusai_core.errors``."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from typing import Any

from dspy import lm15
from dspy.clients.errors import wrap_error
from dspy.utils import exceptions as raised
from dspy.utils.exceptions import is_retryable_lm_error

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError
from hokusai_core.errors import (
    DeadlineExceeded,
    ExecutionError,
    HokusaiError,
    LanguageModelError,
    LanguageModelRefused,
    LanguageModelUnavailable,
    OutputError,
    PromptTooLong,
    RateLimitedError,
    ResourcesExhausted,
)
from hokusai_core.redaction import hidden, printable_cause, quoted
from hokusai_core.storage import describe_os_error

__all__ = ["shortened", "translate_error"]

#: How a sentence begins that says what to do.
_ADVICE = re.compile(r"(?:^|[.:;,]\s+)(?:set|pass|shorten)\s", re.IGNORECASE)
#: What litellm, which DSPy hands a model of an unknown provider to, says of it.
_NO_PROVIDER = "LLM Provider NOT provided"
#: Characters of an error that is kept as the cause; a longer one may quote the inputs.
_LONGEST_CAUSE = 1_000


def translate_error(
    error: BaseException,
    *,
    signature: str = "",
    model: str = "",
    sensitive: bool = False,
    late: bool = False,
    credentials: Collection[str] = (),
) -> HokusaiError:
    """Return the Hokusai error for an error of DSPy or of a provider.

    Args:
        error: what was raised.
        signature: name of the signature.
        model: name of the language model.
        sensitive: whether the signature has sensitive fields. Nothing of the provider's text, of the prompt or of the
            answer is then in the message, and ``error`` is not kept as the cause, because both may quote values.
        late: whether the deadline of the execution has passed; a timeout then is that of the execution.
        credentials: texts that a provider may quote and that are left out, whatever they look like.

    Returns:
        An ``ExecutionError``; a ``HokusaiError`` that was raised on the way (by a gate, or inside an engine) as it is.
    """
    own = _own(error)
    if own is not None:
        return _without_credentials(own, credentials)
    if isinstance(error, lm15.LM15Error):
        error = _wrapped(error, model)
    kind, what, remedy = _LATE if late and isinstance(error, _TIMEOUTS) else _classify(error)
    name = model or getattr(error, "model", None) or "the language model"
    subject = f"signature {signature!r} with {name}" if signature else name
    detail = "" if sensitive else _detail(error, credentials)
    # An engine that says what to do knows better than a general remedy, which would only repeat it.
    advice = "" if _ADVICE.search(detail) else f" {remedy[0].upper()}{remedy[1:]}"
    message = f"{subject}: {what}{f': {detail}' if detail else ''}.{advice}"
    translated = kind(
        message, signature=signature, retryable=_retryable(error, kind), retry_after=getattr(error, "retry_after", None)
    )
    # Which also suppresses the context.
    translated.__cause__ = None if sensitive else printable_cause(error, credentials, longest=_LONGEST_CAUSE)
    return translated


def _without_credentials(error: HokusaiError, credentials: Collection[str]) -> HokusaiError:
    """Return an error that an engine has raised itself, with no credential in its text or in that of its causes."""
    error.args = tuple(hidden(part, credentials) if isinstance(part, str) else part for part in error.args)
    if getattr(error, "__notes__", None):
        error.__notes__ = [hidden(str(note), credentials) for note in error.__notes__]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        shown = printable_cause(cause, credentials, longest=_LONGEST_CAUSE)
        if shown is not cause:
            error.__cause__ = shown
    return error


def _own(error: BaseException) -> HokusaiError | None:
    """Return the Hokusai error that ``error`` is, or that DSPy has wrapped because an engine raised it."""
    if isinstance(error, HokusaiError):
        return error
    cause = error.__cause__
    if isinstance(error, raised.LMUnexpectedError) and isinstance(cause, HokusaiError):
        return cause
    # An engine that cannot work at all says so to DSPy in DSPy's way, and to us in ours, as the cause.
    while isinstance(cause, lm15.ConfigurationError):
        cause = cause.__cause__
    return cause if isinstance(cause, LanguageModelUnavailable) else None


def _wrapped(error: Any, model: str) -> BaseException:
    wrapped: BaseException = wrap_error(error, model=model)
    wrapped.__cause__ = error
    return wrapped


#: Class of DSPy -> class here, what failed, what to do; the first that fits, so special ones precede general ones.
_TABLE: tuple[tuple[type[BaseException], type[ExecutionError], str, str], ...] = (
    (raised.AdapterParseError, OutputError, "the answer could not be parsed",
     "trying again (retry_on_failure=True) may help; a clearer field description or a stronger model helps more"),
    (raised.ContextWindowExceededError, PromptTooLong, "the prompt does not fit into the context of the model",
     "shorten the inputs, or use a model with a longer context"),
    (raised.LMAuthError, LanguageModelRefused, "the provider refused the credentials",
     "check the API key in the provider's environment variable or in dspy.LM(api_key=...)"),
    (raised.LMBillingError, LanguageModelRefused, "the provider refused the account",
     "check its billing and quota"),
    (raised.LMRateLimitError, RateLimitedError, "the provider asks to slow down",
     "wait and try again (retry_on_failure=True does); fewer workers help"),
    (raised.LMTimeoutError, LanguageModelError, "the provider did not answer in time",
     "try again, or give it more time"),
    (raised.LMServerError, LanguageModelError, "the provider failed", "try again later"),
    (raised.LMTransportError, LanguageModelError, "the connection to the provider failed",
     "check the network and the model's address, then try again"),
    (raised.LMLockTimeoutError, LanguageModelError, "another process holds the provider's credentials", "try again"),
    (raised.LMUnsupportedModelError, LanguageModelUnavailable, "the provider does not offer this model",
     "check the model's name"),
    (raised.LMNotConfiguredError, LanguageModelUnavailable, "the language model is not configured",
     "set the provider's API key in the environment, or pass dspy.LM(..., api_key=...)"),
    (raised.LMConfigurationError, LanguageModelUnavailable, "the language model is configured wrongly",
     "correct the arguments of dspy.LM"),
    (raised.LMUnsupportedFeatureError, LanguageModelError, "the language model cannot do what was asked",
     "leave out the option that it does not know"),
    (raised.LMInvalidRequestError, LanguageModelError, "the provider refused the request",
     "check the model's parameters"),
    (raised.LMError, LanguageModelError, "the language model failed", "see the cause for details"),
    (MemoryError, LanguageModelError, "the memory ran out", "use a smaller model or shorter inputs"),
    (ImportError, LanguageModelUnavailable, "a package that the language model needs is missing", "install it"),
    (TimeoutError, LanguageModelError, "the language model did not answer in time",
     "try again, or give it more time"),
    (ConnectionError, LanguageModelError, "the connection to the language model failed",
     "check the network and the model's address, then try again"),
)  # fmt: skip


_TIMEOUTS = (raised.LMTimeoutError, TimeoutError)
_LATE = (DeadlineExceeded, "the deadline passed before the answer was there", "give it more time with timeout=...")


def _exhausted(error: BaseException) -> str | None:
    """Return what the operating system has none left of, in words; None if that is not the cause."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return describe_os_error(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _classify(error: BaseException) -> tuple[type[ExecutionError], str, str]:
    exhausted = _exhausted(error)
    if exhausted is not None:
        what, _, remedy = exhausted.partition("; ")
        return ResourcesExhausted, what, remedy
    if _names_no_provider(error):
        return (
            LanguageModelUnavailable,
            "no provider of language models has that name",
            "check what stands before the slash, such as 'openai' in 'openai/gpt-5-mini'; 'local' and other providers "
            "of plugins are listed by hokusai plugins",
        )
    if _broke_off(error):
        return LanguageModelError, "the answer broke off in the middle", "try again (retry_on_failure=True does)"
    for source, kind, what, remedy in _TABLE:
        if isinstance(error, source):
            return kind, what, remedy
    return ExecutionError, f"the call raised {type(error).__name__}", "see the cause for details"


def _broke_off(error: BaseException) -> bool:
    """Whether the stream of an answer ended before its end."""
    return any(isinstance(one, lm15.StreamAssemblyError) for one in (error, error.__cause__))


def _names_no_provider(error: BaseException) -> bool:
    return isinstance(error, raised.LMError) and _NO_PROVIDER in str(error)


def _retryable(error: BaseException, kind: type[ExecutionError]) -> bool:
    if kind is DeadlineExceeded:
        return False
    if _broke_off(error):
        return True
    if isinstance(error, raised.DSPyError):
        return kind is OutputError or is_retryable_lm_error(error)
    return isinstance(error, (ConnectionError, TimeoutError))


def _parse_problem(error: raised.AdapterParseError) -> str:
    """Return what is wrong with an answer; DSPy's own message quotes all of it."""
    if isinstance(error.__cause__, AnswerFormatError):
        return f"it {error.__cause__}"
    first = str(error).split("\n\n", 1)[0]
    if first.startswith(("Failed to parse", "The LM returned")):
        return first
    missing = sorted(set(error.signature.output_fields) - set(error.parsed_result or ()))
    return f"it lacks {', '.join(missing)}"


def _detail(error: BaseException, credentials: Collection[str]) -> str:
    """Return what the provider or parser said, shortened."""
    if _names_no_provider(error):
        return ""
    if isinstance(error, raised.AdapterParseError):
        text = _parse_problem(error)
    else:
        text = getattr(error, "message", None) or str(error)
    text = text.partition("\n\n  To fix:")[0]  # DSPy's own advice, which stands beside ours
    return shortened(text, credentials)


def shortened(text: str, credentials: Collection[str] = ()) -> str:
    """Return what a provider or model said in one line, cut to a few hundred characters, without credentials."""
    return quoted(text, credentials)
