"""The component of this plugin: the backend ``ray``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_backends"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_backends() -> list[Component]:
    """Offer the backend."""
    return [
        Component(
            name="ray",
            target="hokusai_ray.backend:RayBackend",
            summary="Rows of batches on the workers of a Ray cluster",
        )
    ]
