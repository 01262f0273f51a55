"""usage_cost: what tokens of a language model cost, before any call is made."""

from __future__ import annotations

from typing import Any

from hokusai_core.dspy_bridge.model_prices import cost_of_usage
from hokusai_core.price_table import PriceTable
from hokusai_core.results import Usage

__all__ = ["usage_cost"]


def usage_cost(lm: Any, usage: Usage, prices: PriceTable | None = None) -> float | None:
    """Return what tokens of a language model cost in US dollars: 0.0 for an embedded one, None where no price is known.

    Args:
        lm: the language model; it is not called.
        usage: the tokens.
        prices: prices that go before those of DSPy.
    """
    own = None if prices is None else prices.cost(lm.model, usage)
    if own is not None:
        return own
    return cost_of_usage(lm, {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens})
