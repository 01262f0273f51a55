"""Corrections are no sample of what a signature is asked: what is compared, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner

PLUGINS = ["teleprompt"]


class Note(BaseSignature):
    """Write a note."""

    text: str = InputField()
    note: str = OutputField()


def number_of(user: str) -> int:
    return int(user.rsplit("number", 1)[1].split()[0])


def right(number: int) -> str:
    return "food" if number % 2 else "sport"


def wrong(number: int) -> str:
    return "sport" if number % 2 else "food"


def model(thinking: Callable[..., Any], plain: Callable[[int], bool], shown: Callable[[int], bool]) -> Any:
    """Return a language model that is right as ``plain`` says, and as ``shown`` says once there are demos."""

    def topic(system: str, before: str, user: str) -> str:
        number = number_of(user)
        is_right = (shown if "number" in before else plain)(number)
        return right(number) if is_right else wrong(number)

    return thinking(topic=topic)


def note(system: str, before: str, user: str) -> str:
    return f"{'signed' if 'signed' in before else 'hello'}{number_of(user)}"


def run(executor: Executor, signature: Any, count: int) -> list[Any]:
    executor.register_signature("Topic", signature)
    return [
        executor.execute_signature("Topic", {"text": f"we go number {number}"}, collect_feedback=True)
        for number in range(count)
    ]


def correct_what_is_wrong(collector: FeedbackCollector, results: list[Any], *, first: int = 0) -> int:
    count = 0
    for number, result in enumerate(results):
        if number >= first and result["topic"] != right(number):
            collector.add_feedback(result.execution_id, 1, {"topic": right(number)}, source=f"person {number % 3}")
            count += 1
    return count


def optimize(executor: Executor, feedback: Any, **options: Any) -> Any:
    with TelepromptFineTuner("labeled_fewshot", seed=0, executor=executor, workdir=False) as tuner:
        return tuner.compile_from_feedback("Topic", feedback, **options)


def test_what_is_better_on_corrections_and_worse_on_the_rest_is_not_promoted(
    thinking: Any, topic_signature: Any
) -> None:
    lm = model(thinking, lambda n: n % 4 != 0, lambda n: n % 4 < 2)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        assert correct_what_is_wrong(collector, run(executor, topic_signature, 240)) == 60
        for feedback in (collector.get_feedback(), collector, None):
            report = optimize(executor, feedback).report
            assert not report.promoted
            assert report.baseline_score == pytest.approx(0.75, abs=0.02)
            assert report.candidate_score == pytest.approx(0.5, abs=0.1)
            assert "60 of 240 inputs have feedback" in report.table()


def test_what_is_better_on_all_is_promoted_and_learns_from_reviewed_answers_only(
    thinking: Any, topic_signature: Any
) -> None:
    lm = model(thinking, lambda n: n % 3 != 0, lambda n: True)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        correct_what_is_wrong(collector, run(executor, topic_signature, 240))
        optimized = optimize(executor, collector.get_feedback())
    assert optimized.promoted, optimized.report
    assert optimized.report.baseline_score == pytest.approx(2 / 3, abs=0.02)
    assert optimized.report.candidate_score == 1.0
    assert all(number_of(demo["text"]) % 3 == 0 for demo in optimized.spec.demos)


def test_a_selection_of_the_feedback_is_not_promoted(thinking: Any, topic_signature: Any) -> None:
    lm = model(thinking, lambda n: n % 2 == 0, lambda n: True)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        for number, result in enumerate(run(executor, topic_signature, 80)):
            if result["topic"] == right(number):
                collector.add_feedback(result.execution_id, 5)
            else:
                collector.add_feedback(result.execution_id, 1, {"topic": right(number)}, source="bob")
        assert optimize(executor, None).promoted
        report = optimize(executor, [item for item in collector.get_feedback() if item.rating == 1]).report
        assert not report.promoted
        assert "the feedback is a selection: 40 more executions have feedback" in report.verdict


def test_feedback_from_elsewhere_is_not_promoted(thinking: Any, topic_signature: Any, tmp_path: Path) -> None:
    lm = model(thinking, lambda n: n % 2 == 0, lambda n: True)
    with (
        Executor(lm=lm, plugins=PLUGINS) as executor,
        FeedbackCollector() as collector,
        FeedbackCollector(tmp_path / "other") as other,
    ):
        correct_what_is_wrong(collector, run(executor, topic_signature, 80))
        feedback = collector.get_feedback()
        rows = [item.to_dict() for item in feedback]
        assert optimize(executor, rows).report.promoted  # its executions are in the store of the executor
        for row in rows:
            row["execution_id"] += "x"
        report = optimize(executor, rows).report
        assert not report.promoted
        assert "are not in the feedback store" in report.verdict
        with pytest.raises(ConfigurationError, match="since"):
            optimize(executor, feedback, since="2026-01-01")
        assert other.feedback_count() == 0


def test_the_store_that_feedback_was_read_from_is_found(
    thinking: Any, topic_signature: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model(thinking, lambda n: n % 4 != 0, lambda n: n % 4 < 2)
    monkeypatch.setenv("HOKUSAI_FEEDBACK_DIR", str(tmp_path / "mine"))
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        results = run(executor, topic_signature, 120)
    monkeypatch.delenv("HOKUSAI_FEEDBACK_DIR")
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector(tmp_path / "mine") as collector:
        executor.register_signature("Topic", topic_signature)
        correct_what_is_wrong(collector, results)
        report = optimize(executor, collector.get_feedback()).report
        assert report.baseline_score == pytest.approx(0.75, abs=0.03)


def test_a_random_review_stands_for_executions_without_feedback(thinking: Any, topic_signature: Any) -> None:
    """Without the review, answers without feedback count as right, and hide that the candidate is better."""
    lm = model(thinking, lambda n: n % 2 == 0, lambda n: True)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        results = run(executor, topic_signature, 400)
        correct_what_is_wrong(collector, results[:40])
        assert not optimize(executor, None).promoted
        for number in range(40, 160):
            topic = right(number)
            fix = {} if results[number]["topic"] == topic else {"topic": topic}
            collector.add_feedback(
                results[number].execution_id, 1 if fix else 5, fix, drawn=True, source=f"p{number % 3}"
            )
        report = optimize(executor, None).report
    assert report.promoted, report
    assert report.baseline_score == pytest.approx(0.5, abs=0.1)
    assert "120 of 400 inputs were drawn at random for a review" in report.table()


def test_free_texts_that_were_right_are_demos_and_no_gold(thinking: Any) -> None:
    lm = thinking(note=note)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        executor.register_signature("Note", Note)
        for number in range(60):
            result = executor.execute_signature("Note", {"text": f"number {number}"}, collect_feedback=True)
            fix = {"note": f"signed{number}"} if number % 2 else {}
            collector.add_feedback(result.execution_id, 1 if fix else 5, fix, source=f"p{number % 4}")
        with TelepromptFineTuner("labeled_fewshot", executor=executor, workdir=False) as tuner:
            optimized = tuner.compile_from_feedback("Note", collector.get_feedback(), metric="f1")
            report = optimized.report
            assert (report.baseline_score, report.candidate_score, report.promoted) == (0.0, 1.0, False)
            assert "only the 30 corrected texts have something to compare with" in report.verdict
            assert report.sizes["dev"] + report.sizes["test"] <= 30
            notes = {demo["note"].strip("0123456789") for demo in (optimized.candidate or optimized).spec.demos}
            assert notes == {"signed", "hello"}
            own = [{"text": f"own number {number}", "note": f"signed{number}"} for number in range(200, 220)]
            assert tuner.compile_from_feedback("Note", collector, metric="f1", testset=own).promoted


def test_labels_that_are_sensitive_are_not_compared_on() -> None:
    class Both(BaseSignature):
        """Write a note."""

        text: str = InputField()
        label: Literal["a", "b"] = OutputField(sensitive=True)
        note: str = OutputField()

    lm = null_lm(answers={"label": "a", "note": lambda user: f"hello{number_of(user)}"})
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        executor.register_signature("Both", Both)
        for number in range(40):
            result = executor.execute_signature("Both", {"text": f"number {number}"}, collect_feedback=True)
            if number % 2:
                fix = {"label": "b", "note": f"signed{number}"}
                collector.add_feedback(result.execution_id, 1, fix, source=f"p{number % 6}")
        with TelepromptFineTuner("labeled_fewshot", executor=executor, workdir=False) as tuner:
            report = tuner.compile_from_feedback("Both").report
    assert report.sizes["test"] == 8
    assert report.labels == ()
    assert any("only the 20 corrected texts" in text for text in (report.verdict, *report.notes))


def test_a_judge_needs_no_expected_answer(thinking: Any) -> None:
    def grade(system: str, before: str, user: str) -> str:
        return "5" if "signed" in user.partition("[[ ## answer ## ]]")[2] else "2"

    lm = thinking(note=note, grade=grade)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        executor.register_signature("Note", Note)
        for number in range(60):
            result = executor.execute_signature("Note", {"text": f"number {number}"}, collect_feedback=True)
            if number % 3 == 0:
                collector.add_feedback(result.execution_id, 1, {"note": f"signed{number}"}, source=f"p{number % 4}")
        with TelepromptFineTuner("labeled_fewshot", executor=executor, workdir=False) as tuner:
            optimized = tuner.compile_from_feedback("Note", None, metric="quality_score")
    assert optimized.promoted, optimized.report
    assert optimized.report.sizes["test"] == 24


def test_the_report_has_counts_and_weights_of_sources(thinking: Any, topic_signature: Any) -> None:
    lm = model(thinking, lambda n: n % 2 == 0, lambda n: True)
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        for number, result in enumerate(run(executor, topic_signature, 40)):
            fix = {} if result["topic"] == right(number) else {"topic": right(number)}
            collector.add_feedback(result.execution_id, 1 if fix else 5, fix, source="ann" if number < 30 else "bob")
        report = optimize(executor, None).report
    ann, bob = report.sources
    assert (ann.source, ann.feedbacks, ann.corrections, ann.examples) == ("ann", 30, 15, 20)
    assert (bob.source, bob.feedbacks, bob.corrections, bob.examples) == ("bob", 10, 5, 10)
    assert (ann.weight, bob.weight) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert "ann: 30 feedbacks, 15 with corrections, 20 examples (weight 67%)" in report.table()
    assert type(report).from_dict(report.to_dict()).sources == report.sources


def test_a_study_of_little_feedback_says_what_is_missing(topic_signature: Any) -> None:
    with Executor(lm=null_lm(answers={"topic": "food"}), plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        results = run(executor, topic_signature, 20)
        for result in results[:3]:
            collector.add_feedback(result.execution_id, 1, {"topic": "sport"})
        report = optimize(executor, None).report
        assert not report.promoted
        assert "not enough yet: 3 reviewed inputs can be compared on, 8 are needed" in report.table()
        with pytest.raises(
            ValueError, match=r"not enough yet: Topic has 3 feedbacks, 100 are needed\. Collect 97 more"
        ):
            optimize(executor, None, min_count=100)
