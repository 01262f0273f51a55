"""Tracking of executions and optimizations in MLflow.

Names are imported when they are first used; none of them brings mlflow into the process of a host that only tracks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hokusai_mlflow.autologging import autolog
    from hokusai_mlflow.content_policy import RedactionWarning
    from hokusai_mlflow.delivery_supervisor import TrackingWarning
    from hokusai_mlflow.loading import load_executions
    from hokusai_mlflow.options import TrackingOptions
    from hokusai_mlflow.pyfunc import log_pyfunc
    from hokusai_mlflow.registry import LoggedOptimization, Trial, load_signature, log_optimization
    from hokusai_mlflow.tracker import MlflowTracker

_HOME: Final = {
    "LoggedOptimization": "registry",
    "MlflowTracker": "tracker",
    "RedactionWarning": "content_policy",
    "TrackingOptions": "options",
    "TrackingWarning": "delivery_supervisor",
    "Trial": "registry",
    "autolog": "autologging",
    "load_executions": "loading",
    "load_signature": "registry",
    "log_optimization": "registry",
    "log_pyfunc": "pyfunc",
}

__all__ = [
    "LoggedOptimization",
    "MlflowTracker",
    "RedactionWarning",
    "TrackingOptions",
    "TrackingWarning",
    "Trial",
    "autolog",
    "load_executions",
    "load_signature",
    "log_optimization",
    "log_pyfunc",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'hokusai_mlflow' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hokusai_mlflow.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
