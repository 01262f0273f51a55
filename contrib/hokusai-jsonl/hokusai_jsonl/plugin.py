"""The component of this plugin: the tracker ``jsonl``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_trackers"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


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
