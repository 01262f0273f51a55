"""Lets a judge of MLflow ask a language model of an executor, so that its calls are bounded, counted and kept.

MLflow asks models of a provider that it does not know through LiteLLM, which takes providers of one's own
(``litellm.custom_provider_map``). Each judge gets one, with a name that no other has.
"""

from __future__ import annotations

import os
import re
import secrets
import weakref
from typing import Any, Final

# It would else ask its authors for a list of prices at import.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from hokusai_core.plugin_api import translate_error

__all__ = ["JudgeModel"]

_FAILURE: Final = re.compile(r"hokusai failure ([0-9a-f]{16})")
#: Parameters of MLflow's judges that language models are asked with.
_PARAMETERS: Final = ("temperature", "top_p", "max_tokens")


class JudgeModel(litellm.CustomLLM):
    """A language model under a name that MLflow's judges can ask.

    Args:
        lm: the language model, which bounds and counts its calls itself.
    """

    def __init__(self, lm: Any) -> None:
        super().__init__()
        self._lm, self._failures = lm, dict[str, Exception]()
        self._provider = f"hokusai-{secrets.token_hex(8)}"
        entry = {"provider": self._provider, "custom_handler": weakref.proxy(self)}
        litellm.custom_provider_map.append(entry)
        weakref.finalize(self, litellm.custom_provider_map.remove, entry)

    @property
    def uri(self) -> str:
        """The name of the model as MLflow writes it."""
        return f"{self._provider}:/{str(self._lm.model).rpartition('/')[2]}"

    def completion(self, *_: Any, **given: Any) -> Any:
        """Answer a call of LiteLLM.

        Raises:
            litellm.AuthenticationError: the call failed or was refused. MLflow makes no second one after this error.
        """
        messages = [{"role": message["role"], "content": message["content"]} for message in given["messages"]]
        asked = given.get("optional_params") or {}
        try:
            answer = self._lm(messages=messages, **{name: asked[name] for name in _PARAMETERS if name in asked})[0]
        except Exception as error:
            number = secrets.token_hex(8)
            self._failures[number] = error
            raise litellm.AuthenticationError(
                f"hokusai failure {number}", self._provider, str(given["model"])
            ) from error
        response = given["model_response"]
        response.choices[0].message.content = answer["text"] if isinstance(answer, dict) else answer
        return response

    def failure_in(self, text: str) -> Exception | None:
        """Return the error that a message of MLflow speaks of, None if it is of something else."""
        found = _FAILURE.search(text)
        error = None if found is None else self._failures.pop(found[1], None)
        return None if error is None else translate_error(error)
