"""Language models for tests: fast, without network and weights."""

from __future__ import annotations

from hokusai_core.dspy_bridge.null_lm import AsyncNullEngine, NullEngine, null_lm

__all__ = ["AsyncNullEngine", "NullEngine", "null_lm"]
