"""Statistics of scores: how sure a score is, and whether one system is better than another on the same examples.

- interval of one score: Wilson's for right and wrong (Wilson, 1927), which is honest where all is right; for graded
  scores a percentile bootstrap, and with many examples the normal one, which is then the same;
- interval of a difference: percentile bootstrap over the examples (Efron and Tibshirani, 1993; for comparing systems
  on test sets Koehn, 2004);
- test for right and wrong: McNemar's exact test (McNemar, 1947; Dietterich, 1998), a binomial test on the examples
  that only one of the two gets right;
- test for graded scores: paired permutation test, also called approximate randomization (Noreen, 1989; Dror et al.,
  2018), with all assignments if there are few, and random ones if there are many. It is also used if the score of a
  set is not the mean of the scores of its examples.

All tests are two-sided and depend only on the scores and the seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["Paired", "compare_paired", "mcnemar_exact", "resampled_interval", "score_interval"]

RESAMPLES = 5_000
PERMUTATIONS = 10_000
#: Up to this number of differences that are not zero, all 2 ** number assignments are tried.
_EVERY = 13

#: Examples from which on the interval of a mean is the normal one.
_MANY = 1_000
#: Examples that the resamples of a score of a whole set look at, all together.
_LOOKS = 500_000

#: (indices of the examples, whether the systems are swapped on each or None) -> difference of the two systems' scores.
Difference = Callable[[NDArray[np.int64], NDArray[np.bool_] | None], float]


def score_interval(scores: Sequence[float], *, confidence: float, seed: int) -> tuple[float, float]:
    """Return the interval of the mean of scores.

    Args:
        scores: one for each example, at least one.
        confidence: of the interval, such as 0.95.
        seed: of the resampling.

    Example:
        >>> low, high = score_interval([1.0] * 20, confidence=0.95, seed=0)
        >>> round(low, 2), high
        (0.84, 1.0)
    """
    values = np.asarray(scores, dtype=np.float64)
    count, mean = len(values), float(values.mean())
    z = statistics.NormalDist().inv_cdf((1.0 + confidence) / 2)
    if bool(((values == 0.0) | (values == 1.0)).all()):
        centre, spread = mean + z * z / (2 * count), z * math.sqrt(mean * (1 - mean) / count + (z / (2 * count)) ** 2)
        scale = 1 + z * z / count
        low, high = max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
        return (low if mean else 0.0), (high if mean < 1.0 else 1.0)
    if count >= _MANY:
        spread = z * float(values.std(ddof=1)) / math.sqrt(count)
        return mean - spread, mean + spread
    rng = np.random.default_rng(seed)
    draws = values[rng.integers(0, count, (RESAMPLES, count))].mean(axis=1)
    low, high = np.quantile(draws, [(1.0 - confidence) / 2, (1.0 + confidence) / 2])
    return float(low), float(high)


def resampled_interval(
    score: Callable[[NDArray[np.int64]], float], count: int, *, confidence: float, seed: int
) -> tuple[float, float]:
    """Return the bootstrap interval of a score of a whole set, such as macro F1.

    Args:
        score: returns the score of a selection of the examples, by their indices.
        count: how many examples there are.
        confidence: of the interval.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    resamples = max(100, min(RESAMPLES // 5, _LOOKS // count))
    draws = [score(rng.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1.0 - confidence) / 2, (1.0 + confidence) / 2])
    return float(low), float(high)


@frozen
class Paired:
    """The comparison of two systems on the same examples.

    Args:
        difference: score of the second minus score of the first.
        low: lower end of the interval.
        high: upper end of the interval.
        confidence: of the interval.
        p_value: probability of a difference at least as large if the systems do not differ.
        test: name of the test.
    """

    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    test: str


def compare_paired(
    before: Sequence[float],
    after: Sequence[float],
    *,
    confidence: float,
    seed: int,
    difference: Difference | None = None,
) -> Paired:
    """Compare two systems by their scores on the same examples.

    Args:
        before: goodness of the first system on each example.
        after: goodness of the second system on each example, in the same order.
        confidence: of the interval, such as 0.95.
        seed: of everything random.
        difference: returns the difference of the systems on a selection of the examples; None for the difference of
            the means.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    count = len(first)
    rng = np.random.default_rng(seed)
    everything = np.arange(count, dtype=np.int64)
    if difference is None:
        gains = second - first
        observed = float(gains.mean())
        draws = np.array([gains[rng.integers(0, count, count)].mean() for _ in range(RESAMPLES)])
        right_or_wrong = bool(np.isin(np.concatenate([first, second]), (0.0, 1.0)).all())
        if right_or_wrong:
            p_value, test = mcnemar_exact(int((gains > 0).sum()), int((gains < 0).sum())), "McNemar, exact"
        else:
            p_value, test = _permutation(gains, observed, rng), "paired permutation"
    else:
        observed = difference(everything, None)
        resamples = RESAMPLES // 5  # each takes a pass over the examples in Python
        draws = np.array([difference(rng.integers(0, count, count), None) for _ in range(resamples)])
        swaps = (difference(everything, rng.random(count) < 0.5) for _ in range(PERMUTATIONS // 5))
        extreme = sum(abs(value) >= abs(observed) - 1e-12 for value in swaps)
        p_value, test = (extreme + 1) / (PERMUTATIONS // 5 + 1), "paired permutation"
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Paired(observed, float(low), float(high), confidence, p_value, test)


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the two-sided p-value of wins and losses if both are equally likely.

    Example:
        >>> mcnemar_exact(8, 0)
        0.0078125
        >>> mcnemar_exact(3, 3)
        1.0
    """
    total, fewer = wins + losses, min(wins, losses)
    ways = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * ways / (1 << total))


def _permutation(gains: NDArray[np.float64], observed: float, rng: np.random.Generator) -> float:
    """Return the share of sign assignments whose mean is at least as far from zero as the observed mean."""
    moved = gains[gains != 0.0]
    if len(moved) == 0:
        return 1.0
    target = abs(moved.sum()) - 1e-9
    if len(moved) <= _EVERY:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        sums = np.abs(np.where(bits == 1, moved, -moved).sum(axis=1))
        extreme = int(np.count_nonzero(sums >= target))
        return extreme / (1 << len(moved))
    signs = rng.integers(0, 2, size=(PERMUTATIONS, len(moved)), dtype=np.int8) * 2 - 1
    extreme = int((np.abs(signs @ moved) >= target).sum())
    return (extreme + 1) / (PERMUTATIONS + 1)
