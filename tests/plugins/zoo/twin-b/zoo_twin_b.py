"""Has the entry-point name of another distribution (b)."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    return [Component("twin-b", "zoo_twin_b:make")]
