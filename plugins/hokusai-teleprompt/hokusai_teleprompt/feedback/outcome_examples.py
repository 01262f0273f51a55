"""Choose examples to learn from by an outcome: the executions of which came most.

An outcome is measured for the answer that an execution gave. A new answer of a candidate has none. So outcomes choose
what is learned from, and never compare a candidate with the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from hokusai_core.errors import FeedbackError
from hokusai_core.plugin_api import REDACTED, KeptExecution, OptimizationExample, SignatureSpec
from hokusai_evaluate.example_reader import near_key
from hokusai_teleprompt.feedback.feedback_examples import FeedbackExamples, ReviewedExample, fitting_example
from hokusai_teleprompt.feedback.outcome_summary import outcome_value
from hokusai_teleprompt.source_result import count_sources

__all__ = ["OutcomeExamples", "best_by_outcome", "outcome_names"]

#: Share of the executions that is learned from.
_BEST: Final = 1 / 3


@frozen
class OutcomeExamples:
    """Examples that were chosen by an outcome.

    Args:
        found: the examples, and what was left out.
        refusal: why nothing is promoted by them.
    """

    found: FeedbackExamples
    refusal: str


def outcome_names(executions: Iterable[KeptExecution]) -> list[str]:
    """Return the names of the outcomes that executions have."""
    return sorted({outcome.name for kept in executions for outcome in kept.outcomes})


def best_by_outcome(
    spec: SignatureSpec, name: str, executions: Iterable[KeptExecution], *, min_rating: int, min_count: int
) -> OutcomeExamples:
    """Return the third of the executions with the best outcome as examples, one for each input.

    Executions that were corrected or rated low are left out, whatever came of them.

    Args:
        spec: the signature.
        name: the outcome.
        executions: executions of the signature.
        min_rating: the least rating of an output that counts as right.
        min_count: executions with this outcome that are needed.

    Raises:
        FeedbackError: there are not enough yet, none of them can be used, or the outcome has both directions.
    """
    measured = [(value, kept) for kept in executions if (value := outcome_value(kept, name)) is not None]
    if len(measured) < min_count:
        raise FeedbackError(
            f"not enough yet: {len(measured)} executions of {spec.name} have the outcome {name}, {min_count} are "
            f"needed. Record {min_count - len(measured)} more, for example with: "
            f"hokusai feedback outcome EXECUTION_ID {name}=NUMBER"
        )
    directions = {one.higher_is_better for _, kept in measured for one in kept.current_outcomes if one.name == name}
    if len(directions) != 1:
        raise FeedbackError(
            f"{name} of {spec.name} was recorded both as higher and as lower is better; use one of them"
        )
    sign = 1.0 if directions == {True} else -1.0
    best: dict[str, tuple[float, OptimizationExample]] = {}
    contested = redacted = unfit = 0
    for value, kept in measured:
        if REDACTED in kept.inputs.values():
            redacted += 1
        elif any(given.corrections or given.rating < min_rating for given in kept.current):
            contested += 1
        else:
            known = {field: output for field, output in kept.outputs.items() if output != REDACTED}
            source = next(one.source for one in kept.current_outcomes if one.name == name)
            example = fitting_example(spec, OptimizationExample(kept.inputs, known, source))
            key = near_key(kept.inputs)
            if example is None:
                unfit += 1
            elif key not in best or sign * value > sign * best[key][0]:
                best[key] = value, example
    if not best:
        raise FeedbackError(
            f"there is nothing to learn from {name} of {spec.name}: of {len(measured)} executions {contested} are "
            f"contested, {redacted} have sensitive inputs, and {unfit} do not fit the signature as it is now"
        )
    ranked = sorted(best.values(), key=lambda pair: -sign * pair[0])
    chosen = ranked[: max(1, math.ceil(_BEST * len(ranked)))]
    mean = sum(value for value, _ in measured) / len(measured)
    mean_of_chosen = sum(value for value, _ in chosen) / len(chosen)
    left_out = [
        f"{count} {what}"
        for count, what in ((contested, "contested"), (redacted, "with sensitive inputs"), (unfit, "that do not fit"))
        if count
    ]
    notes = [
        f"{name} chose what is learned from: the best third, {len(chosen)} of {len(ranked)} inputs, with a mean of "
        f"{mean_of_chosen:.4g} against {mean:.4g} of all {len(measured)} executions"
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    ]
    refusal = (
        f"{name} of a new answer is not known before it is used, so that no comparison here shows that it is better. "
        f"Run the saved candidate beside the signature, record {name} for both, and look at: hokusai feedback outcomes"
    )
    items = tuple(ReviewedExample(example, frozenset()) for _, example in chosen)
    sources = count_sources(
        feedbacks=[given.source for _, kept in measured for given in kept.current],
        corrections=[given.source for _, kept in measured for given in kept.current if given.corrections],
        outcomes=[one.source for _, kept in measured for one in kept.current_outcomes if one.name == name],
        examples=[example.source for _, example in chosen],
    )
    return OutcomeExamples(FeedbackExamples(items, tuple(notes), sources), refusal)
