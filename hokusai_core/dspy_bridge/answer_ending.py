"""How an answer ended: complete, cut off at the token limit, or withheld by the provider or the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen
from dspy.lm15 import RefusalPart, TextPart

from hokusai_core.dspy_bridge.error_map import shortened
from hokusai_core.errors import AnswerCutOff, AnswerRefused, ExecutionError, LanguageModelError

__all__ = ["AnswerEnding", "ending_of"]

_CUT = frozenset({"length", "max_tokens", "max_output_tokens"})
#: Words of providers; lm15 has one for all of them, language models of a host's own may use any.
_WITHHELD = frozenset({"content_filter", "refusal", "safety", "recitation", "prohibited_content", "blocklist"})


@frozen
class AnswerEnding:
    """How an answer ended.

    Args:
        reason: finish reason, as DSPy spells it (``stop``, ``length``, ``content_filter``, ...); None where unknown.
        words: what the model said instead of an answer, "" where it did not refuse.
    """

    reason: str | None = None
    words: str = ""

    @property
    def cut(self) -> bool:
        """Whether the token limit ended it."""
        return self.reason in _CUT

    @property
    def whole(self) -> bool:
        """Whether the answer is all that the model had to say."""
        return not (self.words or self.cut or self.reason in _WITHHELD or self.reason == "error")

    def error(
        self, *, signature: str = "", model: str = "", sensitive: bool = False, credentials: Collection[str] = ()
    ) -> ExecutionError | None:
        """Return the error for an answer that is not whole, else None.

        Args:
            signature: name of the signature.
            model: name of the language model.
            sensitive: whether the words of the model stay out of the message.
            credentials: texts that are left out of it.
        """
        if self.whole:
            return None
        subject = f"signature {signature!r} with {model}" if signature else model
        if self.cut:
            return AnswerCutOff(
                f"{subject}: the answer was cut off at its token limit. Raise max_tokens, or ask for less",
                signature=signature,
            )
        if self.reason == "error":
            return LanguageModelError(
                f"{subject}: the provider broke the answer off with an error. Try again",
                signature=signature,
                retryable=True,
            )
        said = f": {shortened(self.words, credentials)}" if self.words and not sensitive else ""
        what = "the model refused to answer" if self.words else f"the provider withheld the answer ({self.reason})"
        return AnswerRefused(
            f"{subject}: {what}{said}. Change the inputs or the instructions, or use another model", signature=signature
        )


_UNKNOWN = AnswerEnding()
_STOPPED = AnswerEnding("stop")


def ending_of(result: Any) -> AnswerEnding:
    """Return how the answers of a ``CallResult`` ended; of several, the first that is not whole."""
    if len(result.responses) == 1:
        return _of_response(result.responses[0])
    endings = [_of_response(response) for response in result.responses] or [
        AnswerEnding(reason) for reason in _reasons(result.raw)
    ]
    return next((ending for ending in endings if not ending.whole), endings[0] if endings else _UNKNOWN)


def _of_response(response: Any) -> AnswerEnding:
    parts = response.message.parts
    if response.finish_reason == "stop" and (type(parts[0]) is TextPart and len(parts) == 1):
        return _STOPPED
    words = " ".join(part.text for part in parts if isinstance(part, RefusalPart))
    return AnswerEnding(response.finish_reason, words)


def _reasons(raw: Any) -> list[str]:
    """Return the finish reasons of a response in one of OpenAI's two shapes."""
    choices = _member(raw, "choices") or ()
    reasons = [_member(choice, "finish_reason") for choice in choices]
    reasons.append(_member(_member(raw, "incomplete_details"), "reason"))
    return [reason.lower() for reason in reasons if isinstance(reason, str)]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
