"""Fails after it has offered something."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    yield Component("early", dict)
    raise RuntimeError("half way")
