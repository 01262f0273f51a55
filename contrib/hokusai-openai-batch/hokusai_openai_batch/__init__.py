"""Batches of Hokusai executions on half-price batch services."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_openai_batch.backend import OpenAIBatchBackend

__all__ = ["OpenAIBatchBackend"]


def __getattr__(name: str) -> Any:
    # The plugin is listed by every start of the command; what it does is imported when it is used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("hokusai_openai_batch.backend"), name)
