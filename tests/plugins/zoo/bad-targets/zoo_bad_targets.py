"""Offers components whose targets cannot be used."""

from __future__ import annotations

from hokusai_core import Component, hookimpl


@hookimpl
def provide_caches():
    return [
        Component("no-module", "zoo_nowhere.cache:Cache"),
        Component("no-attribute", "zoo_bad_targets:mak"),
        Component("raises", "zoo_bad_targets:make"),
        Component("no-factory", "zoo_bad_targets:SETTINGS"),
        Component("needs-more", "zoo_bad_targets:need_more", requires=("yonder-store>=2", "attrs")),
    ]


SETTINGS = {"size": 1}


def make():
    raise ZeroDivisionError("no luck")


def need_more():
    import yonder_store

    return yonder_store
