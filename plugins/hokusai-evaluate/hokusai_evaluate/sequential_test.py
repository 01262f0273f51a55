"""A sequential test: compares two systems while their answers come, and may stop as soon as the difference is shown.

It is a test by betting (Waudby-Smith and Ramdas, 2024; Shafer, 2021). A gambler who believes that the mean difference
lies above a margin bets on each difference a share of what he has. If the belief is wrong, his capital is not expected
to grow, so it exceeds 1 / error at any time with the probability ``error`` at most (Ville, 1939). That holds however
often he looks and whenever he stops. The share is not known, so the capital is spread over several: a mixture, as in
Robbins (1970). For right or wrong and a margin of zero this is the mixture of sequential probability ratio tests on the
examples that only one of the two gets right.

Two thirds of the error are spent on the looks. The last third is left for the usual test at the end, so that little is
lost where the difference is too small to be seen early. Shares and stakes were chosen by simulation, see
`benchmarks/power.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SequentialTest", "end_confidence", "look_confidence"]

_LOOKS: Final = 2 / 3
#: The smallest stake at 200 examples and the largest one; each is so many times the one before, and has so much less of
#: the capital. With more examples smaller differences can be seen, for which smaller stakes are better.
_SMALLEST, _LARGEST, _RATIO, _SHARE = 0.35, 0.9, 1.6, 0.6
_HALVINGS: Final = 40


def look_confidence(confidence: float) -> float:
    """Return the confidence of the interval that holds at every look.

    Example:
        >>> round(look_confidence(0.95), 3)
        0.967
    """
    return 1.0 - _LOOKS * (1.0 - confidence)


def end_confidence(confidence: float) -> float:
    """Return the confidence of the interval at the end, where no look has stopped the test.

    Example:
        >>> round(end_confidence(0.95), 3)
        0.983
    """
    return 1.0 - (1.0 - _LOOKS) * (1.0 - confidence)


class SequentialTest:
    """Tests by betting whether the mean of differences lies above or below a margin.

    Args:
        margin: what the mean is compared with, above -1 and below 1.
        confidence: of the interval, see ``look_confidence``. It holds at every look.
        most: how many differences there are at the end.

    Example:
        >>> test = SequentialTest(0.0, look_confidence(0.95), 200)
        >>> for number in range(1, 200):
        ...     if test.add([-1.0, 0.0]):
        ...         break
        >>> number, test.side
        (9, -1)
    """

    def __init__(self, margin: float, confidence: float, most: int) -> None:
        self._margin = margin
        self._wanted = math.log(2 / (1.0 - confidence))
        self._stakes = _stakes(most)
        self._gains: list[float] = []
        self._above = self._below = np.zeros(len(self._stakes))
        #: 1 if the mean was shown to lie above the margin, -1 for below it, 0 while neither is shown.
        self.side = 0

    def add(self, gains: Sequence[float]) -> int:
        """Look at further differences, each from -1 to 1, and return ``side``."""
        self._gains += gains
        self._above = self._above + self._growth(gains, self._margin, 1)
        self._below = self._below + self._growth(gains, self._margin, -1)
        if not self.side:
            self.side = (_mixed(self._above) >= self._wanted) - (_mixed(self._below) >= self._wanted)
        return self.side

    def interval(self) -> tuple[float, float]:
        """Return the interval of the mean: the margins that are not ruled out by now."""
        return -self._limit(-1), self._limit(1)

    def p_value(self) -> float:
        """Return the two-sided p-value of a mean of zero, which holds at every look."""
        best = max(_mixed(self._growth(self._gains, 0.0, side)) for side in (1, -1))
        return min(1.0, 2 * math.exp(-best))

    def _limit(self, side: int) -> float:
        """Return the upper limit of the mean for 1, and minus the lower one for -1."""
        low, high = -1.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            ruled_out = _mixed(self._growth(self._gains, side * middle, -side)) >= self._wanted
            low, high = (low, middle) if ruled_out else (middle, high)
        return high

    def _growth(self, gains: Sequence[float], margin: float, side: int) -> NDArray[np.float64]:
        """Return by how much the logarithm of each capital grows by bets on one side of a margin."""
        surplus = side * (np.asarray(gains, dtype=np.float64) - margin)
        least = 1.0 + side * margin  # the most that one difference can lose
        values, counts = np.unique(surplus, return_counts=True)
        growth: NDArray[np.float64] = np.log1p(np.outer(self._stakes, values / max(least, 1e-12))) @ counts
        return growth


def _stakes(most: int) -> NDArray[np.float64]:
    """Return the shares of the capital that are bet, the smallest one first."""
    smallest = _SMALLEST * min(1.0, math.sqrt(200 / most))
    count = 1 + math.ceil(math.log(_LARGEST / smallest) / math.log(_RATIO) - 0.05)
    stakes: NDArray[np.float64] = np.geomspace(smallest, _LARGEST, count)
    return stakes


def _mixed(logs: NDArray[np.float64]) -> float:
    """Return the logarithm of all capital together."""
    shares = _SHARE ** np.arange(len(logs))
    most = float(logs.max())
    return most + math.log(float(np.exp(logs - most) @ (shares / shares.sum())))
