"""A collector on loopback for tests: takes OTLP over HTTP and decodes it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from attrs import frozen
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "Point", "ReceivedSpan"]


@frozen
class ReceivedSpan:
    """A span as it arrived.

    Args:
        name: its name.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_id: the ``span_id`` of its parent; empty for none.
        kind: ``INTERNAL``, ``CLIENT`` or another kind.
        attributes: what it says.
        links: the ``span_id`` of each span that it is linked to.
        failed: whether its status is an error.
        message: description of its status.
        started: nanoseconds since the epoch.
        ended: nanoseconds since the epoch.
        resource: what is said of the process.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    failed: bool
    message: str
    started: int
    ended: int
    resource: Mapping[str, Any]


@frozen
class Point:
    """A data point of a metric as it arrived.

    Args:
        metric: name of the metric.
        unit: its unit.
        attributes: what tells the point from others.
        count: how many values a histogram has; 1 for a counter.
        total: their sum, or the value of the counter.
    """

    metric: str
    unit: str
    attributes: Mapping[str, Any]
    count: int
    total: float


class Collector:
    """Takes spans and metrics on a free port of 127.0.0.1.

    Args:
        status: HTTP status that it answers with.

    Attributes:
        spans: every span, in the order of arrival.
        headers: the headers of the last request.

    Example::

        with Collector() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            ...
            assert [span.name for span in collector.spans] == ["chat model"]
    """

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[ReceivedSpan] = []
        self.headers: Mapping[str, str] = {}
        self._points: dict[tuple[str, tuple[tuple[str, str], ...]], Point] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base address, as ``OTEL_EXPORTER_OTLP_ENDPOINT`` has it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def points(self, metric: str) -> list[Point]:
        """Return the latest data points of a metric."""
        return [point for (name, _), point in self._points.items() if name == metric]

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.headers = dict(self.headers)
                if collector.status == 200:
                    collector._take(self.path, body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler

    def _take(self, path: str, body: bytes) -> None:
        if path.endswith("/v1/traces"):
            traces = ExportTraceServiceRequest.FromString(body)
            for part in traces.resource_spans:
                resource = _plain(part.resource.attributes)
                for scope in part.scope_spans:
                    self.spans += [_span(span, resource) for span in scope.spans]
        elif path.endswith("/v1/metrics"):
            metrics = ExportMetricsServiceRequest.FromString(body)
            for group in metrics.resource_metrics:
                for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                    self._take_metric(metric)

    def _take_metric(self, metric: Any) -> None:
        for point in metric.histogram.data_points:
            self._keep(Point(metric.name, metric.unit, _plain(point.attributes), point.count, point.sum))
        for point in metric.sum.data_points:
            value = point.as_int or point.as_double
            self._keep(Point(metric.name, metric.unit, _plain(point.attributes), 1, value))

    def _keep(self, point: Point) -> None:
        self._points[point.metric, tuple(sorted((name, str(value)) for name, value in point.attributes.items()))] = (
            point
        )


def _span(span: Any, resource: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        attributes=_plain(span.attributes),
        links=tuple(link.span_id.hex() for link in span.links),
        failed=span.status.code == 2,
        message=span.status.message,
        started=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        resource=resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
