"""The writer's side: delivers spooled executions to MLflow. Only ``mlflow_*`` modules import mlflow."""

from __future__ import annotations

__all__: list[str] = []
