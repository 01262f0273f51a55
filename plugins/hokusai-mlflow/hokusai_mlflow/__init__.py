"""Tracking of executions and optimizations in MLflow."""

from __future__ import annotations

__all__: list[str] = []
