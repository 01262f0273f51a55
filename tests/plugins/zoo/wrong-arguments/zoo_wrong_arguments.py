"""Implements a hook with an argument that it does not have."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def on_execution_finished(event, weather):
    pass
