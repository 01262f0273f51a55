"""Statistics of an executor since it was created."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

from hokusai_core.process import fork_callbacks
from hokusai_core.results import Usage

__all__ = ["Stats"]

#: Latencies that quantiles are taken over.
_WINDOW = 2_048


class Stats:
    """Counts executions; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ok = 0
        self._failed: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()
        self._input_tokens = self._output_tokens = self._calls = 0
        self._cost = 0.0
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def hit(self, tier: str, latency: float) -> None:
        """Count an execution that a cache answered."""
        with self._lock:
            self._ok += 1
            self._cached[tier] += 1
            self._latencies.append(latency)

    def finished(self, usage: Usage, cost: float | None, latency: float, error: str | None = None) -> None:
        """Count an execution that called the language model; ``error`` is the class name where it failed."""
        with self._lock:
            if error is None:
                self._ok += 1
            else:
                self._failed[error] += 1
            self._calls += usage.calls
            self._input_tokens += usage.input_tokens
            self._output_tokens += usage.output_tokens
            self._cost += cost or 0.0
            self._latencies.append(latency)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as a JSON-able dict; latencies in seconds over the last 2,048 executions."""
        with self._lock:
            failed = sum(self._failed.values())
            latencies = sorted(self._latencies)
            executions = self._ok + failed
            return {
                "executions": executions,
                "succeeded": self._ok,
                "failed": failed,
                "success_rate": self._ok / executions if executions else None,
                "errors": dict(self._failed),
                "cache_hits": dict(self._cached),
                "language_model_calls": self._calls,
                "input_tokens": self._input_tokens,
                "output_tokens": self._output_tokens,
                "cost": self._cost,
                "latency": {
                    "mean": sum(latencies) / len(latencies) if latencies else None,
                    "median": _quantile(latencies, 0.5),
                    "p95": _quantile(latencies, 0.95),
                },
            }


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
