"""Has a bad item among good ones."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    return [Component("kept", dict), "dropped", Component("twice", dict), Component("twice", list)]
