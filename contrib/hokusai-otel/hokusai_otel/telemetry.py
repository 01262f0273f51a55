"""Telemetry: the tracer and the instruments that a process records with."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace

if TYPE_CHECKING:
    from hokusai_otel.own_exporters import OwnExporters

__all__ = ["Telemetry"]

_NAME: Final = "hokusai"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
#: The bounds of buckets that the conventions recommend.
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Telemetry:
    """The tracer and the instruments of one process.

    They are of the providers that the host gives or has set, else of providers of this plugin's own.

    Args:
        tracers: the host's tracer provider; left out, the one that the program has set.
        meters: the host's meter provider; left out, the one that the program has set.
    """

    def __init__(
        self, tracers: trace.TracerProvider | None = None, meters: metrics.MeterProvider | None = None
    ) -> None:
        self.pid = os.getpid()
        tracers, meters = tracers or trace.get_tracer_provider(), meters or metrics.get_meter_provider()
        self._host_tracers = None if isinstance(tracers, trace.ProxyTracerProvider) else tracers
        self._host_meters = None if type(meters).__name__ == "_ProxyMeterProvider" else meters
        self.own: OwnExporters | None = None
        if self._host_tracers is None:
            from hokusai_otel.own_exporters import OwnExporters  # takes a while, and most hosts have set up their own

            self.own = OwnExporters()
            tracers = self.own.tracer_provider
            if self._host_meters is None:
                meters = self.own.meter_provider
        version = importlib.metadata.version("hokusai-otel")
        self.tracer = tracers.get_tracer(_NAME, version, schema_url=_SCHEMA)
        meter = meters.get_meter(_NAME, version, schema_url=_SCHEMA)
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.executions = meter.create_counter(
            "hokusai.executions", unit="{execution}", description="Executions, answered by a model or from a cache."
        )
        self.cost = meter.create_counter("hokusai.cost", unit="{USD}", description="Estimated cost of executions.")

    def flush(self, timeout: float | None) -> bool:
        """Export what was recorded; return whether that was done within ``timeout`` seconds."""
        delivered = True if self.own is None else self.own.flush(timeout)
        return self._flush_host(timeout) and delivered

    def _flush_host(self, timeout: float | None) -> bool:
        """Have the host's providers export, on a thread: not every processor keeps to a timeout."""
        flushes = [
            flush
            for provider in (self._host_tracers, self._host_meters)
            if (flush := getattr(provider, "force_flush", None)) is not None
        ]
        if not flushes:
            return True
        done: list[bool] = []

        def work() -> None:
            flushed = [flush() is not False for flush in flushes]  # each of them, also after one that fails
            done.append(all(flushed))

        thread = threading.Thread(target=work, name="hokusai-otel-flush", daemon=True)
        thread.start()
        thread.join(timeout)
        return bool(done and done[0])

    def close(self, timeout: float) -> None:
        """Export what was recorded, for ``timeout`` seconds at most. Providers of the host stay as they are."""
        if self.own is not None:
            self.own.close(timeout)

    def figures(self, accepted: int) -> Mapping[str, Any]:
        """Return where spans go and what became of them."""
        if self.own is None:
            return {"exporter": "the host's", "delivered": accepted, "backlog": 0, "last_error": None}
        health = self.own.health
        return {
            "exporter": "own",
            "endpoint": health.endpoint,
            "delivered": health.exported,
            "dropped": health.dropped,
            "backlog": health.backlog,
            "last_error": health.last_error,
        }
