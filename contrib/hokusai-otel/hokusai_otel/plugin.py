"""The component of this plugin: the tracker ``otel``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_trackers"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_trackers() -> list[Component]:
    """Offer the tracker."""
    return [
        Component(
            name="otel",
            target="hokusai_otel.tracker:OtelTracker",
            summary="Spans and metrics: to the providers of the host, else by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT",
        )
    ]
