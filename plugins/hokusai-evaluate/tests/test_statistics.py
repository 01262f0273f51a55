from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from hokusai_evaluate.paired_intervals import mcnemar_exact, melded_interval
from hokusai_evaluate.statistics import compare_paired, examples_needed, verdict_of


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (8, 0, 0.0078125),
        (10, 2, 0.03857421875),  # 2 * (1 + 12 + 66) / 4096
        (38, 11, 0.000141971),
        (300, 0, 0.0),
    ],
)
def test_mcnemar_is_the_two_sided_binomial_test(wins: int, losses: int, p: float) -> None:
    assert mcnemar_exact(wins, losses) == pytest.approx(p, abs=1e-7)
    assert mcnemar_exact(losses, wins) == mcnemar_exact(wins, losses)


def test_right_and_wrong_is_tested_by_mcnemar() -> None:
    before, after = [0.0] * 12 + [1.0] * 12, [1.0] * 24
    paired = compare_paired(before, after, confidence=0.95, seed=0)
    assert (paired.difference, paired.test) == (0.5, "McNemar, exact")
    assert paired.p_value == mcnemar_exact(12, 0)
    assert 0.15 < paired.low < 0.5 < paired.high < 0.75


def test_grades_are_tested_by_every_permutation_where_they_are_few() -> None:
    gains = [0.3, 0.1, 0.4, -0.2, 0.5, 0.25]
    paired = compare_paired([0.0] * 6, gains, confidence=0.95, seed=0)
    target = abs(sum(gains)) - 1e-9
    signs = list(itertools.product((1, -1), repeat=6))
    extreme = sum(abs(sum(s * g for s, g in zip(row, gains, strict=True))) >= target for row in signs)
    padded = compare_paired([0.0] * 9, [*gains, 0.0, 0.0, 0.0], confidence=0.95, seed=0)
    assert padded.p_value == paired.p_value  # a tie says nothing
    assert paired.test == "paired permutation"
    assert paired.p_value == extreme / len(signs)


def test_many_grades_are_tested_by_random_permutations() -> None:
    rng = np.random.default_rng(5)
    before = rng.random(80)
    better = compare_paired(before, before + 0.2 * rng.random(80), confidence=0.95, seed=0)
    same = compare_paired(before, before + 0.2 * (rng.random(80) - 0.5), confidence=0.95, seed=0)
    assert better.p_value < 0.001
    assert same.p_value > 0.01
    assert better.low > 0 > same.low


@pytest.mark.parametrize("graded", [False, True])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(graded: bool) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        before = (rng.random(60) < 0.5).astype(float)
        after = np.where(rng.random(60) < 0.3, 1.0, before)  # truth: +0.15
        if graded:
            before, after = before * 0.5 + 0.1, after * 0.5 + 0.1  # truth: +0.075
        paired = compare_paired(before, after, confidence=0.9, seed=seed)
        assert paired.test == ("paired permutation" if graded else "McNemar, exact")
        covered += paired.low <= (0.075 if graded else 0.15) <= paired.high
    assert covered / 200 >= 0.86


@pytest.mark.parametrize(
    ("wins", "losses", "count"),
    [(12, 2, 40), (5, 0, 40), (0, 0, 30), (0, 9, 20), (20, 20, 40), (54, 18, 120), (7, 0, 7)],
)
def test_the_melded_interval_is_that_of_its_definition(wins: int, losses: int, count: int) -> None:
    """Against draws from the confidence distributions of both shares, as in Fay and Lumbard (2021)."""
    rng, draws, differing = np.random.default_rng(0), 200_000, wins + losses

    def beta(first: int, second: int) -> Any:
        if first == 0 or second == 0:
            return np.full(draws, 0.0 if first == 0 else 1.0)
        return rng.beta(first, second, draws)

    spreads = beta(differing, count - differing + 1), beta(differing + 1, count - differing)
    low = min(np.quantile(spread * (2 * beta(wins, losses + 1) - 1), 0.025) for spread in spreads)
    high = max(np.quantile(spread * (2 * beta(wins + 1, losses) - 1), 0.975) for spread in spreads)
    assert melded_interval(wins, losses, count, confidence=0.95) == pytest.approx((low, high), abs=0.006)


def test_zero_is_outside_where_the_test_rejects() -> None:
    for wins, losses in itertools.product(range(20), range(20)):
        before, after = [0.0] * wins + [1.0] * losses + [1.0] * 5, [1.0] * wins + [0.0] * losses + [1.0] * 5
        paired = compare_paired(before, after, confidence=0.95, seed=0)
        assert (paired.low > 0 or paired.high < 0) == (paired.p_value <= 0.05)
        assert paired.low <= paired.difference <= paired.high
    rng = np.random.default_rng(3)
    for seed in range(300):
        count = int(rng.integers(2, 40))
        before, after = rng.random((2, count)).round(1)
        after = np.clip(after + rng.choice([0.0, 0.2]), 0, 1)
        paired = compare_paired(before, after, confidence=0.95, seed=seed)
        if paired.test == "paired permutation":
            assert (paired.low > 0 or paired.high < 0) == (paired.p_value <= 0.05)


def test_the_number_of_examples_that_it_takes_is_about_right() -> None:
    rng = np.random.default_rng(4)
    first = compare_paired(
        [0.0] * 12 + [1.0] * 4 + [1.0] * 84, [1.0] * 12 + [0.0] * 4 + [1.0] * 84, confidence=0.95, seed=0
    )
    assert verdict_of(first.low, first.high) == "not shown"
    needed = examples_needed(first)
    assert needed is not None
    shown = 0
    for seed in range(200):
        draws = rng.random(needed)
        before, after = (draws >= 0.12).astype(float), ((draws < 0.12) | (draws >= 0.16)).astype(float)
        shown += compare_paired(before, after, confidence=0.95, seed=seed).low > 0
    assert 0.7 <= shown / 200 <= 0.9
    same = compare_paired([1.0, 0.0], [0.0, 1.0], confidence=0.95, seed=0)
    assert examples_needed(same) is None


def test_what_so_many_examples_can_show_is_about_right() -> None:
    rng = np.random.default_rng(5)
    detectable = compare_paired([1.0] * 100, [1.0] * 100, confidence=0.95, seed=0).detectable
    assert detectable is not None
    shown = 0
    for seed in range(200):
        before = (rng.random(100) >= detectable).astype(float)
        shown += compare_paired(before, [1.0] * 100, confidence=0.95, seed=seed).low > 0
    assert 0.7 <= shown / 200 <= 0.95


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.random(40), rng.random(40)
    assert compare_paired(before, after, confidence=0.95, seed=3) == compare_paired(
        before, after, confidence=0.95, seed=3
    )
