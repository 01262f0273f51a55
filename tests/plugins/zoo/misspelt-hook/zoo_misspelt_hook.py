"""Implements a hook that does not exist."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def provide_cachez():
    return []
