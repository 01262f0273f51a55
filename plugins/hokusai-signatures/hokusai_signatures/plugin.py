"""Hooks of the plugin ``signatures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import hookimpl

if TYPE_CHECKING:
    from hokusai_core import BaseSignature

__all__ = ["HOKUSAI_HOOK_API", "provide_signatures"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the pre-built signatures."""
    import hokusai_signatures as pack  # listing plugins and commands does without them

    return [getattr(pack, name) for name in pack.__all__]
