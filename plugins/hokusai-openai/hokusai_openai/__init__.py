"""Language models behind OpenAI-compatible servers: OpenAI, vLLM, llama.cpp, Ollama, gateways.

The names below are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_openai.async_engine import AsyncOpenAIEngine
    from hokusai_openai.engine import OpenAIEngine
    from hokusai_openai.options import ServerOptions
    from hokusai_openai.provider import OpenAIProvider

__all__ = ["AsyncOpenAIEngine", "OpenAIEngine", "OpenAIProvider", "ServerOptions"]

_HOMES = {
    "AsyncOpenAIEngine": "async_engine",
    "OpenAIEngine": "engine",
    "OpenAIProvider": "provider",
    "ServerOptions": "options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
