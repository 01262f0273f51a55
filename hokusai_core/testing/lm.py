"""Language models for tests: no network, no weights, hardly any time."""

from __future__ import annotations

from hokusai_core.dspy_bridge.null_lm import AsyncNullEngine, NullEngine, null_lm

__all__ = ["AsyncNullEngine", "NullEngine", "null_lm"]
