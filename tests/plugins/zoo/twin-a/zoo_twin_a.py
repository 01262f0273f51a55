"""Has the entry-point name of another distribution (a)."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    return [Component("twin-a", "zoo_twin_a:make")]
