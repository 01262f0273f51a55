"""One plugin's implementation of one hook."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hokusai_core.plugins.catalog import Entry

__all__ = ["Listener"]


@frozen(eq=False)
class Listener:
    """A plugin that implements a hook.

    Args:
        entry: the plugin.
        call: pluggy's caller of the hook, narrowed to this plugin.
    """

    entry: Entry
    call: Any

    def ask(self) -> object:
        """Call a hook without arguments and return what the plugin returned."""
        results = self.call()
        return results[0] if results else None  # pluggy leaves None out
