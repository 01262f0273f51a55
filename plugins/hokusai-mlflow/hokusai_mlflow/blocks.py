"""Delivers what ran inside ``with mlflow.start_run():`` before the block is left.

When a run ends, MLflow takes the run's entry out of ``mlflow.tracking.fluent.run_id_to_system_metrics_monitor`` and
calls its ``finish``, on the thread that ends the run. That is how its own system metrics are complete when a block is
left, and it is the one place where others can be, too: no function is replaced, and runs that Hokusai has no part in
are not touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["watch_end"]


class _BlockEnd:
    """Stands in MLflow's registry of things to finish when a run ends."""

    def __init__(self, run_id: str, before: Any, deliver: Callable[[str], None]) -> None:
        self._run_id, self._before, self._deliver = run_id, before, deliver

    def finish(self) -> None:
        """Finish what was registered for the run before, then deliver."""
        try:
            if self._before is not None:
                self._before.finish()
        finally:
            self._deliver(self._run_id)


def watch_end(run_id: str, deliver: Callable[[str], None]) -> bool:
    """Have ``deliver`` called with ``run_id`` when the host's run ends.

    Args:
        run_id: an active run.
        deliver: called on the thread that ends the run; must not raise.

    Returns:
        Whether it will be called; False where this version of MLflow has no such registry.
    """
    fluent = sys.modules.get("mlflow.tracking.fluent")
    registry = getattr(fluent, "run_id_to_system_metrics_monitor", None)
    if not isinstance(registry, dict):
        return False
    present = registry.get(run_id)
    if not isinstance(present, _BlockEnd):
        registry[run_id] = _BlockEnd(run_id, present, deliver)
    return True
