"""Tracking of executions and optimizations in MLflow.

Names are imported when they are first used; none of them brings mlflow into the process of a host that only tracks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_mlflow.autologging import autolog
    from hokusai_mlflow.content_policy import RedactionWarning
    from hokusai_mlflow.delivery_supervisor import TrackingWarning
    from hokusai_mlflow.loading import load_executions
    from hokusai_mlflow.options import TrackingOptions
    from hokusai_mlflow.pyfunc import log_pyfunc
    from hokusai_mlflow.registry import LoggedOptimization, Trial, load_signature, log_optimization
    from hokusai_mlflow.tracker import MlflowTracker

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


if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            f"{__name__}.autologging": ("autolog",),
            f"{__name__}.content_policy": ("RedactionWarning",),
            f"{__name__}.delivery_supervisor": ("TrackingWarning",),
            f"{__name__}.loading": ("load_executions",),
            f"{__name__}.options": ("TrackingOptions",),
            f"{__name__}.pyfunc": ("log_pyfunc",),
            f"{__name__}.registry": ("LoggedOptimization", "Trial", "load_signature", "log_optimization"),
            f"{__name__}.tracker": ("MlflowTracker",),
        },
    )
