"""The components of this plugin: metrics, and the commands ``hokusai evaluate``, ``data`` and ``replay``."""

from __future__ import annotations

from typing import Final

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "METRICS", "provide_commands", "provide_metrics"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1

#: The metrics of this package.
METRICS: Final = tuple(
    Component(
        name=name,
        target=f"hokusai_evaluate.metrics.{target}",
        summary=summary,
        # It can judge without an expected answer, so it can be the reward of a strategy.
        capabilities=("reference_free",) if name == "quality_score" else (),
    )
    for name, target, summary in (
        ("accuracy", "exact_match:Accuracy", "Share of fields that are right after normalization"),
        ("f1", "word_overlap:TokenF1", "F1 of the words that expected and given text share"),
        ("classification_accuracy", "exact_match:ClassificationAccuracy", "Whether the label is right"),
        ("macro_f1", "exact_match:MacroF1", "F1 of each label, averaged over the labels"),
        ("rouge_l", "word_overlap:RougeL", "F-measure of the longest common subsequence of words"),
        ("json_equal", "exact_match:JsonEqual", "Whether the output is equal as JSON"),
        ("quality_score", "quality_score:QualityScore", "Grade by a language model, 0 to 1"),
        ("weighted", "metric_choice:WeightedMetric", "Weighted mean of other metrics"),
    )
)


@hookimpl
def provide_metrics() -> list[Component]:
    """Offer the metrics."""
    return list(METRICS)


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai evaluate``, ``data`` and ``replay``."""
    offers = [
        ("evaluate", "evaluate_command:evaluate", "Measure a signature or chain on a data set"),
        ("data", "data_command:data", "Check, split and import data sets"),
        ("replay", "replay_command:replay", "Run kept executions on another language model, and compare"),
    ]
    return [
        Component(name=name, target=f"hokusai_evaluate.commands.{target}", summary=summary, requires=("click",))
        for name, target, summary in offers
    ]
