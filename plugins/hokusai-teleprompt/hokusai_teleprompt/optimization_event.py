"""The event by which trackers hear of an optimization."""

from __future__ import annotations

import secrets
import time

from hokusai_core.plugin_api import OptimizationFinished
from hokusai_teleprompt.optimized_signature import OptimizedSignature
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["optimization_event"]


def optimization_event(
    target: TargetSignature, optimized: type[OptimizedSignature], started_at: float
) -> OptimizationFinished:
    """Return the event; where a field is sensitive, nothing of what was learned from examples is in it.

    Args:
        target: what was to be improved.
        optimized: what came of it.
        started_at: seconds since the epoch.
    """
    spec, report = target.spec, optimized.report
    return OptimizationFinished(
        optimization_id=secrets.token_hex(16),
        signature=target.name,
        signature_version=spec.version,
        fingerprint=spec.fingerprint,
        promoted=optimized.promoted,
        figures=report.figures(),
        document=None if spec.sensitive else optimized.artifact.to_dict(),
        usage=report.usage,
        cost=report.cost,
        latency=time.time() - started_at,
        started_at=started_at,
    )
