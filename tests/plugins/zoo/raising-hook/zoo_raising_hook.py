"""Raises in one hook and works in another."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    raise SystemExit("no caches today")


@hookimpl
def provide_trackers():
    return [Component("steady", dict)]
