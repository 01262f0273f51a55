"""The table of labels, and the candidates that are refused because they give up a label."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureSpec
from hokusai_core.plugin_api import FieldSpec, OptimizationExample
from hokusai_teleprompt import TelepromptFineTuner
from hokusai_teleprompt.label_comparison import compare_labels, label_refusals
from hokusai_teleprompt.report import Report

SPEC = SignatureSpec(
    "Group", "Tell.", (FieldSpec("text", "input"), FieldSpec("label", "output", Literal["a", "b", "c"]))
)


def compared(*rows: tuple[str, str, str, int]) -> Any:
    """Return the labels of rows of (expected, baseline, candidate, how many)."""
    every = [row[:3] for row in rows for _ in range(row[3])]
    examples = [OptimizationExample({"text": str(n)}, {"label": row[0]}) for n, row in enumerate(every)]
    before, after = ([{"label": row[place]} for row in every] for place in (1, 2))
    return compare_labels(SPEC, examples, before, after)


def test_each_label_has_its_figures() -> None:
    labels = compared(("a", "a", "a", 6), ("a", "b", "a", 4), ("b", "b", "a", 3), ("b", "b", "B ", 1))
    assert [(one.label, one.examples) for one in labels] == [("a", 10), ("b", 4)]
    a, b = labels
    assert (a.baseline.recall, a.candidate.recall, a.candidate.precision) == (0.6, 1.0, 10 / 13)
    assert (b.baseline_given, b.candidate_given, b.wins, b.losses) == (8, 1, 0, 3)


def test_a_label_that_is_given_up_is_refused() -> None:
    refused = label_refusals(compared(("a", "b", "a", 30), ("a", "a", "a", 70), ("b", "b", "a", 20)))
    assert any("it no longer finds 'b' (20 to 0 of 20)" in text for text in refused)
    assert any("macro-F1 falls" in text for text in refused)


def test_chance_and_improvement_are_not_refused() -> None:
    assert (
        label_refusals(compared(("a", "b", "a", 30), ("a", "a", "a", 20), ("b", "b", "a", 2), ("b", "b", "b", 38)))
        == []
    )
    assert (
        label_refusals(compared(("a", "b", "a", 30), ("b", "a", "b", 10), ("c", "c", "a", 1), ("c", "c", "c", 3))) == []
    )
    assert label_refusals(compared(("a", "a", "a", 10))) == []


def test_a_label_that_was_given_to_everything_may_be_found_less_often() -> None:
    rows = [("a", "a", "a", 6), ("a", "a", "b", 6), ("b", "a", "b", 20), ("c", "a", "c", 12)]
    labels = compared(*rows)
    a = next(one for one in labels if one.label == "a")
    assert (a.baseline_right, a.candidate_right, a.candidate.f1 > a.baseline.f1) == (12, 6, True)
    assert label_refusals(labels) == []
    given_up = compared(*rows[1:], ("a", "a", "b", 6))
    assert "no longer finds 'a' (12 to 0 of 12)" in " ".join(label_refusals(given_up))


def test_labels_of_sensitive_outputs_are_not_named() -> None:
    labels = compared(("a", "b", "a", 60), ("b", "b", "a", 10))
    assert "'b'" not in " ".join(label_refusals(labels, hidden={"label"}))


def test_a_candidate_that_answers_the_commonest_label_is_not_promoted(thinking: Any) -> None:
    class Group(BaseSignature):
        """Tell the group."""

        text: str = InputField()
        group: Literal["games", "sound", "email"] = OutputField()

    def gold(number: int) -> str:
        return "games" if number % 10 < 7 else ("sound", "email")[number % 2]

    def answer(system: str, before: str, user: str) -> str:
        number = int(user.rsplit("number", 1)[1].split()[0])
        if "number" in before:
            return "games"
        return gold(number) if number % 7 < 3 else {"games": "sound", "sound": "email", "email": "sound"}[gold(number)]

    rows = [{"text": f"number {number}", "group": gold(number)} for number in range(300)]
    with (
        Executor(lm=thinking(group=answer), plugins=["teleprompt"]) as executor,
        TelepromptFineTuner("labeled_fewshot", executor=executor, workdir=False) as tuner,
    ):
        report = tuner.compile(Group, rows, "accuracy").report
    assert report.improvement is not None
    assert report.improvement > 0.1
    assert not report.promoted
    assert "no longer finds" in report.verdict
    assert "macro-F1" in report.table()
    assert "group=sound" in report.table()
    assert Report.from_dict(report.to_dict()) == report
    assert "labels" not in report.figures()


def test_conflicting_labels_are_named_with_their_rows_and_left_out(
    topics: Any, by_demos: Any, topic_signature: Any
) -> None:
    twice = [
        *topics,
        {"inputs": topics[3]["inputs"], "outputs": {"topic": "sport"}},  # row 61; row 4 says food
        {"inputs": {"text": "WE  run number 0"}, "outputs": {"topic": "food"}},  # row 62; row 1 says sport
    ]
    with TelepromptFineTuner("labeled_fewshot", lm=by_demos, workdir=False) as tuner:
        report = tuner.compile(topic_signature, twice, "accuracy").report
    notes = " ".join(report.notes)
    assert "the same inputs have different labels: row 4 (food) and row 61 (sport); 2 rows were left out" in notes
    assert "differ in case, blanks or order only have different labels: row 1 (sport) and row 62 (food)" in notes
    assert sum(report.sizes.values()) == 60


@pytest.mark.parametrize("changed", ["WE EAT number 1", "we  eat\tnumber 1"])
def test_near_repetitions_of_held_out_examples_are_not_learned_from(
    topics: Any, by_demos: Any, topic_signature: Any, changed: str
) -> None:
    test = [{"inputs": {"text": changed}, "outputs": {"topic": "food"}}, *topics[30:]]
    with TelepromptFineTuner("labeled_fewshot", lm=by_demos, workdir=False) as tuner:
        report = tuner.compile(topic_signature, topics[:30], "accuracy", testset=test).report
    assert "1 training examples are also in the other sets and were left out" in report.notes
