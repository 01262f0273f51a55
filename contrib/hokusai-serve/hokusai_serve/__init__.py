"""An HTTP API and a page for people over Hokusai signatures.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_serve.app import create_app
    from hokusai_serve.limits import ServeLimits

__all__ = ["ServeLimits", "create_app"]


if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            f"{__name__}.app": ("create_app",),
            f"{__name__}.limits": ("ServeLimits",),
        },
    )
