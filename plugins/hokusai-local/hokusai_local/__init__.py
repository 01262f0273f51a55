"""The embedded language model of Hokusai: llama.cpp with small instruct weights, no key and no network.

The names below are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_local.adapter import LocalAdapter
    from hokusai_local.engine import AsyncLlamaEngine, LlamaEngine
    from hokusai_local.options import EngineOptions
    from hokusai_local.provider import LocalProvider

__all__ = ["AsyncLlamaEngine", "EngineOptions", "LlamaEngine", "LocalAdapter", "LocalProvider"]

_HOMES = {
    "AsyncLlamaEngine": "engine",
    "EngineOptions": "options",
    "LlamaEngine": "engine",
    "LocalAdapter": "adapter",
    "LocalProvider": "provider",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
