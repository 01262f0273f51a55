"""Offers a component under a name that another plugin uses too (a)."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    return [Component("shared", dict, summary="a")]
