"""Metrics: score outputs against the expected ones."""

from __future__ import annotations

from hokusai_teleprompt.metrics.exact_match import Accuracy, ClassificationAccuracy, JsonEqual, MacroF1
from hokusai_teleprompt.metrics.metric_choice import CallableMetric, WeightedMetric
from hokusai_teleprompt.metrics.quality_score import QualityScore
from hokusai_teleprompt.metrics.scoring import OPEN_RANGE, goodness, raw_score, summary_of
from hokusai_teleprompt.metrics.word_overlap import RougeL, TokenF1

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
