"""Takes its time when it is imported."""

from __future__ import annotations

import time

from hokusai_core import Component, hookimpl

time.sleep(0.05)


@hookimpl
def provide_caches():
    return [Component("late", dict)]
