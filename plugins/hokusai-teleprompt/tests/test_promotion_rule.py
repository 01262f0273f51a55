from __future__ import annotations

from hokusai_evaluate.statistics import Paired, compare_paired
from hokusai_teleprompt.comparison import PromotionRule


def test_the_gate_asks_for_both_interval_and_test() -> None:
    gate = PromotionRule()
    clear = compare_paired([0.0] * 20, [1.0] * 10 + [0.0] * 10, confidence=0.95, seed=0)
    assert gate.verdict(clear)[0]
    lucky = compare_paired([0.0] * 6, [1.0] * 6, confidence=0.95, seed=0)  # the interval is a point, the test is not
    passed, words = gate.verdict(lucky)
    assert not passed
    assert "p = 0.031" in words
    worse = compare_paired([1.0] * 20, [0.0] * 20, confidence=0.95, seed=0)
    assert not gate.verdict(worse)[0]
    assert gate.verdict(None)[1].startswith("not verified")


def test_what_is_not_a_number_passes_no_gate() -> None:
    nan = float("nan")
    for low, p_value in ((nan, 0.001), (0.5, nan), (nan, nan)):
        assert not PromotionRule().verdict(Paired(nan, low, nan, 0.95, p_value, "paired permutation"))[0]
