"""The component of this plugin: the command ``hokusai mcp``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_commands"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai mcp``."""
    return [
        Component(
            name="mcp",
            target="hokusai_mcp.commands:mcp",
            summary="Serve signatures and chains as tools of the Model Context Protocol",
            requires=("click",),
        )
    ]
