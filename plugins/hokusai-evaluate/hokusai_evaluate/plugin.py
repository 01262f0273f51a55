"""The components of this plugin: metrics."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl
from hokusai_evaluate.metrics.metric_choice import METRICS

__all__ = ["provide_metrics"]


@hookimpl
def provide_metrics() -> list[Component]:
    """Offer the metrics."""
    return list(METRICS)
