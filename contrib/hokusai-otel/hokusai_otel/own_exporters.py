"""Providers of this plugin's own, for programs that set up none: OTLP over HTTP, as the variables ``OTEL_...`` say."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from requests.adapters import HTTPAdapter

__all__ = ["OwnExporters", "TelemetryWarning"]

#: Loggers of the SDK that repeat, for each batch, what this plugin says once.
_NOISY: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)
#: Seconds that closing waits for a collector that was out of reach at the last try.
_SHORT: Final = 0.5


class TelemetryWarning(UserWarning):
    """Spans and metrics do not reach the collector; executions go on."""


class OwnExporters:
    """A tracer provider and a meter provider that export to a collector.

    They are not made the providers of the process, which are for the program to choose.

    ``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` may be ``otlp`` or ``none``. The SDK reads the rest.
    """

    def __init__(self) -> None:
        self.health = Health()
        self._quiet = _Quiet(self.health)
        for name in _NOISY:
            logging.getLogger(name).addFilter(self._quiet)
        self._exporters: list[_SpanExporter | _MetricExporter] = []
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        if _is_on("OTEL_TRACES_EXPORTER"):
            spans = _SpanExporter(self._session(), self.health)
            self._exporters.append(spans)
            self.tracer_provider.add_span_processor(_QuietSpanProcessor(spans, self.health))
        readers = []
        if _is_on("OTEL_METRICS_EXPORTER"):
            metrics = _MetricExporter(self._session(), self.health)
            self._exporters.append(metrics)
            readers.append(PeriodicExportingMetricReader(metrics))
        self.meter_provider = MeterProvider(readers, shutdown_on_exit=False)

    def flush(self, timeout: float | None) -> bool:
        """Export what there is; return whether that was done within ``timeout`` seconds."""
        health = self.health
        failures = health.failures

        def export() -> None:
            with health.exporting():
                self.tracer_provider.force_flush()
                self.meter_provider.force_flush()

        thread = _begin(export)
        thread.join(timeout)
        return not thread.is_alive() and health.failures == failures and not health.backlog

    def close(self, timeout: float) -> None:
        """Export what there is, for ``timeout`` seconds at most, and end the threads."""
        health = self.health

        def end() -> None:
            with health.exporting():
                self.tracer_provider.shutdown()
                self.meter_provider.shutdown()

        thread = _begin(end)
        began = time.monotonic()
        while thread.is_alive() and time.monotonic() < began + (_SHORT if health.out_of_reach else timeout):
            thread.join(0.01)
        health.closed = True
        if thread.is_alive():
            for exporter in self._exporters:
                exporter.shutdown()  # ends its waiting for another try
            thread.join(_SHORT)
        if not thread.is_alive():
            for name in _NOISY:
                logging.getLogger(name).removeFilter(self._quiet)

    def _session(self) -> Any:
        if any(name.startswith("OTEL_PYTHON_EXPORTER_OTLP_HTTP_") for name in os.environ):
            return None  # the program has a session of its own, with its credentials
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _WatchedAdapter(self.health))
        return session


class Health:
    """What became of the exports of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.endpoint = _endpoint()
        self.ended = self.exported = self.dropped = self.failures = 0
        self.last_error: str | None = None
        self.out_of_reach = self.closed = False
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._warned = False

    @property
    def backlog(self) -> int:
        """Spans that ended and wait."""
        return max(0, self.ended - self.exported - self.dropped)

    def exporting(self) -> Any:
        """Return a context manager: in it, this thread's messages of the SDK are left to ``failed``."""
        return _Flag(self._thread)

    @property
    def inside(self) -> bool:
        """Whether this thread exports."""
        return getattr(self._thread, "depth", 0) > 0

    def reached(self) -> None:
        """Note that the collector answered."""
        self.out_of_reach = False

    def failed(self, cause: str) -> None:
        """Note a failed export, and warn of the first."""
        with self._lock:
            self.failures += 1
            self.last_error, self.out_of_reach = cause, True
            first, self._warned = not self._warned and not self.closed, True
        if first:
            warnings.warn(
                f"spans and metrics do not reach {self.endpoint} ({cause}); executions go on, and "
                "what does not arrive is dropped. See whether the collector runs, and OTEL_EXPORTER_OTLP_ENDPOINT",
                TelemetryWarning,
                stacklevel=2,
            )

    def count(self, *, exported: int = 0, dropped: int = 0) -> None:
        """Count spans."""
        with self._lock:
            self.exported += exported
            self.dropped += dropped


class _Flag:
    def __init__(self, thread: threading.local) -> None:
        self._thread = thread

    def __enter__(self) -> None:
        self._thread.depth = getattr(self._thread, "depth", 0) + 1

    def __exit__(self, *_exception: object) -> None:
        self._thread.depth -= 1


class _Quiet(logging.Filter):
    """Leaves out what the SDK logs while this plugin's own exporters work."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self._health = health

    def filter(self, record: logging.LogRecord) -> bool:
        return not self._health.inside


class _WatchedAdapter(HTTPAdapter):
    """Sends requests, and notes at once what became of each: the exporter tells it after its last retry."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self._health = health

    def send(self, *arguments: Any, **options: Any) -> Any:
        try:
            response = super().send(*arguments, **options)
        except requests.RequestException as error:
            self._health.failed(type(error).__name__)
            raise
        if response.ok:
            self._health.reached()
        else:
            self._health.failed(f"HTTP status {response.status_code}")
        return response


class _QuietSpanProcessor(BatchSpanProcessor):
    """Exports in batches, on a thread; counts what ends, and what finds the queue full."""

    def __init__(self, exporter: SpanExporter, health: Health) -> None:
        super().__init__(exporter)
        self._health = health

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._health.ended += 1
        with self._health.exporting():
            super().on_end(span)


class _SpanExporter(OTLPSpanExporter):
    """Exports nothing that a forked process has inherited: its parent exports that."""

    def __init__(self, session: Any, health: Health) -> None:
        super().__init__(session=session)
        self._health, self._over = health, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        health = self._health
        if os.getpid() != health.pid:
            return SpanExportResult.SUCCESS
        with health.exporting():
            result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            health.count(exported=len(spans))
        else:
            health.count(dropped=len(spans))
        return result

    def shutdown(self) -> None:
        over, self._over = self._over, True
        if not over:
            with self._health.exporting():
                super().shutdown()  # type: ignore[no-untyped-call]  # of the SDK


class _MetricExporter(OTLPMetricExporter):
    """Does for metrics what ``_SpanExporter`` does for spans."""

    def __init__(self, session: Any, health: Health) -> None:
        super().__init__(session=session)
        self._health, self._over = health, False

    def export(self, metrics_data: Any, timeout_millis: float | None = 10_000, **options: Any) -> MetricExportResult:
        if os.getpid() != self._health.pid:
            return MetricExportResult.SUCCESS
        with self._health.exporting():
            return super().export(metrics_data, timeout_millis, **options)

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        over, self._over = self._over, True
        if not over:
            with self._health.exporting():
                super().shutdown(timeout_millis, **options)


def _begin(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, name="hokusai-otel-flush", daemon=True)
    thread.start()
    return thread


def _is_on(variable: str) -> bool:
    chosen = os.environ.get(variable, "").strip().lower() or "otlp"
    if chosen not in ("otlp", "none"):
        warnings.warn(
            f"{variable}={chosen!r}: this plugin exports by otlp (http/protobuf) or none; otlp is used. For anything "
            "else, set up a provider in the program, which is then used",
            TelemetryWarning,
            stacklevel=4,
        )
    return chosen != "none" and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def _endpoint() -> str:
    """Return where spans go, without what may be credentials."""
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
    parts = urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{base.rstrip('/')}/v1/traces")
    try:
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
