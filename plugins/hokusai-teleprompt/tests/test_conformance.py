from __future__ import annotations

from typing import Any, ClassVar

import pytest

from hokusai_core import LanguageModel
from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.metrics import MetricConformance
from hokusai_core.testing.optimizers import OptimizerConformance
from hokusai_teleprompt.metrics import (
    Accuracy,
    ClassificationAccuracy,
    JsonEqual,
    MacroF1,
    QualityScore,
    RougeL,
    TokenF1,
    WeightedMetric,
)

SMALL: dict[str, dict[str, Any]] = {
    "labeled_fewshot": {"k": 3},
    "bootstrap_fewshot": {"max_bootstrapped_demos": 2, "max_labeled_demos": 3},
    "bootstrap_random_search": {"num_candidate_programs": 1},
    "bootstrap_optuna": {"num_candidate_programs": 2},
    "knn_fewshot": {"k": 3},
    "mipro_v2": {"num_candidates": 3, "num_trials": 2},
    "copro": {"breadth": 2, "depth": 1},
    "simba": {"bsize": 4, "num_candidates": 2, "max_steps": 1},
    "gepa": {"max_metric_calls": 30},
    "better_together": {"num_candidate_programs": 1, "breadth": 2},
}


def test_every_optimizer_is_offered_and_tested() -> None:
    with PluginManager(only=["teleprompt"]) as plugins:
        assert {component.name for component in plugins.components("optimizer")} == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
class TestOptimizers(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self, name: str) -> Any:
        with PluginManager(only=["teleprompt"]) as plugins:
            component = plugins.component("optimizer", name)
            assert component.summary
            made = plugins.create("optimizer", name, **SMALL[name])
        return lambda: type(made)(**SMALL[name])


class TestAccuracy(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return Accuracy()


class TestTokenF1(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return TokenF1()


class TestClassificationAccuracy(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return ClassificationAccuracy()


class TestMacroF1(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return MacroF1()


class TestRougeL(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return RougeL()


class TestJsonEqual(MetricConformance):
    expected: ClassVar[dict[str, Any]] = {"answer": {"city": "Paris", "size": 2}}
    right: ClassVar[dict[str, Any]] = {"answer": {"size": 2.0, "city": "Paris"}}
    wrong: ClassVar[dict[str, Any]] = {"answer": {"city": "Paris"}}

    @pytest.fixture
    def metric(self) -> Any:
        return JsonEqual()


class TestWeighted(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        return WeightedMetric([(Accuracy(), 1), (TokenF1(), 3)])


class TestQualityScore(MetricConformance):
    @pytest.fixture
    def metric(self) -> Any:
        def grade(user: str) -> str:
            answer = user.rpartition("[[ ## answer ## ]]")[2]
            return "5" if "Paris" in answer else "1"

        model = LanguageModel(null_lm(answers={"grade": grade}))
        return QualityScore().using(lambda judge: model)
