"""Intervals of the difference of two systems that say the same as the tests: zero is outside where the test rejects.

- right or wrong: the interval of Fay and Lumbard (2021), which melds the exact interval of the share of wins among the
  examples that only one system gets right with that of the share of such examples. It agrees with McNemar's exact test;
- scores: the interval of the sign-flip permutation test, from the means of random subsets of the differences
  (Hartigan, 1969). It is exact where the differences are spread evenly around their mean, and close to that with many
  examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["mcnemar_exact", "melded_interval", "sign_flip_interval"]

#: Random subsets; more than this many numbers are never drawn.
_SUBSETS, _LEAST_SUBSETS, _MOST_NUMBERS = 10_000, 2_000, 40_000_000
#: Up to this number of differences that are not zero, all 2 ** number subsets are taken.
_EVERY = 13
#: Numbers that are drawn at once.
_CHUNK = 2_000_000
#: Points of a tabulated distribution, and its quantiles that are used.
_POINTS, _QUANTILES = 4_001, 2_000
#: Halvings of an interval in which a limit is searched.
_HALVINGS = 40

_Floats: TypeAlias = NDArray[np.float64]


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the two-sided p-value of wins and losses if both are equally likely.

    Example:
        >>> mcnemar_exact(8, 0)
        0.0078125
        >>> mcnemar_exact(3, 3)
        1.0
    """
    return min(1.0, 2 * _tail(min(wins, losses), wins + losses))


def melded_interval(wins: int, losses: int, count: int, *, confidence: float) -> tuple[float, float]:
    """Return the interval of the difference of two shares of right answers on the same examples.

    Args:
        wins: examples that only the second system gets right.
        losses: examples that only the first system gets right.
        count: examples.
        confidence: of the interval, such as 0.95.

    Example:
        >>> low, high = melded_interval(12, 2, 40, confidence=0.95)
        >>> round(low, 2), round(high, 2)
        (0.05, 0.43)
    """
    tail = (1.0 - confidence) / 2
    return _lower_limit(wins, losses, count, tail), -_lower_limit(losses, wins, count, tail)


def sign_flip_interval(gains: _Floats, *, confidence: float, seed: int) -> tuple[float, float, float]:
    """Return the interval of the mean of differences, and the two-sided p-value of a mean of zero.

    Args:
        gains: the difference of each example, at least one.
        confidence: of the interval, such as 0.95.
        seed: of the subsets.
    """
    rng = np.random.default_rng(seed)
    moved = gains[gains != 0.0]
    if len(moved) == 0:
        return 0.0, 0.0, 1.0
    sums, sizes = _subsets(moved, len(gains), rng)
    unmoved = rng.binomial(len(gains) - len(moved), 0.5, len(sums))
    with np.errstate(invalid="ignore"):
        # Flipping no sign leaves the mean as it is. That subset stands for the data themselves and is not among these.
        means = np.sort(np.nan_to_num(sums / (sizes + unmoved)))
    total = len(means) + 1
    below, above = int(np.count_nonzero(means <= 0.0)), int(np.count_nonzero(means >= 0.0))
    p_value = min(1.0, 2 * (min(below, above) + 1) / total)
    place = math.floor((1.0 - confidence) / 2 * total + 1e-9)
    if place < 1:  # there are too few examples for any conclusion
        furthest = float(np.abs(gains).max())
        return -furthest, furthest, p_value
    return float(means[place - 1]), float(means[-place]), p_value


def _subsets(moved: _Floats, count: int, rng: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Return the sums and sizes of the subsets of differences, all of them or random ones."""
    if len(moved) <= _EVERY:
        chosen = ((np.arange(1, 2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1).astype(np.float64)
        return chosen @ moved, chosen.sum(axis=1)
    left = max(_LEAST_SUBSETS, min(_SUBSETS, _MOST_NUMBERS // count))
    parts: list[tuple[_Floats, _Floats]] = []
    while left > 0:
        rows = min(left, max(1, _CHUNK // len(moved)))
        bits = np.frombuffer(rng.bytes(rows * (len(moved) // 8 + 1)), dtype=np.uint8).reshape(rows, -1)
        chosen = np.unpackbits(bits, axis=1, count=len(moved)).astype(np.float64)
        parts.append((chosen @ moved, chosen.sum(axis=1)))
        left -= rows
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _tail(least: int, total: int) -> float:
    """Return the probability of at most ``least`` heads in ``total`` throws of a coin."""
    if total <= 1_000:
        return sum(math.comb(total, count) for count in range(least + 1)) / (1 << total)
    counts = np.arange(least + 1)
    logs = math.lgamma(total + 1) - _log_factorials(total)[counts] - _log_factorials(total)[total - counts]
    return float(np.exp(logs - total * math.log(2)).sum())


def _log_factorials(most: int) -> _Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


def _lower_limit(wins: int, losses: int, count: int, tail: float) -> float:
    """Return the difference below which the truth lies with the probability ``tail`` at most."""
    differing = wins + losses
    # Where more than `tail` of the coins would give as many wins, zero is not below the limit.
    positive = differing > 0 and _tail(losses, differing) <= tail
    shares = _beta_quantiles(wins, losses + 1)
    slopes = 2 * shares - 1
    spread = _beta(differing, count - differing + 1) if positive else _beta(differing + 1, count - differing)

    def probability(limit: float) -> float:
        if positive:
            steep = slopes > 0
            return float((np.count_nonzero(~steep) + spread(limit / slopes[steep]).sum()) / len(slopes))
        steep = slopes < 0
        return float((1.0 - spread(limit / slopes[steep])).sum() / len(slopes))

    low, high = (0.0, 1.0) if positive else (-1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if probability(middle) > tail else (middle, high)
    return max(low, 1e-9) if positive else low


def _beta(first: int, second: int) -> Callable[[_Floats], _Floats]:
    """Return the distribution function of a beta distribution with whole parameters; at most one of them is zero."""
    if first == 0 or second == 0:
        at = 1.0 if second == 0 else 0.0
        return lambda values: (values >= at).astype(np.float64)
    points, shares = _beta_table(first, second)
    return lambda values: np.interp(values, points, shares, left=0.0, right=1.0)


def _beta_quantiles(first: int, second: int) -> _Floats:
    if first == 0:
        return np.zeros(1)
    points, shares = _beta_table(first, second)
    quantiles: _Floats = np.interp((np.arange(_QUANTILES) + 0.5) / _QUANTILES, shares, points)
    return quantiles


def _beta_table(first: int, second: int) -> tuple[_Floats, _Floats]:
    """Return points and the shares of a beta distribution below them."""
    total = first + second
    mean = first / total
    deviation = math.sqrt(first * second / (total + 1)) / total
    points = np.linspace(max(0.0, mean - 12 * deviation), min(1.0, mean + 12 * deviation), _POINTS)
    inner = np.clip(points, 1e-300, 1.0 - 1e-16)
    logs = (first - 1) * np.log(inner) + (second - 1) * np.log1p(-inner)
    heights = np.exp(logs - logs.max())
    shares = np.concatenate([[0.0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    return points, shares / shares[-1]
