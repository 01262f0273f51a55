"""Every Hokusai signature and chain as a typed tool of the Model Context Protocol."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_mcp.http_transport import http_app
    from hokusai_mcp.tool_server import ToolServer

__all__ = ["ToolServer", "http_app"]

_MODULES = {"ToolServer": "hokusai_mcp.tool_server", "http_app": "hokusai_mcp.http_transport"}


def __getattr__(name: str) -> Any:
    # The hooks are imported by every program that lists plugins, and the SDK only where tools are served.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
