"""The markers of the hook contract; with the plugin manager the only place that touches pluggy."""

from __future__ import annotations

import pluggy

__all__ = ["HOOK_API", "PROJECT", "hookimpl", "hookspec"]

#: Name of the pluggy project and of the entry-point group.
PROJECT = "hokusai"

#: Version of the hook contract. A plugin module that was written for a newer contract says so with
#: ``HOKUSAI_HOOK_API = 2`` and is refused by an older core with a message instead of failing somewhere inside.
HOOK_API = 1

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function of a plugin module as an implementation of a hook.
hookimpl = pluggy.HookimplMarker(PROJECT)
