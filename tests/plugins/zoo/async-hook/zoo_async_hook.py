"""Implements a hook asynchronously."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
async def on_execution_finished(event):
    pass
