"""Numbers that arrive after an execution: recorded, kept, told to trackers, shown, and learned from."""

from __future__ import annotations

import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError, ExecutionNotFoundError, FeedbackError
from hokusai_core.testing.listening import ListeningTracker
from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner
from hokusai_teleprompt.commands.feedback_command import feedback
from hokusai_teleprompt.commands.optimize_command import optimize

FILES = Path(__file__).parent / "files_of_0_1"
PLUGINS = ["teleprompt"]


class Mail(BaseSignature):
    """Write an email."""

    topic: str = InputField()
    body: str = OutputField()


def run_command(command: Any, *arguments: Any) -> Any:
    result = CliRunner().invoke(command, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def number_of(user: str) -> int:
    return int(user.rsplit("number", 1)[1].split()[0])


@pytest.fixture
def lm(thinking: Any) -> Any:
    return thinking(body=lambda system, before, user: f"body {number_of(user)}")


def send(executor: Executor, count: int) -> list[str]:
    executor.register_signature("Mail", Mail)
    results = (
        executor.execute_signature("Mail", {"topic": f"number {number}"}, collect_feedback=True)
        for number in range(count)
    )
    return [result.execution_id for result in results]


def test_an_outcome_is_kept_with_its_history(lm: Any) -> None:
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        first, second = send(executor, 2)
        collector.record_outcome(first, "reply_rate", 0.25, source="server")
        collector.record_outcome(first, "reply_rate", 1, source="server")
        collector.record_outcome(first, "minutes", 12, higher_is_better=False)
        kept = collector.execution(first)
        assert [(one.name, one.value, one.higher_is_better, one.source) for one in kept.outcomes] == [
            ("reply_rate", 0.25, True, "server"),
            ("reply_rate", 1.0, True, "server"),
            ("minutes", 12.0, False, "anonymous"),
        ]
        assert [one.value for one in kept.current_outcomes] == [1.0, 12.0]
        assert collector.record_outcome(second, "minutes", 3).higher_is_better is False  # as it was before
        assert [one.execution_id for one in collector.unrated()] == [first, second]
        assert collector.feedback_count() == 0


@pytest.mark.parametrize(
    ("name", "value", "options", "message"),
    [
        ("reply rate", 1.0, {}, "expected a name such as 'reply_rate'"),
        ("reply_rate", math.nan, {}, "expected a finite number"),
        ("reply_rate", "1", {}, "expected a finite number"),
        ("reply_rate", 1.0, {"higher_is_better": "yes"}, "expected True, False or None"),
        ("reply_rate", 1.0, {"source": 3}, "source must be a text"),
        ("minutes", 1.0, {"higher_is_better": True}, "was recorded before with higher_is_better=False"),
    ],
)
def test_what_cannot_be_an_outcome_is_refused(lm: Any, name: Any, value: Any, options: Any, message: str) -> None:
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        (execution,) = send(executor, 1)
        collector.record_outcome(execution, "minutes", 5, higher_is_better=False)
        with pytest.raises(FeedbackError, match=message):
            collector.record_outcome(execution, name, value, **options)
        with pytest.raises(ExecutionNotFoundError):
            collector.record_outcome("missing", "minutes", 1)
        assert len(collector.execution(execution).outcomes) == 1


def test_trackers_get_outcomes(lm: Any) -> None:
    tracker = ListeningTracker()
    with Executor(lm=lm, plugins=PLUGINS, trackers={"ear": tracker}) as executor, FeedbackCollector() as collector:
        (execution,) = send(executor, 1)
        outcome = collector.record_outcome(execution, "reply_rate", 0.5)
        assert tracker.events[-1] == outcome


def test_a_store_of_0_1_is_completed_and_stays_readable_for_it(own_folder: Path) -> None:
    path = own_folder / "feedback" / "feedback.db"
    path.parent.mkdir(parents=True)
    shutil.copy(FILES / "feedback-database", path)
    with FeedbackCollector() as collector:
        first, second = collector.get_feedback()
        collector.record_outcome(first.execution_id, "reply_rate", 0.5)
        collector.add_feedback(second.execution_id, 4, drawn=True)
        assert [one.drawn for one in collector.history(second.execution_id)] == [False, True]
    with FeedbackCollector() as collector:
        assert [one.value for one in collector.execution(first.execution_id).outcomes] == [0.5]
    with sqlite3.connect(path) as database:  # what 0.1 asks for and writes
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        database.execute(
            "INSERT INTO feedback (execution_id, source, rating, corrections, comment, given_at)"
            " VALUES (?, 'old', 3, '{}', NULL, 1.0)",
            (first.execution_id,),
        )
    with FeedbackCollector() as collector:
        assert [one.source for one in collector.history(first.execution_id)] == ["ada", "old"]


def test_the_best_outcomes_are_learned_from_and_nothing_is_promoted(lm: Any) -> None:
    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        executions = send(executor, 30)
        for number, execution in enumerate(executions):
            collector.record_outcome(execution, "minutes", number, higher_is_better=False, source=f"desk {number % 2}")
        collector.add_feedback(executions[0], 1)  # few minutes, and it was wrong
        with TelepromptFineTuner(executor=executor, workdir=False) as tuner:
            optimized = tuner.compile_from_feedback("Mail", metric="minutes", min_count=30)
            report = optimized.report
            assert not report.promoted
            assert report.calls == 0
            shown = {number_of(demo["topic"]) for demo in optimized.spec.demos}
            assert shown == set(range(1, 11))
            text = report.table()
            assert "minutes of a new answer is not known before it is used" in text
            assert "the best third, 10 of 29 inputs, with a mean of 5.5 against 14.5 of all 30 executions" in text
            assert "desk 0: 0 feedbacks, 0 with corrections, 15 outcomes, 5 examples (weight 50%)" in text
            with pytest.raises(
                FeedbackError, match="not enough yet: 30 executions of Mail have the outcome minutes, 100"
            ):
                tuner.compile_from_feedback("Mail", metric="minutes", min_count=100)
            with pytest.raises(
                ConfigurationError, match="neither a metric nor an outcome of Mail: its outcomes are minutes"
            ):
                tuner.compile_from_feedback("Mail", metric="reply_rate")


def test_reviewed_executions_are_compared_on_and_still_nothing_is_promoted(thinking: Any, topic_signature: Any) -> None:
    def topic(system: str, before: str, user: str) -> str:
        return ("food" if number_of(user) % 2 else "sport") if "food" in before else "sport"

    with Executor(lm=thinking(topic=topic), plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        executor.register_signature("Topic", topic_signature)
        for number in range(80):
            inputs = {"text": f"we go number {number}"}
            result = executor.execute_signature("Topic", inputs, collect_feedback=True)
            if number < 40:
                fix = {"topic": "food"} if number % 2 else {}
                collector.add_feedback(result.execution_id, 1 if fix else 5, fix, source=f"p{number % 3}")
            else:
                collector.record_outcome(result.execution_id, "clicks", number)
        with TelepromptFineTuner(executor=executor, workdir=False) as tuner:
            report = tuner.compile_from_feedback("Topic", metric="clicks").report
    assert report.metric["name"] == "classification_accuracy"
    assert report.baseline_score is not None
    assert not report.promoted


def test_commands(lm: Any) -> None:
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        first, second = send(executor, 2)
    assert "no outcome is recorded" in run_command(feedback, "outcomes").output
    run_command(feedback, "outcome", first, "reply_rate=0.4", "--source", "crm")
    assert run_command(feedback, "outcome", first, "reply_rate").exit_code == 2
    run_command(feedback, "outcome", second, "reply_rate=0.8", "clicks=3")
    run_command(feedback, "outcome", second, "minutes=5", "--lower-is-better")
    shown = run_command(feedback, "show", first).output
    assert "crm  reply_rate 0.4" in shown
    assert "higher is better" in shown
    table = run_command(feedback, "outcomes", "--signature", "Mail").output
    assert "reply_rate" in table
    assert "0.6" in table
    assert "lower" in table


def test_optimize_from_feedback_on_the_command_line(lm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dspy

    with Executor(lm=lm, plugins=PLUGINS) as executor, FeedbackCollector() as collector:
        for number, execution in enumerate(send(executor, 12)):
            collector.record_outcome(execution, "reply_rate", number / 12)
    with dspy.context(lm=lm):
        arguments = ("Mail", "--from-feedback", "--metric", "reply_rate", "-o", tmp_path / "better.json")
        with pytest.raises(FeedbackError, match="12 executions of Mail have the outcome reply_rate, 100 are needed"):
            run_command(optimize, *arguments, "--min", 100)
        result = run_command(optimize, *arguments, "--min", 12)
        assert "the best candidate, which was not compared with the signature as it was" in result.output
        assert (tmp_path / "better.json").exists()
    for wrong in (("Mail",), ("Mail", __file__, "--from-feedback"), ("Mail", __file__, "--min", 3)):
        assert run_command(optimize, *wrong).exit_code == 2
