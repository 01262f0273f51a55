"""Observes."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def on_execution_finished(event):
    event.append("seen")
