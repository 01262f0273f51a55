"""The components of this plugin: tracker, metric, signatures of the model registry, ``hokusai tracking``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_commands", "provide_metrics", "provide_signature_sources", "provide_trackers"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


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
def provide_metrics() -> list[Component]:
    """Offer MLflow's scorers and judges as a metric."""
    return [
        Component(
            name="mlflow_scorer",
            target="hokusai_mlflow.scorer_metric:MlflowScorer",
            summary="A scorer or judge of mlflow.genai, named by the option scorer",
        )
    ]


@hookimpl
def provide_signature_sources() -> list[Component]:
    """Offer signatures of MLflow's model registry, by addresses such as ``models:/EmailDraft@champion``."""
    return [
        Component(
            name="models",
            target="hokusai_mlflow.registry:load_signature",
            summary="Registers signatures from MLflow's model registry",
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
