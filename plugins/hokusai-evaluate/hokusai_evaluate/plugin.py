"""The components of this plugin: metrics, and the commands ``hokusai evaluate`` and ``hokusai data``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl
from hokusai_evaluate.metrics.metric_choice import METRICS

__all__ = ["provide_commands", "provide_metrics"]


@hookimpl
def provide_metrics() -> list[Component]:
    """Offer the metrics."""
    return list(METRICS)


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai evaluate`` and ``data``."""
    offers = [
        ("evaluate", "evaluate_command:evaluate", "Measure a signature or chain on a data set"),
        ("data", "data_command:data", "Check, split and import data sets"),
    ]
    return [
        Component(name=name, target=f"hokusai_evaluate.commands.{target}", summary=summary, requires=("click",))
        for name, target, summary in offers
    ]
