"""Hook implementations of the plugin ``strategies``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_strategies"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_strategies() -> list[Component]:
    """Offer the strategies."""
    offers = [
        ("predict", "predict:Predict", "One call of the language model, as without a strategy"),
        ("chain", "chain:Chain", "The steps of a chain, each a signature of its own"),
        ("chain_of_thought", "chain_of_thought:ChainOfThought", "One call, with reasoning before the answer"),
        ("react", "react:ReAct", "Thoughts and calls of tools, until it is known enough to answer"),
        ("best_of_n", "best_of_n:BestOfN", "Several tries, of which the one with the highest reward is taken"),
        ("refine", "refine:Refine", "Several tries, each with advice on the one before"),
        ("majority", "majority:Majority", "Several tries, of which the most frequent answer is taken"),
    ]
    return [
        Component(name=name, target=f"hokusai_strategies.{target}", summary=summary) for name, target, summary in offers
    ]
