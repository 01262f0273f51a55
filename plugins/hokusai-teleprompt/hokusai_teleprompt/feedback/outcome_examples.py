"""Choose examples to learn from by an outcome: the executions of which came most.

An outcome is measured for the answer that an execution gave. A new answer of a candidate has none. So outcomes choose
what is learned from, and never compare a candidate with the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
    measured = _measured(spec, name, executions, min_count)
    sign = _sign(spec, name, measured)
    usable = _Usable(spec, name, min_rating, sign)
    for value, kept in measured:
        usable.add(value, kept)
    ranked = usable.ranked(len(measured))
    chosen = ranked[: max(1, math.ceil(_BEST * len(ranked)))]
    note = (
        f"{name} chose what is learned from: the best third, {len(chosen)} of {len(ranked)} inputs, with a mean of "
        f"{_mean(chosen):.4g} against {_mean(measured):.4g} of all {len(measured)} executions{usable.left_out()}"
    )
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
    return OutcomeExamples(FeedbackExamples(items, (note,), sources), refusal)


def _measured(
    spec: SignatureSpec, name: str, executions: Iterable[KeptExecution], min_count: int
) -> list[tuple[float, KeptExecution]]:
    """Return the executions that have the outcome, with its value.

    Raises:
        FeedbackError: there are not enough yet.
    """
    found = [(value, kept) for kept in executions if (value := outcome_value(kept, name)) is not None]
    if len(found) < min_count:
        raise FeedbackError(
            f"not enough yet: {len(found)} executions of {spec.name} have the outcome {name}, {min_count} are "
            f"needed. Record {min_count - len(found)} more, for example with: "
            f"hokusai feedback outcome EXECUTION_ID {name}=NUMBER"
        )
    return found


def _sign(spec: SignatureSpec, name: str, measured: Iterable[tuple[float, KeptExecution]]) -> float:
    """Return 1 where a higher value is better, and -1 where a lower one is.

    Raises:
        FeedbackError: the outcome has both directions.
    """
    directions = {one.higher_is_better for _, kept in measured for one in kept.current_outcomes if one.name == name}
    if len(directions) != 1:
        raise FeedbackError(
            f"{name} of {spec.name} was recorded both as higher and as lower is better; use one of them"
        )
    return 1.0 if directions == {True} else -1.0


def _mean(pairs: Sequence[tuple[float, object]]) -> float:
    return sum(value for value, _ in pairs) / len(pairs)


class _Usable:
    """The best execution of each input, and how many were left out.

    Args:
        spec: the signature.
        name: the outcome.
        min_rating: the least rating of an output that counts as right.
        sign: 1 where a higher value is better, -1 where a lower one is.
    """

    def __init__(self, spec: SignatureSpec, name: str, min_rating: int, sign: float) -> None:
        self._spec, self._name, self._min_rating, self._sign = spec, name, min_rating, sign
        self._best: dict[str, tuple[float, OptimizationExample]] = {}
        self._contested = self._redacted = self._unfit = 0

    def add(self, value: float, kept: KeptExecution) -> None:
        """Take an execution, or count why it is left out."""
        if REDACTED in kept.inputs.values():
            self._redacted += 1
            return
        if any(given.corrections or given.rating < self._min_rating for given in kept.current):
            self._contested += 1
            return
        known = {field: output for field, output in kept.outputs.items() if output != REDACTED}
        source = next(one.source for one in kept.current_outcomes if one.name == self._name)
        example = fitting_example(self._spec, OptimizationExample(kept.inputs, known, source))
        if example is None:
            self._unfit += 1
            return
        key = near_key(kept.inputs)
        if key not in self._best or self._sign * value > self._sign * self._best[key][0]:
            self._best[key] = value, example

    def ranked(self, count: int) -> list[tuple[float, OptimizationExample]]:
        """Return value and example of each input, the best first.

        Args:
            count: executions that were taken or left out, for the error.

        Raises:
            FeedbackError: all were left out.
        """
        if not self._best:
            raise FeedbackError(
                f"there is nothing to learn from {self._name} of {self._spec.name}: of {count} executions "
                f"{self._contested} are contested, {self._redacted} have sensitive inputs, and {self._unfit} do not "
                "fit the signature as it is now"
            )
        return sorted(self._best.values(), key=lambda pair: -self._sign * pair[0])

    def left_out(self) -> str:
        """Return the end of a note on what was left out; empty where nothing was."""
        counts = (
            (self._contested, "contested"),
            (self._redacted, "with sensitive inputs"),
            (self._unfit, "that do not fit"),
        )
        named = [f"{count} {what}" for count, what in counts if count]
        return f"; left out: {', '.join(named)}" if named else ""
