from __future__ import annotations

from typing import Any, ClassVar

import pytest

from hokusai_core import LanguageModel
from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.metrics import MetricConformance
from hokusai_evaluate.metrics import (
    METRICS,
    Accuracy,
    ClassificationAccuracy,
    JsonEqual,
    MacroF1,
    QualityScore,
    RougeL,
    TokenF1,
    WeightedMetric,
    make_metric,
)


def test_every_metric_is_offered_and_made_without_the_plugin() -> None:
    names = {component.name for component in METRICS}
    with PluginManager(only=["evaluate"]) as plugins:
        assert {component.name for component in plugins.components("metric")} == names
    with PluginManager(only=[]) as plugins:
        assert isinstance(make_metric(plugins, {"accuracy": 1, "f1": 1}), WeightedMetric)


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
