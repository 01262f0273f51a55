"""OpenAIProvider: makes language models of addresses such as ``http://127.0.0.1:8000/v1#model``."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

from hokusai_core.plugin_api import LanguageModel
from hokusai_openai.options import ServerOptions

if TYPE_CHECKING:
    from hokusai_openai.async_engine import AsyncOpenAIEngine
    from hokusai_openai.engine import OpenAIEngine

__all__ = ["OpenAIProvider"]

#: Options of ``load`` that are defaults of the model, and not of the server.
_OF_THE_MODEL = ("max_tokens", "seed", "temperature", "top_p")


class OpenAIProvider:
    """Makes language models behind OpenAI-compatible servers.

    Example:
        >>> provider = OpenAIProvider()
        >>> provider.load("http://127.0.0.1:8000/v1#llama-3.1-8b", temperature=0).lm.model
        'http://127.0.0.1:8000/v1#llama-3.1-8b'
        >>> provider.close()
    """

    #: Engines open connections of their own in a child process.
    fork_safe = True

    def __init__(self) -> None:
        self._engines: list[tuple[OpenAIEngine, AsyncOpenAIEngine]] = []
        self._lock = Lock()

    def available(self) -> str | None:
        """Return None: a server that cannot be reached shows at the first call."""
        return None

    def load(self, name: str = "", **options: Any) -> LanguageModel:
        """Return a language model. Nothing is connected to before the first call.

        Args:
            name: ``http://HOST:PORT/v1#model``, or the name of a model of the server that the environment names.
            options: of ``ServerOptions``; and ``max_tokens``, ``seed``, ``temperature`` and ``top_p``, the defaults of
                the model.

        Raises:
            LanguageModelUnavailable: the name is malformed.
            ConfigurationError: an option, the proxy or the file of certificates cannot be used.
        """
        defaults = {name: options.pop(name) for name in _OF_THE_MODEL if name in options}
        settings = ServerOptions.of(name, os.environ, **options)

        import dspy

        from hokusai_openai.async_engine import AsyncOpenAIEngine
        from hokusai_openai.engine import OpenAIEngine

        engine = OpenAIEngine(settings)
        asynchronous = AsyncOpenAIEngine(settings, engine.network)
        with self._lock:
            self._engines.append((engine, asynchronous))
        lm = dspy.LM(
            settings.name,
            engine=engine,
            async_engine=asynchronous,
            # The executor caches and retries.
            cache=False,
            num_retries=0,
            **defaults,
        )
        adapter = dspy.JSONAdapter() if settings.structured_outputs else None
        return LanguageModel(lm=lm, adapter=adapter, identity=f"{settings.name} {settings.kind}")

    def close(self) -> None:
        """Close the connections; calling it twice is harmless."""
        with self._lock:
            engines, self._engines = self._engines, []
        for engine, asynchronous in engines:
            engine.close()
            asynchronous.close()
