"""Refuses some executions."""

from __future__ import annotations

from hokusai_core import hookimpl


@hookimpl
def check_execution(inputs):
    if "secret" in inputs:
        raise PermissionError("not with secrets")
