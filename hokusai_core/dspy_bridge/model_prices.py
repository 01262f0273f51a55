"""Whether the cost of a call will be known, for ceilings on cost."""

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
    except Exception:  # DSPy or litellm has no entry for this name; each says so in its own way
        return False


def _is_listed(lm: Any) -> bool:
    prefix, _, model = lm.model.partition("/")
    if lm._engine_spec != "litellm":
        for provider in (prefix, resolve(lm).provider):
            entry = model_info(provider, model)
            if all(entry.get(price) is not None for price in _PRICES):
                return True
        return False
    import litellm  # takes a second, and only models that DSPy hands to it need it

    entry = litellm.get_model_info(lm.model)
    return all(entry.get(price) is not None for price in _PRICES)
