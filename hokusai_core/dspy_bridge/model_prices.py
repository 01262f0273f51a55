"""The cost of calls by DSPy's price list."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

from dspy.clients import costs
from dspy.clients.capabilities import resolve
from dspy.clients.model_metadata import model_info
from dspy.lm15 import Request, Response
from dspy.utils.dummies import DummyLM

__all__ = ["cost_of_usage", "estimated_cost", "is_free", "price_entry", "prices_of"]

_PRICES = ("input_cost_per_token", "output_cost_per_token")
_CACHE_PRICES = ("cache_read_input_token_cost", "cache_creation_input_token_cost")


# DSPy reads its whole list for a model that is not in it, twice a call. The list is read once by a process, and never
# changes. So DSPy's formula gets a look-up that remembers what it has found.
_entry = lru_cache(maxsize=4096)(model_info)
_formula = FunctionType(costs._estimate_cost.__code__, {**vars(costs), "model_info": _entry})
_formula.__kwdefaults__ = costs._estimate_cost.__kwdefaults__


def estimated_cost(
    response: Response, request: Request, *, provider: str, model: str, namespaces: tuple[str, ...] | None
) -> tuple[float | None, dict[str, Any]]:
    """Return the cost of an answer in US dollars as DSPy estimates it, and how; None where it knows no price.

    Args:
        response: the answer.
        request: what was asked.
        provider: DSPy's name of the provider.
        model: the model that was asked for.
        namespaces: where the prices of a declared provider stand, None for any other.
    """
    try:
        cost: tuple[float | None, dict[str, Any]] = _formula(
            response, provider=provider, requested_model=model, request=request, namespaces=namespaces
        )
    except Exception:  # an answer that was paid for is no failure because its price is not clear
        return None, {"kind": "unknown", "reason": "pricing metadata could not be interpreted"}
    return cost


def is_free(lm: Any) -> bool:
    """Return whether calls of ``lm`` cost nothing: its engine says so with ``free = True``, as embedded ones do."""
    return isinstance(lm, DummyLM) or getattr(getattr(lm, "_engine_spec", None), "free", False) is True


def price_entry(lm: Any) -> tuple[str, str] | None:
    """Return provider and model by whose prices ``lm`` is billed, if its engine says so in ``price_entry``."""
    entry = getattr(getattr(lm, "_engine_spec", None), "price_entry", None)
    return entry if isinstance(entry, tuple) and len(entry) == 2 else None


def cost_of_usage(lm: Any, used: Mapping[str, Any]) -> float | None:
    """Return the estimated US dollars of a call, None where no price is known.

    Args:
        lm: the language model that was called.
        used: its tokens as DSPy writes them.
    """
    if is_free(lm):
        return 0.0
    prices = prices_of(lm)
    prompt, completion = used.get("prompt_tokens"), used.get("completion_tokens")
    if prices is None or prompt is None or completion is None:
        return None
    details = used.get("prompt_tokens_details") or {}
    cached, written = (details.get(kind) or 0 for kind in ("cached_tokens", "cache_creation_tokens"))
    per_input, per_output = (float(prices[price]) for price in _PRICES)
    per_cached, per_written = (float(prices.get(price) or per_input) for price in _CACHE_PRICES)
    plain = max(0, prompt - cached - written)
    return float(plain * per_input + cached * per_cached + written * per_written + completion * per_output)


def prices_of(lm: Any) -> Mapping[str, Any] | None:
    """Return the entry of DSPy's price list by which calls of ``lm`` are billed, None where none is known."""
    if not isinstance(getattr(lm, "_engine_spec", None), str) and price_entry(lm) is None:
        return None  # DSPy estimates no cost for engines of others
    try:
        named = price_entry(lm)
        if named is not None:
            entries = [_entry(*named)]
        else:
            prefix, _, model = lm.model.partition("/")
            providers = [prefix] if lm._engine_spec == "litellm" else [prefix, resolve(lm).provider]
            entries = [_entry(provider, model) for provider in providers]
    except Exception:  # DSPy knows no provider of this name
        return None
    return next((entry for entry in entries if all(entry.get(price) is not None for price in _PRICES)), None)
