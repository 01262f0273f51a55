"""What this plugin offers. Hokusai imports this module whenever plugins are listed, so it stays light."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_components"]

#: Version of the hook contract that this plugin was written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_components() -> list[Component]:
    """Offer the component. Its target is imported when it is first used."""
    return [
        Component(
            name="acme-plugin",
            target="acme_sample.component:AcmeSample",
            summary="acme-summary",
        )
    ]
