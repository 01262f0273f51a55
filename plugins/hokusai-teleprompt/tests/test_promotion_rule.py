from __future__ import annotations

import numpy as np
import pytest

from hokusai_evaluate.statistics import Paired, compare_paired
from hokusai_teleprompt.comparison import PromotionRule


def paired(wins: int, losses: int, count: int, confidence: float = 0.95) -> Paired:
    """Return the comparison of so many wins and losses."""
    before = [0.0] * wins + [1.0] * losses + [1.0] * (count - wins - losses)
    after = [1.0] * wins + [0.0] * losses + [1.0] * (count - wins - losses)
    return compare_paired(before, after, confidence=confidence, seed=0)


def test_there_are_three_verdicts() -> None:
    rule = PromotionRule()
    better = rule.decide(paired(10, 0, 20))
    assert (better.promoted, better.finding, better.examples_needed) == (True, "better", None)
    assert better.text.startswith("promoted: better, the 95% interval +0.15")
    few = rule.decide(paired(5, 0, 20))
    assert (few.promoted, few.finding) == (False, "not shown")
    assert few.examples_needed is not None
    assert 20 < few.examples_needed < 60
    assert f"about {few.examples_needed} held-out examples would show an improvement of 0.250" in few.text
    worse = rule.decide(paired(0, 10, 20))
    assert (worse.promoted, worse.finding, worse.examples_needed) == (False, "worse", None)
    nothing = rule.decide(None)
    assert (nothing.promoted, nothing.finding) == (False, "")
    assert nothing.text.startswith("not verified")


def test_the_interval_and_the_test_are_one_criterion() -> None:
    for confidence in (0.9, 0.95, 0.99):
        rule = PromotionRule(confidence=confidence)
        for wins in range(15):
            for losses in range(15):
                found = paired(wins, losses, 40, confidence)
                assert rule.decide(found).promoted == (wins > losses and found.p_value <= 1 - confidence)


def test_a_least_improvement_is_asked_for() -> None:
    found = paired(20, 0, 40)
    assert PromotionRule(min_improvement=0.15).decide(found).promoted
    refused = PromotionRule(min_improvement=0.4).decide(found)
    assert (refused.promoted, refused.finding) == (False, "not shown")
    assert "does not lie above the 0.4 asked for" in refused.text


def test_what_is_not_a_number_is_never_promoted() -> None:
    nan = float("nan")
    for low, p_value in ((nan, 0.001), (nan, nan)):
        found = Paired(nan, low, nan, 0.95, p_value, "paired permutation", 10, nan, nan)
        assert not PromotionRule().decide(found).promoted


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("count", [20, 60])
def test_of_candidates_that_are_no_better_few_are_promoted(count: int, graded: bool) -> None:
    rng = np.random.default_rng(count)
    rule, promoted, tries = PromotionRule(), 0, 400
    for seed in range(tries):
        before, after = rng.beta(2, 2, (2, count)) if graded else (rng.random((2, count)) < 0.6).astype(float)
        promoted += rule.decide(compare_paired(before, after, confidence=0.95, seed=seed)).promoted
    assert promoted / tries <= rule.false_promotions + 3 * (0.025 * 0.975 / tries) ** 0.5
