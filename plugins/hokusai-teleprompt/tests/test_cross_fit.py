"""The cross-fitted figure of optimizations on few examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Budget
from hokusai_teleprompt import TelepromptFineTuner, load_optimized


def compile_(lm: Any, signature: Any, examples: Any, **options: Any) -> Any:
    given = {"optimizer": "labeled_fewshot", "workdir": False, "workers": 2, **options}
    metric, testset = given.pop("metric", "accuracy"), given.pop("testset", None)
    with TelepromptFineTuner(lm=lm, **given) as finetuner:
        return finetuner.compile(signature, examples, metric, testset=testset)


def test_few_examples_have_a_figure_of_the_procedure(
    by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    optimized = compile_(by_demos, topic_signature, topics[:40])
    report, found = optimized.report, optimized.report.cross_fitted
    assert found is not None
    assert (found.folds, found.examples, found.baseline_score, found.candidate_score) == (3, 40, 0.5, 1.0)
    assert found.improvement == 0.5
    assert 0.2 < found.interval[0] < 0.5 < found.interval[1] < 0.8
    assert report.interval is not None
    assert found.interval[1] - found.interval[0] < report.interval[1] - report.interval[0]  # all examples, not 16
    assert report.calls == by_demos.engine.calls
    assert 0 < found.calls < report.calls
    assert "cross-fitted" in report.table()
    assert "it promotes nothing" in report.table()
    optimized.save(tmp_path / "better.json")
    assert load_optimized(tmp_path / "better.json").report.cross_fitted == found


def test_it_never_promotes(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    optimized = compile_(by_demos, topic_signature, topics[:12])  # five held out: two or three wins show nothing
    assert not optimized.promoted
    assert optimized.report.finding == "not shown"
    assert optimized.report.cross_fitted is not None
    assert optimized.report.cross_fitted.interval[0] > 0
    assert optimized.candidate is not None
    assert optimized.candidate.report.cross_fitted == optimized.report.cross_fitted


def test_what_is_not_better_has_a_figure_around_zero(stubborn: Any, topics: Any, topic_signature: Any) -> None:
    found = compile_(stubborn, topic_signature, topics[:30]).report.cross_fitted
    assert found is not None
    assert found.improvement == 0
    assert found.interval[0] < 0 < found.interval[1]


def test_enough_examples_and_examples_of_the_caller_have_none(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    assert compile_(by_demos, topic_signature, topics[:60]).report.cross_fitted is None
    assert compile_(by_demos, topic_signature, topics[:30], testset=topics[30:]).report.cross_fitted is None
    assert compile_(by_demos, topic_signature, topics[:40], metric="macro_f1").report.cross_fitted is None


def test_a_budget_holds(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    report = compile_(by_demos, topic_signature, topics[:40], budget=Budget(calls=80)).report
    assert report.cross_fitted is None
    assert any("not cross-fitted: that takes about" in note for note in report.notes)
    assert by_demos.engine.calls <= 80
    by_demos.engine.calls = 0
    budget = Budget(calls=600)
    report = compile_(by_demos, topic_signature, topics[:40], budget=budget).report
    assert report.cross_fitted is not None
    assert by_demos.engine.calls == report.calls == budget.spent.calls <= 600


def test_a_fold_that_is_interrupted_leaves_the_result(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    whole = compile_(by_demos, topic_signature, topics[:40])
    before = whole.report.calls - whole.report.cross_fitted.calls
    by_demos.engine.calls = 0
    by_demos.engine.fail = lambda number: KeyboardInterrupt() if number == before + 5 else None
    report = compile_(by_demos, topic_signature, topics[:40]).report
    assert report.cross_fitted is None
    assert report.promoted == whole.promoted
    assert any("fold 1 of 3 was stopped: interrupted" in note for note in report.notes)


@pytest.mark.parametrize("optimizer", ["bootstrap_fewshot", "auto"])
def test_a_finished_optimization_leaves_no_checkpoint(
    optimizer: str, by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    report = compile_(by_demos, topic_signature, topics[:24], optimizer=optimizer, workdir=tmp_path).report
    assert report.cross_fitted is not None
    assert list(tmp_path.glob("*.jsonl")) == []
