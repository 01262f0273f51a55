"""Hook implementations of the plugin ``strategies``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_strategies"]


@hookimpl
def provide_strategies() -> list[Component]:
    """Offer the strategies."""
    offers = [
        ("predict", "predict:Predict", "One call of the language model, as without a strategy"),
        ("chain_of_thought", "chain_of_thought:ChainOfThought", "One call, with reasoning before the answer"),
    ]
    return [
        Component(name=name, target=f"hokusai_strategies.{target}", summary=summary) for name, target, summary in offers
    ]
