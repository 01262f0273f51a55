"""OpenTelemetry spans and metrics of Hokusai executions, after the GenAI conventions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_otel.own_exporters import TelemetryWarning
    from hokusai_otel.tracker import OtelTracker

__all__ = ["OtelTracker", "TelemetryWarning"]

_MODULES = {"OtelTracker": "hokusai_otel.tracker", "TelemetryWarning": "hokusai_otel.own_exporters"}


def __getattr__(name: str) -> Any:
    # The hooks are imported by every program that lists plugins, and OpenTelemetry only where the tracker is used.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
