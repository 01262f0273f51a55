"""Metrics: score outputs against the expected ones."""

from __future__ import annotations

from hokusai_evaluate.metrics.exact_match import Accuracy, ClassificationAccuracy, JsonEqual, MacroF1
from hokusai_evaluate.metrics.metric_choice import CallableMetric, WeightedMetric, make_metric, usual_metric
from hokusai_evaluate.metrics.quality_score import QualityScore
from hokusai_evaluate.metrics.scoring import OPEN_RANGE, goodness, raw_score, summary_of, worst_goodness
from hokusai_evaluate.metrics.word_overlap import RougeL, TokenF1
from hokusai_evaluate.plugin import METRICS

__all__ = [
    "METRICS",
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
    "make_metric",
    "raw_score",
    "summary_of",
    "usual_metric",
    "worst_goodness",
]
