"""Tell whether the cost of a call will be known, for ceilings on cost."""

from __future__ import annotations

from typing import Any

from dspy.clients.capabilities import resolve
from dspy.clients.model_metadata import model_info
from dspy.utils.dummies import DummyLM

from hokusai_core.dspy_bridge.engine_calls import is_managed

__all__ = ["is_free", "is_priced"]

_PRICES = ("input_cost_per_token", "output_cost_per_token")


def is_free(lm: Any) -> bool:
    """Return whether calls of ``lm`` cost nothing: its engine says so with ``free = True``, as embedded ones do."""
    return isinstance(lm, DummyLM) or getattr(getattr(lm, "_engine_spec", None), "free", False) is True


def is_priced(lm: Any) -> bool:
    """Return whether the cost of a call of ``lm`` will be known; in doubt it is not."""
    if is_free(lm):
        return True
    if not is_managed(lm) or not isinstance(lm._engine_spec, str):
        return False  # DSPy estimates no cost for engines of others
    try:
        return _is_listed(lm)
    except Exception:  # DSPy knows no provider of this name
        return False


def _is_listed(lm: Any) -> bool:
    prefix, _, model = lm.model.partition("/")
    providers = [prefix] if lm._engine_spec == "litellm" else [prefix, resolve(lm).provider]
    entries = (model_info(provider, model) for provider in providers)
    return any(all(entry.get(price) is not None for price in _PRICES) for entry in entries)
