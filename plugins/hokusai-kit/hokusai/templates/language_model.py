"""AcmeSample: language models of a server that speaks the protocol of OpenAI."""

from __future__ import annotations

import os
from typing import Any

from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable
from hokusai_core.plugin_api import LanguageModel

__all__ = ["AcmeSample"]

#: Models of the server; the first one is the default.
MODELS = ("small", "large")
#: Options that a model takes.
OPTIONS = ("max_tokens", "temperature")


class AcmeSample:
    """Makes models from names: ``lm="acme-plugin"``, ``lm="acme-plugin/large"``.

    Args:
        url: address of the server, such as ``http://127.0.0.1:8000/v1``; None for ``ACME_SAMPLE_URL``.
    """

    fork_safe = True  # it keeps nothing open

    def __init__(self, url: str | None = None) -> None:
        self._url = url or os.environ.get("ACME_SAMPLE_URL", "")

    def available(self) -> str | None:
        """Return why it cannot serve, None if it can. Nothing is asked over the network."""
        return None if self._url else "set ACME_SAMPLE_URL to the address of the server"

    def load(self, name: str, **options: Any) -> LanguageModel:
        """Return a model.

        Raises:
            ConfigurationError: It does not take these options.
            LanguageModelUnavailable: There is no server, or it has no model of that name.
        """
        unknown = ", ".join(sorted(options.keys() - set(OPTIONS)))
        if unknown:
            raise ConfigurationError(f"acme-plugin takes no {unknown}; it takes {', '.join(OPTIONS)}")
        reason = self.available()
        if reason is not None:
            raise LanguageModelUnavailable(f"acme-plugin: {reason}")
        if name and name not in MODELS:
            raise LanguageModelUnavailable(f"acme-plugin has no model {name!r}; it has {', '.join(MODELS)}")
        import dspy  # takes a second; listings do without

        model = name or MODELS[0]
        key = os.environ.get("ACME_SAMPLE_KEY", "none")
        lm = dspy.LM(f"openai/{model}", api_base=self._url, api_key=key, **options)
        return LanguageModel(lm, identity=f"acme-plugin/{model} at {self._url}")

    def close(self) -> None:
        """Free the models: nothing is kept."""
