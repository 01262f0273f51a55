"""OtelTracker: a span for each execution, batch and chain, and the metrics of the GenAI conventions."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.propagate import get_global_textmap
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import fork_callbacks
from hokusai_otel.conventions import (
    content_attributes,
    execution_attributes,
    exportable,
    metric_attributes,
    operation_attributes,
    span_name,
)
from hokusai_otel.telemetry import Telemetry

if TYPE_CHECKING:
    from hokusai_core.plugin_api import (
        EvaluationFinished,
        ExecutionFinished,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        OutcomeRecorded,
        TrackedEvent,
    )

__all__ = ["OtelTracker"]

_NANO: Final = 1_000_000_000
#: Executions whose spans feedback is linked to.
_REMEMBERED: Final = 10_000
#: Seconds that the end of a process waits for the collector.
_AT_EXIT: Final = 2.0


class OtelTracker:
    """Records executions with OpenTelemetry.

    The span of an execution is the parent of what happens inside its call, such as the spans of an instrumented HTTP
    client, and a child of the span that is current where the execution was asked for. Spans and metrics go to the
    providers that the program has set; without any, to the collector of ``OTEL_EXPORTER_OTLP_ENDPOINT``. They wait in
    memory until they are exported: a process that is killed takes them along.

    Args:
        content: whether spans hold inputs, outputs, prompts, answers and messages of errors; values of sensitive fields
            are hidden also then. Left out, ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``, else not.
        close_timeout: seconds that ``close`` waits for the collector at most.
        tracer_provider: where spans go; left out, the provider that the program has set, else the collector.
        meter_provider: where metrics go; left out, as for spans.

    Raises:
        ConfigurationError: an argument has a value that cannot be used.

    Example::

        with Executor(trackers={"otel": OtelTracker()}) as executor:
            executor.execute_signature("EmailDraft", inputs)
    """

    def __init__(
        self,
        *,
        content: bool | None = None,
        close_timeout: float = 5.0,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if not 0 <= close_timeout <= 300:
            raise ConfigurationError(f"close_timeout={close_timeout!r}: expected 0 to 300 seconds")
        self._content = _captures_content() if content is None else bool(content)
        self._close_timeout = close_timeout
        self._providers = tracer_provider, meter_provider
        self._begin()
        fork_callbacks.add(self._begin)
        self._at_exit: Callable[[], None] | None = None
        self._records: dict[str, Callable[[Telemetry, Any], None]] = {
            "ExecutionFinished": self._record_execution,
            "OperationFinished": self._record_operation,
            "FeedbackGiven": self._record_feedback,
            "OutcomeRecorded": self._record_outcome,
            "OptimizationFinished": self._record_optimization,
            "EvaluationFinished": self._record_evaluation,
        }

    def _begin(self) -> None:
        """Make what belongs to one process; a child process exports nothing that its parent has recorded."""
        self._inherited = getattr(self, "_telemetry", None)
        self._telemetry: Telemetry | None = None
        self._lock = threading.Lock()
        #: Spans under way, by the id of the execution or operation.
        self._open: dict[str, trace.Span] = {}
        self._contexts: OrderedDict[str, trace.SpanContext] = OrderedDict()
        self._accepted = 0

    @property
    def wants_exchanges(self) -> bool:
        """Whether events are to carry prompts and raw answers."""
        return self._content

    # -- spans that are current while work is done ----------------------------------------------------------------

    def begin_execution(self, execution_id: str, signature: str) -> None:
        """Start the span of an execution, and make it the current one in this context, which is the execution's own."""
        telemetry = self._telemetry or self._make_telemetry()
        span = telemetry.tracer.start_span(
            f"chat {signature}",
            _parent(),
            SpanKind.CLIENT,
            {"gen_ai.operation.name": "chat", "hokusai.signature": signature, "hokusai.execution_id": execution_id},
        )
        self._open[execution_id] = span
        otel_context.attach(trace.set_span_in_context(span))

    @contextmanager
    def anchor_operation(self, operation_id: str, kind: str, name: str) -> Iterator[None]:
        """Start the span of a batch, chain, pipeline or group of tasks, which is current inside."""
        telemetry = self._telemetry or self._make_telemetry()
        span = telemetry.tracer.start_span(
            f"{kind} {name}", _parent(), SpanKind.INTERNAL, {"gen_ai.operation.name": "invoke_workflow"}
        )
        self._open[operation_id] = span
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            otel_context.detach(token)

    # -- events ---------------------------------------------------------------------------------------------------

    def record(self, event: TrackedEvent) -> None:
        """Record one event; an event of an unknown class is ignored."""
        record = self._records.get(type(event).__name__)
        if record is not None:
            self._accepted += 1
            record(self._telemetry or self._make_telemetry(), event)

    def _record_execution(self, telemetry: Telemetry, event: ExecutionFinished) -> None:
        span = self._open.pop(event.execution_id, None)
        begun = span is not None
        if span is None:  # answered from memory, or begun in another process
            kind = SpanKind.CLIENT if event.cached is None else SpanKind.INTERNAL
            span = telemetry.tracer.start_span("chat", _parent(), kind, start_time=_nanoseconds(event.started_at))
        if span.is_recording():
            span.update_name(span_name(event))
            attributes = execution_attributes(event)
            if self._content:
                attributes |= content_attributes(event)
            span.set_attributes(exportable(attributes))
            self._add_attempts(telemetry, span, event)
            self._remember(event.execution_id, span)
        self._end(span, event, None if begun else event.started_at + event.latency)
        attributes = metric_attributes(event)
        telemetry.executions.add(1, {**attributes, "hokusai.cached": event.cached or "none"})
        if event.cached is None:
            telemetry.duration.record(event.latency, attributes)
            if event.usage.calls:
                telemetry.tokens.record(event.usage.input_tokens, {**attributes, "gen_ai.token.type": "input"})
                telemetry.tokens.record(event.usage.output_tokens, {**attributes, "gen_ai.token.type": "output"})
            if event.cost:
                telemetry.cost.add(event.cost, attributes)

    def _add_attempts(self, telemetry: Telemetry, span: trace.Span, event: ExecutionFinished) -> None:
        """Add a span for each try of an execution with several tries or with a strategy."""
        if len(event.attempts) < 2 and event.strategy is None:
            return
        times = [stage for stage in event.stages if stage.name == "language_model"]
        within = trace.set_span_in_context(span)
        label = "attempt" if event.strategy is None else f"strategy {event.strategy.get('name', '')}"
        for attempt, stage in zip(event.attempts, times, strict=False):
            began = event.started_at + stage.started
            child = telemetry.tracer.start_span(
                f"{label} {attempt.number}" if event.strategy is None else label,
                within,
                SpanKind.INTERNAL,
                {
                    "hokusai.kind": "attempt" if event.strategy is None else "strategy",
                    "hokusai.attempt": attempt.number,
                    "hokusai.outcome": attempt.outcome,
                    "hokusai.model": attempt.model,
                    "hokusai.calls": attempt.usage.calls,
                    "hokusai.input_tokens": attempt.usage.input_tokens,
                    "hokusai.output_tokens": attempt.usage.output_tokens,
                },
                start_time=_nanoseconds(began),
            )
            if attempt.outcome != "ok":
                child.set_attribute("error.type", (attempt.error or attempt.outcome).partition(":")[0])
                child.set_status(Status(StatusCode.ERROR))
            child.end(_nanoseconds(began + stage.duration))

    def _record_operation(self, telemetry: Telemetry, event: OperationFinished) -> None:
        span = self._open.pop(event.operation_id, None)
        begun = span is not None
        if span is None:
            span = telemetry.tracer.start_span("", _parent(), start_time=_nanoseconds(event.started_at))
        if span.is_recording():
            span.update_name(f"{event.kind} {event.name}")
            span.set_attributes(exportable(operation_attributes(event)))
        self._end(span, event, None if begun else event.started_at + event.latency)

    def _record_feedback(self, telemetry: Telemetry, event: FeedbackGiven) -> None:
        self._record_score(telemetry, event, "rating", event.rating, event.given_at, {"hokusai.drawn": event.drawn})

    def _record_outcome(self, telemetry: Telemetry, event: OutcomeRecorded) -> None:
        more = {"hokusai.higher_is_better": event.higher_is_better}
        self._record_score(telemetry, event, event.name, event.value, event.recorded_at, more)

    def _record_score(
        self,
        telemetry: Telemetry,
        event: FeedbackGiven | OutcomeRecorded,
        name: str,
        value: float,
        at: float,
        more: Mapping[str, Any],
    ) -> None:
        """Record what was said of an execution later, linked to the span of that execution if that is still known."""
        execution = self._contexts.get(event.execution_id)
        kind = "feedback" if name == "rating" else "outcome"
        attributes = {
            "hokusai.kind": kind,
            "hokusai.execution_id": event.execution_id,
            "hokusai.signature": event.signature,
            "gen_ai.evaluation.name": name,
            "gen_ai.evaluation.score.value": float(value),
            "hokusai.source": event.source,
            **more,
        }
        comment = getattr(event, "comment", None)
        if self._content and comment:
            attributes["gen_ai.evaluation.explanation"] = comment
        links = [] if execution is None else [Link(execution)]
        span = telemetry.tracer.start_span(
            f"{kind} {event.signature}", _parent(), SpanKind.INTERNAL, exportable(attributes), links, _nanoseconds(at)
        )
        span.end(_nanoseconds(at))

    def _record_optimization(self, telemetry: Telemetry, event: OptimizationFinished) -> None:
        figures = event.figures
        self._record_run(
            telemetry,
            f"optimize {event.signature}",
            event,
            {
                "hokusai.kind": "optimization",
                "hokusai.signature": event.signature,
                "hokusai.promoted": event.promoted,
                "hokusai.optimizer": str(figures.get("optimizer", "")),
                "hokusai.calls": event.usage.calls,
            },
        )

    def _record_evaluation(self, telemetry: Telemetry, event: EvaluationFinished) -> None:
        self._record_run(
            telemetry,
            f"evaluate {event.target}",
            event,
            {
                "hokusai.kind": "evaluation",
                "hokusai.target": event.target,
                "gen_ai.evaluation.name": event.metric,
                "hokusai.digest": event.digest,
            },
        )

    @staticmethod
    def _record_run(
        telemetry: Telemetry,
        name: str,
        event: OptimizationFinished | EvaluationFinished,
        attributes: dict[str, Any],
    ) -> None:
        if event.cost is not None:
            attributes["hokusai.cost"] = event.cost
        began = event.started_at
        span = telemetry.tracer.start_span(
            name, _parent(), SpanKind.INTERNAL, exportable(attributes), start_time=_nanoseconds(began)
        )
        span.end(_nanoseconds(began + event.latency))

    def _end(self, span: trace.Span, event: ExecutionFinished | OperationFinished, at: float | None) -> None:
        if event.status == "failed":
            # The message may quote an answer.
            said = exportable({"": (event.error if self._content else event.error_type) or ""})[""]
            span.set_status(Status(StatusCode.ERROR, said))
        span.end(None if at is None else _nanoseconds(at))

    def _remember(self, execution_id: str, span: trace.Span) -> None:
        with self._lock:
            self._contexts[execution_id] = span.get_span_context()
            if len(self._contexts) > _REMEMBERED:
                self._contexts.popitem(last=False)

    # -- the rest -------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Export what was recorded.

        Args:
            timeout: seconds to wait at most, None for as long as it takes.

        Returns:
            Whether the collector, or the host's exporter, has all of it.
        """
        telemetry = self._telemetry
        return True if telemetry is None else telemetry.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of ``flush``."""
        return await asyncio.to_thread(self.flush, timeout)

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, and of this plugin's own exporter what became of the spans."""
        telemetry = self._telemetry
        figures = {"delivered": 0, "backlog": 0, "last_error": None}
        return {
            "accepted": self._accepted,
            "under_way": len(self._open),
            "content": self._content,
            **(figures if telemetry is None else telemetry.figures(self._accepted)),
        }

    def close(self) -> None:
        """Export what was recorded, for ``close_timeout`` seconds at most; calling it twice is harmless."""
        self._close(self._close_timeout)

    def _close(self, timeout: float) -> None:
        with self._lock:
            telemetry, self._telemetry = self._telemetry, None
            at_exit, self._at_exit = self._at_exit, None
            under_way, self._open = list(self._open.values()), {}
        if at_exit is not None:
            atexit.unregister(at_exit)
        for span in under_way:  # of work that never came to its end
            span.end()
        if telemetry is not None:
            telemetry.close(timeout)

    def _make_telemetry(self) -> Telemetry:
        with self._lock:
            if self._telemetry is None:
                self._telemetry = Telemetry(*self._providers)
                if self._telemetry.own is not None:
                    self._at_exit = _closer(self)
                    atexit.register(self._at_exit)
            return self._telemetry


def _closer(tracker: OtelTracker) -> Callable[[], None]:
    """Return what closes a tracker that the program has forgotten to close, when the process ends."""
    reference, pid = weakref.ref(tracker), os.getpid()

    def close() -> None:
        known = reference()
        if known is not None and os.getpid() == pid:
            known._close(min(_AT_EXIT, known._close_timeout))

    return close


def _parent() -> otel_context.Context:
    """Return the context that a span begins in: the current one, else the one of the variables of the process."""
    current = otel_context.get_current()
    if trace.get_current_span(current).get_span_context().is_valid or "TRACEPARENT" not in os.environ:
        return current
    carrier = {name.lower(): os.environ[name] for name in ("TRACEPARENT", "TRACESTATE") if name in os.environ}
    return get_global_textmap().extract(carrier, current)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANO)


def _captures_content() -> bool:
    chosen = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower()
    return chosen in ("true", "span_only", "span_and_event")
