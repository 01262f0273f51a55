"""Prints when it is imported."""

from __future__ import annotations

from hokusai_core import Component, hookimpl

print("hello from the plugin")


@hookimpl
def provide_caches():
    return [Component("loud", dict)]
