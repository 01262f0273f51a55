"""The component of this plugin: the command ``hokusai serve``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_commands"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai serve``."""
    return [
        Component(
            name="serve",
            target="hokusai_serve.serve_command:serve",
            summary="Serve signatures over HTTP, with a page for people",
            requires=("click", "fastapi", "uvicorn"),
        )
    ]
