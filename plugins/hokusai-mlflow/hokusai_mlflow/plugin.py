"""What this plugin offers: the tracker and the command ``hokusai tracking``."""

from __future__ import annotations

from hokusai_core import Component, hookimpl

__all__ = ["provide_commands", "provide_trackers"]


@hookimpl
def provide_trackers() -> list[Component]:
    """Offer the MLflow tracker."""
    return [
        Component(
            name="mlflow",
            target="hokusai_mlflow.tracker:MlflowTracker",
            summary="Records executions in MLflow from a process of its own",
        )
    ]


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai tracking``."""
    return [
        Component(
            name="tracking",
            target="hokusai_mlflow.commands:tracking",
            summary="Show what waits for delivery to MLflow, and deliver it",
        )
    ]
