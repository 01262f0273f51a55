"""Files that Hokusai 0.1 wrote are read: promotions, feedback, and the checkpoint of an unfinished study."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hokusai_core import Executor
from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner, promotions, rollback

FILES = Path(__file__).parent / "files_of_0_1"


def test_promotions_hold_and_can_be_rolled_back(by_demos: Any, topic_signature: Any, own_folder: Path) -> None:
    shutil.copytree(FILES / "promotions", own_folder / "promotions")
    with Executor(lm=by_demos, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topic", topic_signature)
        assert executor.execute_signature("Topic", {"text": "we eat pears"})["topic"] == "food"
        history = [(entry.action, entry.version, entry.note) for entry in promotions(executor, "Topic")]
        assert history == [
            ("promote", "1.0.1", "measured on reviews"), ("rollback", "", "complaints"), ("promote", "1.0.1", ""),
        ]  # fmt: skip
        rollback(executor, "Topic")
        assert executor.execute_signature("Topic", {"text": "we eat pears"})["topic"] == "sport"


def test_feedback_is_read_and_added_to(own_folder: Path) -> None:
    (own_folder / "feedback").mkdir(parents=True)
    shutil.copy(FILES / "feedback-database", own_folder / "feedback" / "feedback.db")
    with FeedbackCollector() as collector:
        first, second = collector.get_feedback()
        assert (first.inputs, first.rating, first.corrections, first.comment, first.source) == (
            {"text": "we eat pears"}, 2, {"topic": "sport"}, "a comment", "ada",
        )  # fmt: skip
        assert (second.outputs, second.rating, second.corrections) == ({"topic": "sport"}, 5, {})
        collector.add_feedback(second.execution_id, 1, {"topic": "food"}, source="bob")
        assert collector.feedback_count() == 3


def test_the_checkpoint_of_a_study_is_continued(
    by_demos: Any, topics: Any, topic_signature: Any, own_folder: Path
) -> None:
    shutil.copytree(FILES / "studies", own_folder / "studies")
    with TelepromptFineTuner("labeled_fewshot", lm=by_demos, workers=1) as finetuner:
        report = finetuner.compile(topic_signature, topics, "accuracy").report
    assert "continued: 10 calls of an earlier run were not paid for again" in report.notes
    assert report.replayed >= 5  # the budget of the first run made its split a smaller one
    assert report.promoted
