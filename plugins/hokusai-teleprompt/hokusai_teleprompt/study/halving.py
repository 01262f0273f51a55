"""Successive halving: many candidates on some of the examples, the better half of them on all of them.

Jamieson and Talwalkar (2016) describe it. Here a candidate also stays if it is within one standard error of the best,
so that few examples do not decide what they cannot show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import define, field

from hokusai_core.plugin_api import Candidate, OptimizationExample
from hokusai_teleprompt.study.call_rate import CallRate
from hokusai_teleprompt.study.evaluation import ExampleOutcome, Measurement

__all__ = ["Contender", "ahead", "halve", "shown_demos"]

#: Examples of the first round at the least.
_FEWEST = 12


@define(eq=False)
class Contender:
    """A candidate with its results so far.

    Args:
        candidate: the candidate.
        optimizer: name of the optimizer that made it.
        outcomes: the results on the first examples.
        worst: what an example without a score counts.
        rate: what an example took, None if too few calls were made.
    """

    candidate: Candidate
    optimizer: str
    outcomes: list[ExampleOutcome | None] = field(factory=list)
    worst: float = 0.0
    rate: CallRate | None = None

    def goods(self) -> list[float]:
        """Return how good it was on each finished example."""
        return Measurement(tuple(self.outcomes)).goods(self.worst)

    @property
    def mean(self) -> float:
        """How good it is on average."""
        goods = self.goods()
        return sum(goods) / len(goods) if goods else -math.inf


def halve(
    contenders: Sequence[Contender],
    examples: Sequence[OptimizationExample],
    measure: Callable[[Contender, Sequence[OptimizationExample]], Measurement],
    worst: Callable[..., float],
    first_round: float,
) -> tuple[list[Contender], str | None]:
    """Measure candidates in two rounds, and return the best ones first.

    Args:
        contenders: the candidates.
        examples: the examples to choose by, in random order.
        measure: measures a candidate on examples.
        worst: returns what an example without a score counts, of measurements.
        first_round: share of the examples in the first round.

    Returns:
        The candidates that were measured on all examples, or as far as it went where it was stopped; and why it was
        stopped, None where it was not.
    """
    early = min(len(examples), max(_FEWEST, math.ceil(first_round * len(examples))))
    if len(contenders) < 3:
        early = len(examples)
    alive = list(contenders)
    for start, end in ((0, early), (early, len(examples))):
        for contender in alive if end > start else ():
            measured = measure(contender, examples[start:end])
            contender.outcomes.extend(measured.outcomes)
            contender.worst = worst(measured)
            if measured.stopped is not None:
                return _unfinished(alive, start), measured.stopped
        if end < len(examples):
            alive = _kept(alive)
    return sorted(alive, key=_rank), None


def ahead(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether the first is better than the second by more than one standard error of the difference.

    Args:
        first: how good the first is on each example.
        second: how good the second is on the same examples.
    """
    gains = [one - other for one, other in zip(first, second, strict=False)]
    if len(gains) < 2:
        return sum(gains) > 0
    mean = sum(gains) / len(gains)
    spread = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
    return mean > math.sqrt(spread / len(gains))


def shown_demos(candidate: Candidate) -> int:
    """Return how many demos a prompt of a candidate shows."""
    return candidate.nearest_demos or candidate.demo_count


def _kept(contenders: Sequence[Contender]) -> list[Contender]:
    ranked = sorted(contenders, key=_rank)
    best = ranked[0].goods()
    half = math.ceil(len(ranked) / 2)
    return [item for place, item in enumerate(ranked) if place < half or not ahead(best, item.goods())]


def _unfinished(contenders: Sequence[Contender], done: int) -> list[Contender]:
    """Return those that a round that was stopped has measured best: on all of it if any is, else on what there is."""
    longest = max(len(item.goods()) for item in contenders)
    whole = [item for item in contenders if len(item.goods()) == longest and longest > done]
    return sorted(whole or [item for item in contenders if item.goods()], key=_rank)


def _rank(contender: Contender) -> tuple[float, int]:
    return -contender.mean, shown_demos(contender.candidate)
