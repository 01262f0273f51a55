"""The sequential test: its error at any time, its power, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hokusai_evaluate.sequential_test import SequentialTest, end_confidence, look_confidence


def run(gains: NDArray[np.float64], margin: float = 0.0, step: int = 8) -> tuple[int, int, SequentialTest]:
    """Return the side that a test finds, after how many looks at differences, and the test."""
    test = SequentialTest(margin, look_confidence(0.95), len(gains))
    for start in range(0, len(gains), step):
        if test.add(list(gains[start : start + step])):
            return test.side, min(len(gains), start + step), test
    return 0, len(gains), test


def test_the_error_is_split_between_the_looks_and_the_end() -> None:
    assert (1 - look_confidence(0.95)) + (1 - end_confidence(0.95)) == pytest.approx(0.05)


@pytest.mark.parametrize("margin", [0.0, -0.1])
@pytest.mark.parametrize("graded", [False, True])
def test_however_often_it_looks_it_is_seldom_wrong(margin: float, graded: bool) -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(200):
        gains = rng.beta(2, 2, (2, 200)) if graded else (rng.random((2, 200)) < 0.6).astype(float)
        shifted = gains[1] - gains[0]
        if margin:  # truly worse by the margin
            lost = rng.random(200) < -margin / (0.5 if graded else 0.6)
            shifted = np.where(lost, -gains[0], shifted)
        wrong += run(shifted, margin, step=2)[0] != 0
    assert wrong / 200 <= (1 - look_confidence(0.95)) + 0.02


def test_a_large_loss_is_found_early() -> None:
    rng = np.random.default_rng(2)
    stopped = []
    for _ in range(100):
        before, after = rng.random((2, 200)) < [[0.9], [0.7]]
        side, looked, _ = run(after.astype(float) - before)
        stopped.append(looked if side == -1 else 200)
    assert np.mean(stopped) < 0.5 * 200


def test_the_interval_says_the_same_as_the_side() -> None:
    rng = np.random.default_rng(3)
    for margin in (0.0, -0.05, -0.3):
        for shift in (-0.4, -0.1, 0.2):
            gains = np.clip(rng.normal(shift, 0.3, 200), -1, 1)
            side, _, test = run(gains, margin)
            low, high = test.interval()
            assert (low > margin) == (side == 1)
            assert (high < margin) == (side == -1)
            assert -1 <= low <= high <= 1
            if margin == 0 and side:
                assert test.p_value() <= 1 - look_confidence(0.95)


def test_the_interval_covers_the_truth_when_the_test_stops() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        draws = rng.random(200)
        gains = np.where(draws < 0.25, -1.0, np.where(draws < 0.35, 1.0, 0.0))  # truth: -0.15
        low, high = run(gains, step=4)[2].interval()
        covered += low <= -0.15 <= high
    assert covered / 200 >= look_confidence(0.95) - 0.03


def test_ties_show_no_difference_and_no_great_loss() -> None:
    assert run(np.zeros(200))[0] == 0
    side, looked, _ = run(np.zeros(400), margin=-0.1)
    assert (side, looked < 400) == (1, True)
