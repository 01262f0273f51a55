"""Hook implementations of the plugin ``local``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_language_models"]


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
