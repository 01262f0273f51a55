"""Tell whether the cost of a call will be known, and what a call has cost whose response was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspy.clients.capabilities import resolve
from dspy.clients.model_metadata import model_info
from dspy.utils.dummies import DummyLM

from hokusai_core.dspy_bridge.engine_calls import is_managed

__all__ = ["cost_of_usage", "is_free", "is_priced"]

_PRICES = ("input_cost_per_token", "output_cost_per_token")
_CACHE_PRICES = ("cache_read_input_token_cost", "cache_creation_input_token_cost")


def is_free(lm: Any) -> bool:
    """Return whether calls of ``lm`` cost nothing: its engine says so with ``free = True``, as embedded ones do."""
    return isinstance(lm, DummyLM) or getattr(getattr(lm, "_engine_spec", None), "free", False) is True


def is_priced(lm: Any) -> bool:
    """Return whether the cost of a call of ``lm`` will be known; in doubt it is not."""
    if is_free(lm):
        return True
    if not is_managed(lm) or not isinstance(lm._engine_spec, str):
        return False  # DSPy estimates no cost for engines of others
    return _prices(lm) is not None


def cost_of_usage(lm: Any, used: Mapping[str, Any]) -> float | None:
    """Return the estimated US dollars of a call, None where no price is known.

    Args:
        lm: the language model that was called.
        used: its tokens as DSPy writes them.
    """
    if is_free(lm):
        return 0.0
    prices = _prices(lm) if is_priced(lm) else None
    prompt, completion = used.get("prompt_tokens"), used.get("completion_tokens")
    if prices is None or prompt is None or completion is None:
        return None
    details = used.get("prompt_tokens_details") or {}
    cached, written = (details.get(kind) or 0 for kind in ("cached_tokens", "cache_creation_tokens"))
    per_input, per_output = (float(prices[price]) for price in _PRICES)
    per_cached, per_written = (float(prices.get(price) or per_input) for price in _CACHE_PRICES)
    plain = max(0, prompt - cached - written)
    return float(plain * per_input + cached * per_cached + written * per_written + completion * per_output)


def _prices(lm: Any) -> Mapping[str, Any] | None:
    """Return the prices per token of ``lm``, None where they are not known."""
    try:
        prefix, _, model = lm.model.partition("/")
        providers = [prefix] if lm._engine_spec == "litellm" else [prefix, resolve(lm).provider]
        entries = [model_info(provider, model) for provider in providers]
    except Exception:  # DSPy knows no provider of this name
        return None
    return next((entry for entry in entries if all(entry.get(price) is not None for price in _PRICES)), None)
