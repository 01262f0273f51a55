"""Choose the optimizer that ``auto`` means."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hokusai_core import Budget
from hokusai_core.plugin_api import SignatureSpec
from hokusai_teleprompt.data_split import DataSplit

__all__ = ["OptimizerChoice", "choose_optimizer"]

#: Calls for drawing one set of demos, in addition to those for scoring it.
_DRAWING = 6
_MOST_SETS = 8
_MANY_EXAMPLES, _MANY_SETS = 200, 40


@frozen
class OptimizerChoice:
    """An optimizer and the reason why it was chosen.

    Args:
        name: name of the component.
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
    calls = None if budget is None else budget.calls
    if calls is None:
        return OptimizerChoice(
            "bootstrap_random_search",
            {"num_candidate_programs": _MOST_SETS},
            f"{len(split.train)} examples to learn from and no limit on calls: tries {_MOST_SETS + 3} sets of demos",
        )
    free = calls - 2 * len(split.test) - len(split.dev)
    sets = free // (len(split.dev) + _DRAWING)
    room = f"{max(0, free)} of {calls} calls are left for the search"
    if sets < 2:
        return OptimizerChoice(small, {}, f"{room}, which is too few to try sets of demos")
    if sets >= _MANY_SETS and len(split.train) >= _MANY_EXAMPLES:
        return OptimizerChoice(
            "mipro_v2",
            {"num_candidates": 10},
            f"{room} and {len(split.train)} examples to learn from: enough to search instructions as well",
        )
    drawn = max(1, min(_MOST_SETS, sets - 3))
    return OptimizerChoice(
        "bootstrap_random_search", {"num_candidate_programs": drawn}, f"{room}: tries {drawn + 3} sets of demos"
    )
