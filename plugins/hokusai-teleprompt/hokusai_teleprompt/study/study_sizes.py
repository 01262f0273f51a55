"""Choose how many examples and candidates a study can pay for, out of what the first calls took."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from hokusai_core import Budget
from hokusai_core.plugin_api import Candidate
from hokusai_teleprompt.data_split import FEWEST, DataSplit
from hokusai_teleprompt.study.call_rate import CallPace, CallRate

__all__ = ["FIRST_ROUND", "Resources", "StudySizes", "dearest", "fitting_sizes", "resized"]

#: Share of what is left that comparison and portfolio may take together; the rest is for searches and for surprises.
_SHARE = 0.75
#: Held-out examples with which candidates are not left out for the sake of more examples.
_ENOUGH = 30
#: Share of the examples that is enough if there are fewer.
_ENOUGH_SHARE = 0.6
#: Numbers of candidates that are tried, the wished one first.
_COUNTS = (5, 3, 2, 1)
#: Candidates that another search than that of ``auto`` is thought to try at the least.
_OTHER_SEARCH = 3
#: Share of the examples to choose by on which the first round of the halving takes place.
FIRST_ROUND = 0.4
#: Examples of a held-out set, and of one to choose by, with which a study begins at the least.
_FEWEST = FEWEST // 2


@frozen
class Resources:
    """What is left of a budget; None where nothing bounds it.

    Args:
        calls: language-model calls.
        tokens: tokens.
        cost: US dollars.
        seconds: seconds.
    """

    calls: float | None = None
    tokens: float | None = None
    cost: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, budget: Budget | None, seconds: float) -> Resources:
        """Return what a study may still use.

        Args:
            budget: the budget, None for none.
            seconds: how long the study has run.
        """
        if budget is None:
            return cls()
        return cls(
            _left(budget.calls, budget.spent.calls),
            _left(budget.tokens, budget.spent.total_tokens),
            _left(budget.cost, budget.spent_cost),
            _left(budget.seconds, seconds),
        )

    @property
    def bounded(self) -> bool:
        """Whether anything is bounded."""
        return any(left is not None for left in (self.calls, self.tokens, self.cost, self.seconds))

    def without(self, rate: CallRate, examples: float) -> Resources:
        """Return what is left when a number of examples at a rate is paid."""
        taken = (rate.calls, rate.tokens, rate.cost or 0.0, rate.seconds)
        left = (self.calls, self.tokens, self.cost, self.seconds)
        return Resources(
            *(None if have is None else have - examples * each for have, each in zip(left, taken, strict=True))
        )

    def examples(self, rate: CallRate) -> float:
        """Return for how many examples at a rate it lasts; infinity where nothing bounds it."""
        return min((have / each for have, each in self._pairs(rate)), default=math.inf)

    def _pairs(self, rate: CallRate) -> Iterator[tuple[float, float]]:
        taken = (rate.calls, rate.tokens, rate.cost or 0.0, rate.seconds)
        left = (self.calls, self.tokens, self.cost, self.seconds)
        for have, each in zip(left, taken, strict=True):
            if have is not None and each > 0:
                yield max(0.0, have), each


@frozen
class StudySizes:
    """How many examples and candidates a study has.

    Args:
        test: held-out examples.
        dev: examples to choose by.
        candidates: candidates of the portfolio.
    """

    test: int
    dev: int
    candidates: int


def fitting_sizes(split: DataSplit, left: Resources, pace: CallPace, wanted: Sequence[Candidate]) -> StudySizes:
    """Return the sizes that what is left pays for, in calls, tokens, cost and seconds alike.

    Args:
        split: the examples, with as many of them held out and to choose by as may be at most.
        left: what is left of the budget.
        pace: what an example takes.
        wanted: candidates of the portfolio, in the order in which they are wanted; none for another search.
    """
    test, dev = len(split.test), len(split.dev)
    rates = [pace.of_candidate(candidate) for candidate in wanted] or [pace.of(pace.fixed_demos)] * _OTHER_SEARCH
    share, count = 1.0, len(rates)
    for count in dict.fromkeys(min(count, len(rates)) for count in _COUNTS):
        tried = rates[:count]
        whole = [(pace.plain, test), (dearest(tried), test), *((rate, dev * _passes(count) / count) for rate in tried)]
        if count > 1:
            whole.append((pace.plain, dev))
        share = min(1.0, _SHARE * left.examples(_sum(whole)))
        if share * test >= min(_ENOUGH, _ENOUGH_SHARE * test):
            break
    return StudySizes(_part(test, share), _part(dev, share), count)


def dearest(rates: Sequence[CallRate]) -> CallRate:
    """Return the rate of the example that takes most."""
    return max(rates, key=lambda rate: (rate.seconds, rate.tokens))


def resized(split: DataSplit, sizes: StudySizes, *, given_test: bool, given_dev: bool) -> DataSplit:
    """Return a split with fewer held-out examples and examples to choose by. What they lose is learned from.

    Args:
        split: the split.
        sizes: how many examples they have.
        given_test: whether the held-out examples may be used for nothing else, as those that the caller gave.
        given_dev: the same for the examples to choose by.
    """
    test, dev = split.test[: sizes.test], split.dev[: sizes.dev]
    rest = [
        *(() if given_dev else split.dev[sizes.dev :]),
        *(() if given_test else split.test[sizes.test :]),
    ]
    notes = []
    if len(test) < len(split.test) or len(dev) < len(split.dev):
        notes.append(
            f"the budget pays for {len(test)} of {len(split.test)} held-out examples and {len(dev)} of "
            f"{len(split.dev)} to choose by"
        )
    return evolve(split, train=(*split.train, *rest), dev=dev, test=test, notes=(*split.notes, *notes))


def _passes(count: int) -> float:
    """Return how many passes over the examples to choose by the halving of a number of candidates takes."""
    return 1.0 if count == 1 else FIRST_ROUND * count + (1 - FIRST_ROUND) * math.ceil(count / 2)


def _sum(parts: Sequence[tuple[CallRate, float]]) -> CallRate:
    costs = [None if rate.cost is None else rate.cost * number for rate, number in parts]
    return CallRate(
        sum(rate.tokens * number for rate, number in parts),
        None if None in costs else sum(cost for cost in costs if cost is not None),
        sum(rate.seconds * number for rate, number in parts),
        sum(rate.calls * number for rate, number in parts),
    )


def _part(count: int, share: float) -> int:
    return min(count, max(_FEWEST, math.floor(count * share)))


def _left(ceiling: float | None, used: float) -> float | None:
    return None if ceiling is None else max(0.0, ceiling - used)
