"""Hook implementations of the plugin ``local``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_language_models"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_language_models() -> list[Component]:
    """Offer the embedded language model under the name ``local``."""
    return [
        Component(
            name="local",
            target="hokusai_local.provider:LocalProvider",
            summary="Embedded llama.cpp with small instruct weights: no key, no network",
            capabilities=("embedded",),
        )
    ]
