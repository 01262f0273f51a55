"""Observes and fails every time."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def on_execution_finished(event):
    event.append("faulty")
    raise RuntimeError("cannot observe")


@hookimpl
def on_feedback_given(event):
    raise SystemExit(3)
