"""The component of this plugin: the tracker ``jsonl``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_trackers"]


@hookimpl
def provide_trackers() -> list[Component]:
    """Offer the tracker."""
    return [
        Component(
            name="jsonl",
            target="hokusai_jsonl.tracker:JsonlTracker",
            summary="Records executions as lines of JSON in HOKUSAI_JSONL_PATH",
        )
    ]
