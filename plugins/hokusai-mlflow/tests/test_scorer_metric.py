"""MLflow's scorers and judges as metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import Correctness, scorer

from hokusai_core import Budget, Executor
from hokusai_core.errors import ConfigurationError, LanguageModelError
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from hokusai_mlflow.scorer_metric import MlflowScorer

ROWS = [{"question": "2+2?", "answer": "four"}, {"question": "3+3?", "answer": "six"}]


def _same_start(outputs: Any, expectations: Any) -> bool:
    return bool(outputs[0] == expectations["expected_response"][0])


def _stars(outputs: Any) -> int:
    return len(outputs)


same_start, stars = scorer(_same_start, name="same_start"), scorer(_stars, name="stars")


@pytest.fixture
def executor() -> Any:
    with Executor(lm=null_lm(answers={"answer": "four"}), plugins=["mlflow"], trackers=[]) as made:
        made.register_signature("Ask", "question -> answer")
        yield made


def test_a_scorer_of_ones_own_and_one_by_name(executor: Any) -> None:
    metrics = [MlflowScorer(same_start), MlflowScorer("RegexMatch", pattern="^f")]
    evaluation = evaluate(executor, "Ask", ROWS, metric=metrics)
    assert [score.value for score in evaluation.systems[0].scores.values()] == [0.5, 1.0]


def wrong(*_: Any) -> str:
    return '{"result": "no", "rationale": "it is wrong"}'


def test_a_judge_asks_a_language_model_of_the_executor(executor: Any, tmp_path: Path) -> None:
    judge = null_lm(raw=wrong, model="null/judge")
    options = {"scorer": "Correctness", "judge": judge}

    def run(**more: Any) -> Any:
        return evaluate(executor, "Ask", ROWS, metric="mlflow_scorer", metric_options=options, **more)

    budget = Budget(calls=10)
    evaluation = run(budget=budget, journal=tmp_path / "kept")
    assert (evaluation.score, evaluation.complete, judge.engine.calls) == (0.0, True, 2)
    assert budget.spent.calls == 4
    assert "asked a language model 2 times" in str(evaluation)
    assert run(journal=tmp_path / "kept").score == 0.0
    assert judge.engine.calls == 2  # no answer is paid twice
    refused = run(budget=Budget(calls=3), max_workers=1, cache="off")
    assert refused.systems[0].unanswered == {"unscored": 1}
    assert judge.engine.calls == 3


def test_a_judge_of_mlflows_own_is_asked_by_mlflow(executor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(wrong()) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        options = {"scorer": "Correctness", "judge": "openai:/gpt-5"}
        evaluation = evaluate(executor, "Ask", ROWS, metric="mlflow_scorer", metric_options=options)
    assert (evaluation.score, evaluation.complete) == (0.0, True)
    with pytest.raises(ConfigurationError, match="a budget cannot bound"):
        evaluate(executor, "Ask", ROWS, metric="mlflow_scorer", metric_options=options, budget=Budget(tokens=10_000))


@pytest.mark.parametrize(
    "given",
    [
        Correctness(model="openai:/gpt-5"),
        make_judge(name="right", instructions="Is {{ outputs }} right? Answer yes or no.", model="openai:/gpt-5"),
    ],
    ids=["built in", "made"],
)
def test_a_judge_that_is_an_object_draws_on_the_budget_if_its_model_is_named(executor: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'scorer': <\w+>, 'judge': 'openai/gpt-5'}, or leave the budget"):
        evaluate(executor, "Ask", ROWS, metric=MlflowScorer(given), budget=Budget(calls=10))
    judge, budget = null_lm(raw=wrong, model="null/judge"), Budget(calls=10)
    evaluation = evaluate(executor, "Ask", ROWS, metric=MlflowScorer(given, judge=judge), budget=budget)
    assert (evaluation.score, evaluation.complete, judge.engine.calls, budget.spent.calls) == (0.0, True, 2, 4)
    assert given.model == "openai:/gpt-5"


def test_a_score_outside_of_the_range_is_refused_and_said() -> None:
    metric = MlflowScorer(stars, range=(1, 5))
    assert metric.score({}, {"answer": "***"}, {}) == 3.0
    with (
        pytest.warns(UserWarning, match="no score from 1 to 5"),
        pytest.raises(LanguageModelError, match="answered 6"),
    ):
        metric.score({}, {"answer": "******"}, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give the name of a scorer"),
        ({"scorer": "Nope"}, "Give module:attribute, or one of"),
        ({"scorer": "Correctness"}, "name it with judge="),
        ({"scorer": "UserFrustration", "judge": "openai/gpt-5"}, "whole conversations"),
        ({"scorer": "RegexMatch"}, "cannot be made"),
        ({"scorer": "json:dumps"}, "expected a scorer"),
        ({"scorer": same_start, "judge": "openai/gpt-5"}, "judge= is for the judges"),
        ({"scorer": same_start, "guidelines": "be brief"}, "made already"),
        ({"scorer": same_start, "range": (1, 1)}, "lowest score comes first"),
    ],
)
def test_what_is_wrong_is_named(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MlflowScorer(**given)
