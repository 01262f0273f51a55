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
from hokusai_core.testing.capabilities import Conformance, error_in_fork, refuse_coroutine

__all__ = ["MetricConformance"]


class MetricConformance(Conformance):
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
        score = self._score(metric, outputs)
        return score if metric.higher_is_better else -score

    def _score(self, metric: Metric, outputs: Mapping[str, Any]) -> float:
        """Return the score of outputs, which has to be a number within the range."""
        # Copies, because a metric that changes what it is given must not do so for other tests.
        expected, outputs, inputs = map(copy.deepcopy, (self.expected, outputs, self.inputs))
        score = metric.score(expected, outputs, inputs)
        refuse_coroutine(score)
        assert isinstance(score, (int, float)), f"the score is of type {type(score).__name__}"
        assert not isinstance(score, bool), "the score is a bool; reports would write true and false"
        assert not math.isnan(score)
        low, high = metric.range
        assert low <= score <= high, f"the score {score} is outside of its range"
        return float(score)

    def test_satisfies_the_protocol(self, metric: Metric) -> None:
        """It has a score, a range and a direction."""
        assert isinstance(metric, Metric)
        low, high = metric.range
        assert low < high
        assert isinstance(low, (int, float))
        assert isinstance(high, (int, float))
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
            assert self._score(metric, self.right) == pytest.approx(best)

    @pytest.mark.parametrize(
        "value",
        [None, "", " ", "naïve ☕ \u202e", 0, -1.5, True, [], ["a", "b"], {}, {"a": {"b": [None]}}, "x" * 20_000],
        ids=["none", "empty", "blank", "unicode", "zero", "number", "bool", "list", "texts", "mapping", "deep", "long"],
    )
    def test_any_output_has_a_score_within_the_range(self, metric: Metric, value: Any) -> None:
        """Whatever a language model came up with, there is a number."""
        self._score(metric, dict.fromkeys(self.expected, value))

    def test_an_output_may_be_missing(self, metric: Metric) -> None:
        """What was not given is scored, not an error."""
        missing = self._goodness(metric, {})
        assert missing < self._goodness(metric, self.right), "an answer without outputs is as good as the right one"

    def test_what_is_beside_the_expected_outputs_does_not_count(self, metric: Metric) -> None:
        """An example may expect some of the outputs only."""
        beside = {"a_thought_beside_it": "It is the capital."}
        assert self._score(metric, {**self.right, **beside}) == self._score(metric, self.right)

    def test_the_same_gives_the_same(self, metric: Metric) -> None:
        """A score depends on nothing but what is scored, whatever was scored before."""
        first = [self._score(metric, outputs) for outputs in (self.right, self.wrong)]
        for outputs in (self.wrong, {}, self.right, self.right):
            self._score(metric, outputs)
        assert [self._score(metric, outputs) for outputs in (self.right, self.wrong)] == first
        assert len({self._score(metric, self.wrong) for _ in range(5)}) == 1

    def test_nothing_is_changed(self, metric: Metric) -> None:
        """What is scored stays as it was."""
        expected, outputs, inputs = map(copy.deepcopy, (self.expected, self.wrong, self.inputs))
        metric.score(expected, outputs, inputs)
        assert (expected, outputs, inputs) == (self.expected, self.wrong, self.inputs)
        outputs = copy.deepcopy(self.right)
        metric.score(expected, outputs, inputs)
        assert (expected, outputs, inputs) == (self.expected, self.right, self.inputs)

    def test_many_threads_score_at_once(self, metric: Metric) -> None:
        """Examples are scored in parallel."""
        pairs = [self.right, self.wrong] * 50
        wanted = [self._goodness(metric, outputs) for outputs in pairs]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda outputs: self._goodness(metric, outputs), pairs)) == wanted

    def test_works_in_a_forked_process(self, metric: Metric) -> None:
        """A batch may be scored by worker processes."""
        self.require_fork(metric)
        wanted = [self._score(metric, outputs) for outputs in (self.right, self.wrong)]

        def score() -> None:
            assert [self._score(metric, outputs) for outputs in (self.right, self.wrong)] == wanted

        assert error_in_fork(score) is None

    def test_nothing_is_printed(self, metric: Metric, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output and error belong to the host."""
        self._score(metric, self.wrong)
        assert tuple(capfd.readouterr()) == ("", "")

    def test_a_set_has_a_score_within_the_range(self, metric: Metric) -> None:
        """Where the score of a set is not the mean: it does not depend on the order, and is best if all is right."""
        aggregate = getattr(metric, "aggregate", None)
        if aggregate is None:
            pytest.skip("this metric has no aggregate(), which is optional")
        pairs = [(self.expected, outputs) for outputs in (self.right, self.wrong, self.right, {})]
        score = aggregate(pairs)
        low, high = metric.range
        assert low <= score <= high
        assert aggregate(pairs[::-1]) == pytest.approx(score)
        assert aggregate([(self.expected, self.right)] * 3) == pytest.approx(high if metric.higher_is_better else low)
