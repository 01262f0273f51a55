"""The language models of a study: each call is counted, limited by the budget of its phase, and never paid twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

from attrs import evolve
from dspy.utils.exceptions import is_retryable_lm_error

from hokusai_core.plugin_api import LanguageModel, MeteredLM
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.phase_budget import CallCounter, PhaseBudget

__all__ = ["StudyLM", "StudyModels"]

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
        whole_answers: whether an answer that was cut off or withheld is an error.
    """

    def __init__(
        self,
        lm: Any,
        ledger: CallCounter,
        gate: PhaseBudget,
        journal: CallCache,
        identity: str = "",
        whole_answers: bool = False,
    ) -> None:
        super().__init__(lm, ledger, gate=gate, whole_answers=whole_answers)
        self._study = ledger, gate, journal, identity, whole_answers
        self._pause = threading.Event()

    def stop(self, reason: str) -> None:
        """Let no further call through, of this model and its copies."""
        self._study[1].close(reason)

    def copy(self, **changes: Any) -> StudyLM:
        """Return the facade of a changed copy of the language model, in the same study."""
        return StudyLM(self.wrapped.copy(**changes), *self._study)

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return the answers to a call, making it only where there are none."""
        ledger, _, journal, *_ = self._study
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
        ledger, _, journal, *_ = self._study
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


class StudyModels:
    """Puts language models behind a ledger, a journal and the gate of a phase.

    Args:
        task: the language model that is optimized for.
        writer: the one that writes instructions; None for ``task``.
        resolve: returns a language model by name.
        ledger: counts calls.
        journal: keeps answers.
    """

    def __init__(
        self,
        task: LanguageModel,
        writer: LanguageModel | None,
        resolve: Callable[[Any], LanguageModel],
        ledger: CallCounter,
        journal: CallCache,
    ) -> None:
        self._task, self._writer, self._resolve = task, writer, resolve
        self._ledger, self._journal = ledger, journal
        self._resolved: dict[Any, LanguageModel] = {}

    def task(self, gate: PhaseBudget) -> LanguageModel:
        """Return the language model that is optimized for."""
        # An answer that is not whole is never to become a demo.
        return self._behind(self._task, gate, whole_answers=True)

    def writer(self, gate: PhaseBudget) -> LanguageModel | None:
        """Return the language model that writes instructions, None where that is the same."""
        return None if self._writer is None else self._behind(self._writer, gate)

    def metric(self, metric: Any, gate: PhaseBudget, task: str) -> Any:
        """Return a metric whose own calls, where it makes any, pass the gate as well."""
        if not hasattr(metric, "using"):
            return metric
        return metric.using(lambda lm: self.task(gate) if lm is None else self._behind(self._named(lm), gate), task)

    def _named(self, lm: Any) -> LanguageModel:
        key = lm if isinstance(lm, str) else id(lm)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(lm)
        return self._resolved[key]

    def _behind(self, model: LanguageModel, gate: PhaseBudget, *, whole_answers: bool = False) -> LanguageModel:
        lm = StudyLM(model.lm, self._ledger, gate, self._journal, model.identity, whole_answers)
        return evolve(model, lm=lm)


def _plain(value: Any) -> Any:
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    return value.model_dump() if hasattr(value, "model_dump") else repr(value)
