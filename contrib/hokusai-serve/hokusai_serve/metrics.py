"""ServerMetrics: figures of a server in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from hokusai_core.types import ExecutionResult

__all__ = ["CONTENT_TYPE_LATEST", "ServerMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class ServerMetrics:
    """Counts requests and executions. Labels are routes and served signatures, so their number is bounded."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("hokusai_requests_total", "Requests", ("route", "method", "status"), registry=registry)
        self._seconds = Histogram(
            "hokusai_request_seconds", "Seconds of requests", ("route",), buckets=_SECONDS, registry=registry
        )
        self._executions = Counter(
            "hokusai_executions_total", "Executions that succeeded", ("signature", "cached"), registry=registry
        )
        self._tokens = Counter("hokusai_tokens_total", "Tokens", ("signature", "direction"), registry=registry)
        self._cost = Counter("hokusai_cost_dollars_total", "Known cost", ("signature",), registry=registry)

    def watch(self, name: str, summary: str, value: Callable[[], float]) -> None:
        """Show what ``value`` returns as a gauge."""
        Gauge(name, summary, registry=self._registry).set_function(value)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH") else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def execution(self, result: ExecutionResult) -> None:
        """Count an execution."""
        self._executions.labels(result.signature, result.cached or "no").inc()
        self._tokens.labels(result.signature, "input").inc(result.usage.input_tokens)
        self._tokens.labels(result.signature, "output").inc(result.usage.output_tokens)
        if result.cost:
            self._cost.labels(result.signature).inc(result.cost)

    def text(self) -> bytes:
        """Return the figures."""
        return generate_latest(self._registry)
