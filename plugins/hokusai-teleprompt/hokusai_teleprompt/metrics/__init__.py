"""Metrics: how good outputs are, as a number."""

from __future__ import annotations

from hokusai_teleprompt.metrics.adapting import CallableMetric
from hokusai_teleprompt.metrics.base import OPEN_RANGE, goodness, raw_score, summary_of
from hokusai_teleprompt.metrics.exact import Accuracy, ClassificationAccuracy, JsonEqual, MacroF1
from hokusai_teleprompt.metrics.judge import QualityScore
from hokusai_teleprompt.metrics.overlap import RougeL, TokenF1
from hokusai_teleprompt.metrics.weighted import WeightedMetric

__all__ = [
    "OPEN_RANGE",
    "Accuracy",
    "CallableMetric",
    "ClassificationAccuracy",
    "JsonEqual",
    "MacroF1",
    "QualityScore",
    "RougeL",
    "TokenF1",
    "WeightedMetric",
    "goodness",
    "raw_score",
    "summary_of",
]
