"""StudyLM: the language model of a study, which pays for no call twice."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

from dspy.utils.exceptions import is_retryable_lm_error

from hokusai_core import MeteredLM
from hokusai_teleprompt.study.journal import Journal
from hokusai_teleprompt.study.ledger import CallLedger, Gate

__all__ = ["StudyLM"]

#: How a provider is reached, not what it is asked.
_NOT_ASKED = frozenset(
    {"api_base", "api_key", "base_url", "cache", "extra_headers", "headers", "num_retries", "organization", "timeout"}
)
_RETRIES = 3
_LONGEST_WAIT = 30.0


class StudyLM(MeteredLM):
    """A metered language model that remembers its answers.

    An equal call is answered from the journal, whether it was made in this process or in one that was killed. It is
    told by everything that is asked, ``rollout_id`` included, by which DSPy asks for another answer to the same prompt.

    Args:
        lm: the language model.
        ledger: counts its calls.
        gate: lets them through.
        journal: where answers are kept.
        identity: what tells this model from others of its name.
    """

    def __init__(self, lm: Any, ledger: CallLedger, gate: Gate, journal: Journal, identity: str = "") -> None:
        super().__init__(lm, ledger, gate=gate)
        self._study = ledger, gate, journal, identity
        self._pause = threading.Event()

    def stop(self, reason: str) -> None:
        """Let no further call through, of this model and its copies."""
        self._study[1].close(reason)

    def copy(self, **changes: Any) -> StudyLM:
        """Return the facade of a changed copy of the language model, in the same study."""
        return StudyLM(self.wrapped.copy(**changes), *self._study)

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return the answers to a call, making it only where there are none."""
        ledger, _, journal, _ = self._study
        key = self._key(prompt, messages, kwargs)
        known = journal.get(key)
        if known is not None:
            ledger.replay()
            return known
        answers = self._patiently(prompt, messages, kwargs)
        journal.put(key, answers)
        return answers

    def _patiently(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
        attempt = 0
        while True:
            try:
                return super().__call__(prompt, messages=messages, **kwargs)
            except Exception as error:
                if attempt == _RETRIES or not is_retryable_lm_error(error):
                    raise
                self._pause.wait(self._wait(attempt, error))
                attempt += 1

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Do as ``__call__``, awaited; without its retries."""
        ledger, _, journal, _ = self._study
        key = self._key(prompt, messages, kwargs)
        known = journal.get(key)
        if known is not None:
            ledger.replay()
            return known
        answers = await super().acall(prompt, messages=messages, **kwargs)
        journal.put(key, answers)
        return answers

    def _wait(self, attempt: int, error: Exception) -> float:
        asked = getattr(error, "retry_after", None)
        return float(min(_LONGEST_WAIT, asked if asked is not None else 0.5 * 2**attempt))

    def _key(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> str:
        lm = self.wrapped
        options = {name: value for name, value in {**lm.kwargs, **kwargs}.items() if name not in _NOT_ASKED}
        asked = [lm.model, self._study[3], getattr(lm, "model_type", None), options, prompt, messages]
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=_plain).encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    return value.model_dump() if hasattr(value, "model_dump") else repr(value)
