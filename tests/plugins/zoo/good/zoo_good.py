"""A plugin in which everything works."""

from __future__ import annotations

from hokusai_core import BaseSignature, Component, InputField, OutputField, hookimpl

HOKUSAI_HOOK_API = 1


class GoodText(BaseSignature):
    """Improve the text."""

    text: str = InputField("what to improve")
    better: str = OutputField("the improved text")


@hookimpl
def provide_signatures():
    yield GoodText


@hookimpl
def provide_caches():
    return [
        Component("box", "zoo_good_parts:Box", summary="a dict"),
        Component("picky", "zoo_good_parts:open_picky", summary="refuses what it is given"),
    ]


@hookimpl
def provide_commands():
    return [Component("shout", "zoo_good_parts:shout")]
