"""Returns something else than a list."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def provide_caches():
    return "a cache"


@hookimpl
def provide_trackers():
    return 42
