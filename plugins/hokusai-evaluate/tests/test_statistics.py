from __future__ import annotations

import itertools

import numpy as np
import pytest

from hokusai_evaluate.statistics import compare_paired, mcnemar_exact


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
    assert 0.25 < paired.low < 0.5 < paired.high < 0.75


def test_grades_are_tested_by_every_permutation_where_they_are_few() -> None:
    gains = [0.3, 0.1, 0.4, -0.2, 0.5, 0.25]
    paired = compare_paired([0.0] * 6, gains, confidence=0.95, seed=0)
    target = abs(sum(gains)) - 1e-9
    signs = list(itertools.product((1, -1), repeat=6))
    extreme = sum(abs(sum(s * g for s, g in zip(row, gains, strict=True))) >= target for row in signs)
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


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        before = (rng.random(60) < 0.5).astype(float)
        after = np.where(rng.random(60) < 0.3, 1.0, before)  # truth: +0.15
        paired = compare_paired(before, after, confidence=0.9, seed=seed)
        covered += paired.low <= 0.15 <= paired.high
    assert 0.8 <= covered / 200 <= 0.98


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.random(40), rng.random(40)
    assert compare_paired(before, after, confidence=0.95, seed=3) == compare_paired(
        before, after, confidence=0.95, seed=3
    )
