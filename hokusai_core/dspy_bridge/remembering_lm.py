"""RememberingLM: a metered language model that is not asked the same twice."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

from hokusai_core.call_records import CallGuard, Recorder
from hokusai_core.dspy_bridge.metered_lm import MeteredLM

__all__ = ["AnswerMemory", "RememberingLM"]

#: Parameters that say how a provider is reached, and not what it is asked.
_NOT_ASKED = frozenset(
    {"api_base", "api_key", "base_url", "cache", "extra_headers", "headers", "num_retries", "organization", "timeout"}
)


class AnswerMemory(Protocol):
    """Keeps the answers to calls."""

    def get(self, key: str) -> list[Any] | None:
        """Return the answers to a call, None if they are not known. The caller may change the list."""
        ...

    def put(self, key: str, answers: list[Any]) -> None:
        """Keep the answers to a call."""
        ...


class RememberingLM(MeteredLM):
    """A metered language model that remembers its answers.

    Calls are equal when everything that is asked is equal, including ``rollout_id``, by which DSPy asks for another
    answer to the same prompt. An answer that was cut off or withheld is an error, and nothing of it is kept.

    Args:
        lm: the language model.
        recorder: receives a record of every call that is made.
        memory: keeps the answers.
        identity: tells this model from others of its name.
        gate: is asked before every call that is made; None for no gate.
        **options: those of ``MeteredLM``.
    """

    def __init__(
        self,
        lm: Any,
        recorder: Recorder,
        memory: AnswerMemory,
        identity: str = "",
        *,
        gate: CallGuard | None = None,
        **options: Any,
    ) -> None:
        super().__init__(lm, recorder, gate=gate, whole_answers=True, **options)
        self._memory, self._identity = memory, identity

    def copy(self, **changes: Any) -> RememberingLM:
        """Return a changed copy of the language model, with the same memory."""
        return RememberingLM(
            self._lm.copy(**changes),
            self._recorder,
            self._memory,
            self._identity,
            gate=self._gate,
            parameters={name: value for name, value in self._parameters.items() if name not in changes},
            prices=self._prices,
        )

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Return the answers to a call, from the memory or else from the language model."""
        key = self._key(prompt, messages, kwargs)
        known = self.recall(key)
        if known is None:
            known = self.ask(prompt, messages, kwargs)
            self._memory.put(key, known)
        return known

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Async version of ``__call__``."""
        key = self._key(prompt, messages, kwargs)
        known = self.recall(key)
        if known is None:
            known = await super().acall(prompt, messages=messages, **kwargs)
            self._memory.put(key, known)
        return known

    def recall(self, key: str) -> list[Any] | None:
        """Return the answers to a call that was made before, None if it was not."""
        return self._memory.get(key)

    def ask(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> list[Any]:
        """Make a call."""
        answers: list[Any] = super().__call__(prompt, messages=messages, **kwargs)
        return answers

    def _key(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> str:
        lm = self._lm
        options = {
            name: value for name, value in {**lm.kwargs, **self._parameters, **kwargs}.items() if name not in _NOT_ASKED
        }
        asked = [lm.model, self._identity, getattr(lm, "model_type", None), options, prompt, messages]
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=_plain).encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    return value.model_dump() if hasattr(value, "model_dump") else repr(value)
