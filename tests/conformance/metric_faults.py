"""Metrics of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hokusai_core.testing.metrics import MetricConformance


class SameText:
    """A metric that is right: the share of outputs that are as expected."""

    name, source = "same_text", "how we compare texts"
    range, higher_is_better = (0.0, 1.0), True

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return sum(outputs.get(name) == value for name, value in expected.items()) / len(expected)

    def aggregate(self, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> float:
        return float(sum(self.score(expected, outputs, {}) for expected, outputs in pairs) / len(pairs))


class Half(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) / 2


class UpsideDown(SameText):
    higher_is_better = False


class Percent(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) * 100


class BelowTheRange(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) - 0.1 * (not outputs)


class NotANumber(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) if outputs else float("nan")


class NoneForNothing(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) if outputs else None


class Word(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return "good" if super().score(expected, outputs, inputs) else "bad"


class YesOrNo(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) == 1


class NeedsEveryOutput(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return float(all(outputs[name] == value for name, value in expected.items()))


class NeedsText(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return float(all(str(value).lower() == outputs.get(name, "").lower() for name, value in expected.items()))


class NothingIsPerfect(SameText):
    """What is missing is left out of the mean."""

    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        given = [name for name in expected if name in outputs]
        return sum(outputs[name] == expected[name] for name in given) / len(given) if given else 1.0


class ComparesEverything(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return float(dict(expected) == dict(outputs))


class EmptiesOutputs(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return sum(outputs.pop(name, None) == value for name, value in expected.items()) / len(expected)


class ChangesExpectations(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        score = super().score(expected, outputs, inputs)
        expected["scored"] = True
        return score


class Dice(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) * 0.9 + random.random() / 10


class RunningMean(SameText):
    def __init__(self) -> None:
        self.scores: list[float] = []

    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        self.scores.append(super().score(expected, outputs, inputs))
        return sum(self.scores) / len(self.scores)


class NotForThreads(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        self.outputs = outputs
        time.sleep(0.0001)
        return super().score(expected, self.outputs, inputs)


class Constant(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return 1.0


class Anonymous(SameText):
    source = ""


class NoRange(SameText):
    range = None  # type: ignore[assignment]  # that is the fault


class RangeOfNothing(SameText):
    range = (1.0, 1.0)


class Waits(SameText):
    async def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:  # type: ignore[override]  # that is the fault
        return super().score(expected, outputs, inputs)


class Chatty(SameText):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        os.write(1, b"scored\n")
        return super().score(expected, outputs, inputs)


class OnlyForItsProcess(SameText):
    def __init__(self) -> None:
        self.process = os.getpid()

    def score(self, expected: Any, outputs: Any, inputs: Any) -> Any:
        return super().score(expected, outputs, inputs) if os.getpid() == self.process else 0.0


class LastCounts(SameText):
    def aggregate(self, pairs: Any) -> float:
        first, last = (self.score(expected, outputs, {}) for expected, outputs in (pairs[0], pairs[-1]))
        return float(last * 0.5 + first * 0.3 + 0.2)


class SumOfScores(SameText):
    def aggregate(self, pairs: Any) -> float:
        return super().aggregate(pairs) * len(pairs)


class Suite(MetricConformance):
    @pytest.fixture
    def metric(self, planted: Any) -> Any:
        return planted()


GOOD = SameText
FAULTS = [
    Half, UpsideDown, Percent, BelowTheRange, NotANumber, NoneForNothing, Word, YesOrNo, NeedsEveryOutput, NeedsText,
    NothingIsPerfect, ComparesEverything, EmptiesOutputs, ChangesExpectations, Dice, RunningMean, NotForThreads,
    Constant, Anonymous, NoRange, RangeOfNothing, Waits, Chatty, OnlyForItsProcess, LastCounts, SumOfScores,
]  # fmt: skip
