"""MeteredCall: one call of a language model under way, what is known of it before, and what its answer tells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from attrs import define, field

from hokusai_core.call_records import Admission, CallEstimate
from hokusai_core.dspy_bridge.cost_bound import answers_asked_for, cost_bound
from hokusai_core.price_table import PriceTable

__all__ = ["MeteredCall", "estimate_of", "tells_tokens", "written_tokens"]


@define(eq=False)
class MeteredCall:
    """One call under way.

    Args:
        prompt: the prompt, None where there are messages.
        messages: the messages.
        kwargs: options of the call.
        admission: what the gate has set aside for it.
        started: when it began.
        heard: whether a part of a streamed answer has come.
    """

    prompt: Any
    messages: Any
    kwargs: dict[str, Any]
    admission: Admission | None = None
    started: float = field(factory=time.perf_counter)
    heard: bool = False

    def hear(self) -> None:
        """Note that a part of a streamed answer has come."""
        self.heard = True


def estimate_of(
    lm: Any, prompt: Any, messages: Any, options: Mapping[str, Any], prices: PriceTable | None = None
) -> CallEstimate:
    """Return what is known of a call before it is made."""
    contents = [message.get("content") for message in messages] if messages else [prompt]
    characters = sum(len(content) if isinstance(content, str) else 0 for content in contents)
    own = getattr(lm, "kwargs", None) or {}
    limit = options.get("max_tokens") or options.get("max_completion_tokens") or own.get("max_tokens")
    return CallEstimate(
        lm.model,
        characters // 4,
        limit,
        cache(partial(cost_bound, lm, prompt, messages, options, prices)),
        answers_asked_for(lm, options),
    )


def tells_tokens(used: Mapping[str, Any]) -> bool:
    """Return whether a provider has counted the tokens of a call; no prompt has none."""
    return bool(used.get("prompt_tokens")) and used.get("completion_tokens") is not None


def written_tokens(used: Mapping[str, Any]) -> int:
    """Return the tokens that a provider has put into its prompt cache."""
    details = used.get("prompt_tokens_details")
    return int(details.get("cache_creation_tokens") or 0) if isinstance(details, Mapping) else 0
