"""Statistics of scores: how sure a score is, and whether one system is better than another on the same examples.

- interval of one score: Wilson's for right and wrong (Wilson, 1927), which is honest where all is right; for graded
  scores a percentile bootstrap, and with many examples the normal one, which is then the same;
- difference in right and wrong: McNemar's exact test (McNemar, 1947; Dietterich, 1998), a binomial test on the
  examples that only one of the two gets right, with the interval of Fay and Lumbard (2021);
- difference in graded scores: paired permutation test, also called approximate randomization (Noreen, 1989; Dror et
  al., 2018), with the interval that belongs to it (Hartigan, 1969);
- difference in a score of a whole set, such as macro F1: the same test, with a percentile bootstrap over the examples
  (Efron and Tibshirani, 1993; Koehn, 2004), which is widened to zero where the test does not reject.

All tests are two-sided and depend only on the scores and the seed. Interval and test always say the same: zero lies
outside of the interval if, and only if, the p-value is at most one minus its confidence. So one criterion decides:
where the interval lies.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hokusai_evaluate.paired_intervals import mcnemar_exact, melded_interval, sign_flip_interval

__all__ = ["POWER", "Paired", "compare_paired", "examples_needed", "resampled_interval", "score_interval", "verdict_of"]

RESAMPLES = 5_000
PERMUTATIONS = 2_000
#: How often a difference is to be found, where the number of examples that it takes is given.
POWER: Final = 0.8

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
        examples: how many there are.
        deviation: standard deviation of the difference of one example.
        detectable: the true difference that so many examples show in 4 of 5 cases; None where that is not known.
    """

    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    test: str
    examples: int
    deviation: float
    detectable: float | None


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
    if difference is not None:
        return _compare_sets(difference, count, confidence, seed)
    gains = np.round(second - first, 12)  # so that 0.1 + 0.2 and 0.3 are a tie
    observed, deviation = float(gains.mean()), float(gains.std())
    if bool(np.isin(np.concatenate([first, second]), (0.0, 1.0)).all()):
        wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
        low, high = melded_interval(wins, losses, count, confidence=confidence)
        p_value, test, least = mcnemar_exact(wins, losses), "McNemar, exact", _factor(confidence) ** 2 / count
    else:
        low, high, p_value = sign_flip_interval(gains, confidence=confidence, seed=seed)
        test, least = "paired permutation", 0.0
    moved = math.sqrt(float((gains**2).mean()))
    detectable = max(_factor(confidence) * moved / math.sqrt(count), least) or None
    return Paired(observed, low, high, confidence, p_value, test, count, deviation, detectable)


def _compare_sets(difference: Difference, count: int, confidence: float, seed: int) -> Paired:
    """Compare two systems by a score of the whole set."""
    rng = np.random.default_rng(seed)
    everything = np.arange(count, dtype=np.int64)
    observed = difference(everything, None)
    # Each takes a pass over the examples in Python.
    draws = np.array([difference(rng.integers(0, count, count), None) for _ in range(RESAMPLES // 5)])
    swaps = (difference(everything, rng.random(count) < 0.5) for _ in range(PERMUTATIONS))
    extreme = sum(abs(value) >= abs(observed) - 1e-12 for value in swaps)
    p_value, test = (extreme + 1) / (PERMUTATIONS + 1), "paired permutation"
    beside_zero = min(int((draws <= 0.0).sum()), int((draws >= 0.0).sum()))
    p_value = max(p_value, min(1.0, 2 * (beside_zero + 1) / (len(draws) + 1)))
    tail = (1.0 - confidence) / 2
    low = float(np.quantile(draws, tail, method="lower"))
    high = float(np.quantile(draws, 1.0 - tail, method="higher"))
    if p_value > 1.0 - confidence:
        low, high = min(low, 0.0), max(high, 0.0)
    error = float(draws.std())
    detectable = _factor(confidence) * error or None
    return Paired(observed, low, high, confidence, p_value, test, count, error * math.sqrt(count), detectable)


def verdict_of(low: float, high: float) -> str:
    """Return what an interval of a difference shows: ``better``, ``worse`` or ``not shown``.

    Example:
        >>> verdict_of(0.1, 0.3), verdict_of(-0.1, 0.3), verdict_of(-0.3, -0.1)
        ('better', 'not shown', 'worse')
    """
    return "better" if low > 0 else "worse" if high < 0 else "not shown"  # so that NaN shows nothing


def examples_needed(paired: Paired, margin: float = 0.0) -> int | None:
    """Return how many examples would show the observed difference in 4 of 5 cases, to two digits (Connor, 1987).

    The observed difference is itself uncertain, so the number is a rough guide.

    Args:
        paired: the comparison.
        margin: what the difference is compared with, in the units of ``paired``.

    Returns:
        The number, None where the observed difference is the margin itself.

    Example:
        >>> examples_needed(compare_paired([0.0] * 40, [1.0] * 4 + [0.0] * 36, confidence=0.95, seed=0))
        77
    """
    distance = abs(paired.difference - margin)
    if not distance > 1e-9:
        return None
    normal = statistics.NormalDist()
    confident, powerful = normal.inv_cdf((1.0 + paired.confidence) / 2), normal.inv_cdf(POWER)
    spread = confident * math.hypot(paired.deviation, distance) + powerful * paired.deviation
    count = max((spread / distance) ** 2, 6.0)
    if not math.isfinite(count):
        return None
    unit = int(10 ** max(0, int(math.log10(count)) - 1))
    return math.ceil(count / unit) * unit


def _factor(confidence: float) -> float:
    """Return by how many standard errors a true difference has to exceed zero to be shown in 4 of 5 cases."""
    normal = statistics.NormalDist()
    return normal.inv_cdf((1.0 + confidence) / 2) + normal.inv_cdf(POWER)
