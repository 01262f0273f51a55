"""The conformance suite for metrics: subclass ``MetricConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyMetric(MetricConformance):
        @pytest.fixture
        def metric(self):
            return MyMetric()

        expected = {"answer": "Paris"}
        right = {"answer": "Paris"}
        wrong = {"answer": "a potato"}
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from hokusai_core.protocols import Metric

__all__ = ["MetricConformance"]


class MetricConformance:
    """Tests that every metric passes. The fixture ``metric`` returns one."""

    #: What is expected of one example, outputs that are as good as can be, and outputs that are bad.
    expected: ClassVar[Mapping[str, Any]] = {"answer": "Paris"}
    right: ClassVar[Mapping[str, Any]] = {"answer": "Paris"}
    wrong: ClassVar[Mapping[str, Any]] = {"answer": "a potato"}
    inputs: ClassVar[Mapping[str, Any]] = {"question": "What is the capital of France?"}

    @pytest.fixture
    def metric(self) -> Metric:
        """Return the metric."""
        raise NotImplementedError("define the fixture metric")

    def _goodness(self, metric: Metric, outputs: Mapping[str, Any]) -> float:
        score = metric.score(self.expected, outputs, self.inputs)
        return score if metric.higher_is_better else -score

    def test_satisfies_the_protocol(self, metric: Metric) -> None:
        """It has a score, a range and a direction."""
        assert isinstance(metric, Metric)
        low, high = metric.range
        assert low < high
        assert isinstance(metric.higher_is_better, bool)

    def test_says_where_it_comes_from(self, metric: Metric) -> None:
        """Reports name a metric and its source."""
        for attribute in ("name", "source"):
            value = getattr(metric, attribute, None)
            assert isinstance(value, str)
            assert value

    def test_tells_right_from_wrong(self, metric: Metric) -> None:
        """Outputs as expected score better than others."""
        assert self._goodness(metric, self.right) > self._goodness(metric, self.wrong)

    def test_the_best_is_an_end_of_the_range(self, metric: Metric) -> None:
        """Outputs as expected reach the good end of a closed range."""
        best = metric.range[1 if metric.higher_is_better else 0]
        if math.isfinite(best):
            assert metric.score(self.expected, self.right, self.inputs) == pytest.approx(best)

    @pytest.mark.parametrize(
        "value",
        [None, "", " ", "naïve ☕ \u202e", 0, -1.5, True, [], ["a", "b"], {}, {"a": {"b": [None]}}, "x" * 20_000],
        ids=["none", "empty", "blank", "unicode", "zero", "number", "bool", "list", "texts", "mapping", "deep", "long"],
    )
    def test_any_output_has_a_score_within_the_range(self, metric: Metric, value: Any) -> None:
        """Whatever a language model came up with, there is a number."""
        outputs = dict.fromkeys(self.expected, value)
        score = metric.score(self.expected, outputs, self.inputs)
        low, high = metric.range
        assert not math.isnan(score)
        assert low <= score <= high

    def test_an_output_may_be_missing(self, metric: Metric) -> None:
        """What was not given is scored, not an error."""
        low, high = metric.range
        assert low <= metric.score(self.expected, {}, self.inputs) <= high

    def test_the_same_gives_the_same(self, metric: Metric) -> None:
        """A score depends on nothing but what is scored."""
        assert len({metric.score(self.expected, self.wrong, self.inputs) for _ in range(5)}) == 1

    def test_nothing_is_changed(self, metric: Metric) -> None:
        """What is scored stays as it was."""
        expected, outputs, inputs = map(copy.deepcopy, (self.expected, self.wrong, self.inputs))
        metric.score(expected, outputs, inputs)
        assert (expected, outputs, inputs) == (self.expected, self.wrong, self.inputs)

    def test_many_threads_score_at_once(self, metric: Metric) -> None:
        """Examples are scored in parallel."""
        pairs = [self.right, self.wrong] * 50
        wanted = [self._goodness(metric, outputs) for outputs in pairs]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda outputs: self._goodness(metric, outputs), pairs)) == wanted
