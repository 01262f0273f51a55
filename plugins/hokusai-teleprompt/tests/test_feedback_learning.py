from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, FeedbackError
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import Feedback, FeedbackCollector, TelepromptFineTuner, promote
from hokusai_teleprompt.feedback.feedback_examples import examples_of


def feedback(number: int, reply_signature: Any, **changes: Any) -> Feedback:
    values: dict[str, Any] = {
        "execution_id": f"e{number}",
        "signature": "local/Reply",
        "signature_version": "1.0.0",
        "fingerprint": reply_signature.spec.fingerprint,
        "inputs": {"message": f"message {number}"},
        "outputs": {"reply": f"reply {number}"},
        "rating": 5,
        "corrections": {},
        "comment": None,
        "source": "ann",
        "given_at": float(number),
        "spec": reply_signature.spec.to_dict(),
    }
    return Feedback(**values | changes)


def learn(signature: Any, items: list[Feedback], **options: Any) -> Any:
    arguments: dict[str, Any] = {"min_rating": 4, "per_source": 1.0, "seed": 0}
    return examples_of(signature.spec, "local/Reply", items, **arguments | options)


def answers(found: Any) -> dict[str, str]:
    return {item.inputs["message"]: item.outputs["reply"] for item in found.examples}


def test_corrections_and_high_ratings_are_learned_low_ratings_are_not(reply_signature: Any) -> None:
    found = learn(
        reply_signature,
        [
            feedback(1, reply_signature, rating=5),
            feedback(2, reply_signature, rating=4),
            feedback(3, reply_signature, rating=3),
            feedback(4, reply_signature, rating=1),
            feedback(5, reply_signature, rating=1, corrections={"reply": "better"}),
        ],
    )
    assert answers(found) == {"message 1": "reply 1", "message 2": "reply 2", "message 5": "better"}
    assert any("2 executions with low ratings and no correction" in note for note in found.notes)
    assert found.notes[0] == "3 examples out of 5 feedbacks, 1 of which have corrections"


def test_an_execution_that_people_disagree_on_is_left_out(reply_signature: Any) -> None:
    items = [
        feedback(1, reply_signature, rating=5, source="ann"),
        feedback(1, reply_signature, rating=1, source="bob"),
        feedback(2, reply_signature),
    ]
    found = learn(reply_signature, items)
    assert answers(found) == {"message 2": "reply 2"}
    assert any("1 executions were left out, because some rate them high" in note for note in found.notes)


def test_an_answer_that_a_cache_gave_twice_is_one_answer(reply_signature: Any) -> None:
    same = {"inputs": {"message": "same"}, "outputs": {"reply": "same"}}
    items = [
        feedback(1, reply_signature, rating=5, source="ann", **same),
        feedback(2, reply_signature, rating=1, source="bob", **same),
        feedback(3, reply_signature),
    ]
    assert answers(learn(reply_signature, items)) == {"message 3": "reply 3"}


def test_conflicting_corrections_are_reported_and_the_majority_taken(reply_signature: Any) -> None:
    same = {"inputs": {"message": "same"}}
    texts = ["a", "b", "b", "c", "c"]
    items = [feedback(n, reply_signature, corrections={"reply": text}, **same) for n, text in enumerate(texts)]
    found = learn(reply_signature, items)
    assert answers(found) == {"same": "c"}  # as often as b, and later
    assert any("conflicting corrections on 1 inputs" in note and "3 answers to" in note for note in found.notes)


def test_no_source_outweighs_the_others(reply_signature: Any) -> None:
    items = [feedback(n, reply_signature, source="loud") for n in range(30)]
    items += [feedback(30 + n, reply_signature, source=f"quiet {n}") for n in range(10)]
    found = learn(reply_signature, items, per_source=0.5)
    assert sum(item.source == "loud" for item in found.examples) == 20
    assert len(found.items) == 30
    assert any("10 of 30 examples of 'loud' were left out" in note for note in found.notes)
    assert len(learn(reply_signature, items[:30], per_source=0.5).items) == 30  # there is only one


def test_what_cannot_be_used_is_said(reply_signature: Any) -> None:
    items = [
        feedback(1, reply_signature),
        feedback(2, reply_signature, inputs={"message": "[redacted]"}),
        feedback(3, reply_signature, inputs={"other": "x"}),
        feedback(4, reply_signature, signature="pack/Other"),
    ]
    found = learn(reply_signature, items)
    assert answers(found) == {"message 1": "reply 1"}
    text = " ".join(found.notes)
    assert "sensitive inputs are not kept" in text
    assert "1 do not fit Reply 1.0.0" in text
    assert "1 of 4 feedbacks are on other signatures" in text


def test_nothing_to_learn_from_is_an_error(reply_signature: Any) -> None:
    with pytest.raises(FeedbackError, match="nothing to learn for local/Reply: 1 feedbacks"):
        learn(reply_signature, [feedback(1, reply_signature, rating=2)])
    with pytest.raises(FeedbackError, match="nothing to learn"):
        learn(reply_signature, [])
    for options in ({"min_rating": 6}, {"min_rating": 4.5}, {"per_source": 0}):
        with pytest.raises(ConfigurationError):
            learn(reply_signature, [feedback(1, reply_signature)], **options)


def copycat(system: str, shown: str, user: str) -> str:
    """Write as the demos do."""
    return "signed, the team" if "signed, the team" in shown else "bye"


@pytest.fixture
def kept(thinking: Any, reply_signature: Any) -> Any:
    """Sixty executions, all corrected in the same way."""
    lm = thinking(reply=copycat)
    with Executor(lm=lm, plugins=["teleprompt"]) as executor, FeedbackCollector() as collector:
        executor.register_signature("Reply", reply_signature)
        for number in range(60):
            result = executor.execute_signature("Reply", {"message": f"m {number}"}, collect_feedback=True)
            collector.add_feedback(
                result["execution_id"], 2, {"reply": "signed, the team"}, source=f"reviewer {number % 3}"
            )
    return lm


def test_feedback_makes_a_signature_whose_demos_hold_the_corrected_text(
    kept: Any, reply_signature: Any, tmp_path: Path
) -> None:
    with FeedbackCollector() as collector, Executor(lm=kept, plugins=["teleprompt"]) as executor:
        executor.register_signature("Reply", reply_signature)
        with TelepromptFineTuner(executor=executor, workdir=False) as finetuner:
            optimized = finetuner.compile_from_feedback(
                signature_name="Reply", feedback=collector.get_feedback(), metric="f1"
            )
        assert optimized.promoted
        assert any(demo["reply"] == "signed, the team" for demo in optimized.spec.demos)
        assert optimized.report.sizes == {"train": 21, "dev": 15, "test": 24}
        promote(executor, "Reply", optimized, note="what reviewers say")
        assert executor.execute_signature("Reply", {"message": "new"})["reply"] == "signed, the team"
        collector.export(tmp_path / "feedback.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "feedback.jsonl").read_text().splitlines()]
    with TelepromptFineTuner(lm=kept, workdir=False) as finetuner:  # the rows do not hold the signature, the store does
        assert finetuner.compile_from_feedback("Reply", rows).promoted


def test_a_signature_that_is_not_there_is_taken_from_the_store(kept: Any) -> None:
    with TelepromptFineTuner(lm=kept, workdir=False) as finetuner:
        optimized = finetuner.compile_from_feedback("Reply")
        assert optimized.promoted
        assert optimized.artifact.base_name == "local/Reply"
        with pytest.raises(FeedbackError, match="no signature 'Nothing' here"):
            finetuner.compile_from_feedback("Nothing")


def test_one_correction_makes_one_demo(reply_signature: Any) -> None:
    with Executor(lm=null_lm(), plugins=["teleprompt"]) as executor, FeedbackCollector() as collector:
        executor.register_signature("Reply", reply_signature)
        result = executor.execute_signature("Reply", {"message": "hello"}, collect_feedback=True)
        collector.add_feedback(result["execution_id"], 4, {"reply": "Improved version"})
        with TelepromptFineTuner(executor=executor, workdir=False) as finetuner:
            optimized = finetuner.compile_from_feedback("Reply", collector.get_feedback())
    assert [dict(demo) for demo in optimized.spec.demos] == [{"message": "hello", "reply": "Improved version"}]
    assert not optimized.promoted
