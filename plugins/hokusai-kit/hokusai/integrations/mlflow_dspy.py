"""Tracking in MLflow, for every executor of this process."""

from __future__ import annotations

from hokusai_mlflow import autolog

__all__ = ["autolog"]
