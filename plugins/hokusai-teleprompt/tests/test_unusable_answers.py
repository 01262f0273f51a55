"""Answers that were cut off or withheld, and scores that are no numbers: neither is kept, promoted or reported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import LanguageModel
from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationTask
from hokusai_teleprompt import TelepromptFineTuner
from hokusai_teleprompt.study.candidate_search import CandidatePool

REASONS = ["length", "content_filter"]


class Unfinished:
    """An engine whose answers look complete, some of which the provider has ended."""

    def __init__(self, engine: Any, reason: str, ended: Callable[[str], bool]) -> None:
        self.engine, self.reason, self.ended = engine, reason, ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Unfinished:
        return self

    def complete(self, request: Any) -> Any:
        response = self.engine.complete(request)
        if self.ended(request.messages[-1].text or ""):
            return type(response)(
                id=None, model=response.model, message=response.message, finish_reason=self.reason, usage=response.usage
            )
        return response


@pytest.fixture
def unfinished(by_demos: Any) -> Callable[..., Any]:
    """Return a function that makes a language model some of whose answers are not finished."""
    return lambda reason, ended: dspy.LM(
        "scripted/unfinished", engine=Unfinished(by_demos.engine, reason, ended), cache=False, num_retries=0
    )


@pytest.mark.parametrize("reason", REASONS)
def test_a_candidate_whose_answers_are_not_finished_is_not_promoted(
    reason: str, unfinished: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    lm = unfinished(reason, lambda prompt: "eat" in prompt)
    with TelepromptFineTuner("labeled_fewshot", lm=lm, workdir=tmp_path, budget=80) as finetuner:
        optimized = finetuner.compile(topic_signature, topics, "accuracy")
    assert not optimized.promoted
    assert optimized.report.invalid[0] > 0
    kept = [
        json.loads(line.partition(" ")[2])
        for path in tmp_path.rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert all(
        "sport" in answers[0] for key, answers in kept if not key.startswith("note ")
    )  # nothing of an answer that was not finished


@pytest.mark.parametrize("reason", REASONS)
def test_an_answer_that_is_not_finished_becomes_no_demo(
    reason: str, unfinished: Any, topics: Any, topic_signature: Any
) -> None:
    lm = unfinished(reason, lambda prompt: "number 1" in prompt)
    options = {"max_bootstrapped_demos": 8, "max_labeled_demos": 8}
    with TelepromptFineTuner("bootstrap_fewshot", lm=lm, workdir=False, optimizer_options=options) as finetuner:
        optimized = finetuner.compile(topic_signature, topics, lambda expected, outputs: 1.0)
    candidate = optimized if optimized.candidate is None else optimized.candidate
    bootstrapped = [demo["text"] for demo in candidate.spec.demos]
    assert bootstrapped
    assert not any("number 1" in text for text in bootstrapped)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_metric_whose_score_is_no_number_ends_the_study(
    score: float, by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    finetuner = TelepromptFineTuner(lm=by_demos, workdir=False)
    with finetuner, pytest.raises(OptimizationError, match="must return a finite number"):
        finetuner.compile(topic_signature, topics, lambda expected, outputs: score)


class AggregatesToNan:
    """A metric that is fine for one example and no number for a set of them."""

    name, range, higher_is_better = "broken", (0.0, 1.0), True

    def score(self, expected: Any, outputs: Any, inputs: Any) -> float:
        return float(expected == outputs)

    def aggregate(self, pairs: Any) -> float:
        return math.nan


def test_the_score_of_a_set_is_a_number_as_well(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    finetuner = TelepromptFineTuner(lm=by_demos, workdir=False)
    with finetuner, pytest.raises(OptimizationError, match="metric broken returned nan"):
        finetuner.compile(topic_signature, topics, AggregatesToNan())


class NanOptimizer:
    """An optimizer that gives its candidates scores that are no numbers."""

    name = "nan"

    def check(self, task: OptimizationTask) -> list[str]:
        return []

    def propose(self, task: OptimizationTask) -> Any:
        assert isinstance(task.model, LanguageModel)
        for number in range(3):
            yield Candidate(f"Instructions {number}.", score=math.nan)


def test_a_candidate_whose_score_is_no_number_is_scored_by_the_study(
    by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    pool = CandidatePool(lambda: 0, lambda found: None)
    pool.add(Candidate("Better.", score=math.nan))
    latest = pool.latest()
    assert latest is not None
    assert latest.candidate.score is None
    with TelepromptFineTuner(NanOptimizer(), lm=by_demos, workdir=False) as finetuner:
        report = finetuner.compile(topic_signature, topics, "accuracy").report
    # The study measures candidates without a score itself. Instructions make no difference to this model.
    baseline, *tried = [trial.score for trial in report.trials]
    assert baseline is not None
    assert tried == [baseline] * 3
    json.dumps(report.to_dict(), allow_nan=False)
