"""Choose the optimizer that ``auto`` means."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hokusai_core import Budget
from hokusai_core.plugin_api import SignatureSpec
from hokusai_teleprompt.data_split import DataSplit

__all__ = ["AUTO", "OptimizerChoice", "choose_optimizer"]

#: Name of the search that tries cheap candidates first, and then optimizers with what is left of the budget.
AUTO = "auto"


@frozen
class OptimizerChoice:
    """An optimizer and the reason why it was chosen.

    Args:
        name: name of the component, or ``auto`` for several in turn.
        options: its options.
        reason: the reason, in words.
    """

    name: str
    options: dict[str, Any] = field(factory=dict)
    reason: str = ""


def choose_optimizer(
    spec: SignatureSpec, split: DataSplit, budget: Budget | None, *, program: bool = False
) -> OptimizerChoice:
    """Return the optimizer that suits the number of examples and the budget.

    Args:
        spec: the signature.
        split: the examples.
        budget: the budget, None for none.
        program: whether a program with inner predictors runs it, for which examples are no demos.
    """
    small = "bootstrap_fewshot" if program else "labeled_fewshot"
    if program and spec.sensitive:
        return OptimizerChoice(
            "copro", {}, "demos of inner predictors may quote sensitive fields, so instructions are improved"
        )
    if spec.outputs.keys() <= spec.sensitive:
        return OptimizerChoice(
            "copro", {}, "demos cannot show sensitive outputs, so instructions are what can be improved"
        )
    if not split.dev:
        return OptimizerChoice(small, {}, f"{len(split.train)} examples are too few to choose between candidates by")
    ceilings = _ceilings(budget)
    paid = f"as much as {ceilings} pay for" if ceilings else "no limit on calls"
    return OptimizerChoice(AUTO, {}, f"labelled and nearest demos first, then searches: {paid}")


def _ceilings(budget: Budget | None) -> str:
    """Return the ceilings of a budget in words, "" for none."""
    if budget is None:
        return ""
    words = {
        f"{budget.calls} calls": budget.calls,
        f"{budget.tokens} tokens": budget.tokens,
        f"${budget.cost:g}" if budget.cost else "": budget.cost,
        f"{budget.seconds:g} seconds" if budget.seconds else "": budget.seconds,
    }
    return " and ".join(text for text, ceiling in words.items() if ceiling is not None)
