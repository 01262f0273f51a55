"""The tracker on a real collector: what arrives there, who is whose parent, and what a collector that is down costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.errors import ConfigurationError, ExecutionError
from hokusai_core.protocols import Tracker
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.trackers import TrackerConformance, make_event, make_failure, make_feedback
from hokusai_otel import OtelTracker, TelemetryWarning
from hokusai_otel.testing import Collector, ReceivedSpan


class TestOtelTracker(TrackerConformance):
    durable = False  # what was not exported is lost with the process
    fork_safe = False  # a child process exports what it has recorded itself, if it lives for long enough

    @pytest.fixture
    def make_tracker(self) -> Callable[[], Tracker]:
        return OtelTracker

    @pytest.fixture
    def read_executions(self, collector: Collector) -> Callable[[], Iterable[dict[str, Any]]]:
        def read() -> list[dict[str, Any]]:
            attributes = [span.attributes for span in collector.spans if span.attributes["hokusai.kind"] == "execution"]
            return [
                {name: one[f"hokusai.{name}"] for name in ("execution_id", "signature", "status")} for one in attributes
            ]

        return read


class Reply(BaseSignature):
    """Reply."""

    mail: str = InputField()
    password: str = InputField(sensitive=True)
    reply: str = OutputField()


@contextlib.contextmanager
def executing(tracker: OtelTracker, **options: Any) -> Iterator[Executor]:
    lm = options.pop("lm", None) or null_lm(answers={"answer": "fourty-two", "reply": "Dear Ada"})
    with Executor(**{"plugins": [], "lm": lm, "trackers": {"otel": tracker}, **options}) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.register_signature("Again", "answer -> reply")
        executor.register_signature("Reply", Reply)
        yield executor


def kinds(collector: Collector, kind: str) -> list[ReceivedSpan]:
    return [span for span in collector.spans if span.attributes["hokusai.kind"] == kind]


def test_an_execution_is_a_span_and_figures_in_the_names_of_the_conventions(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mails")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    tracker = OtelTracker()
    with executing(tracker) as executor:
        options: dict[str, Any] = {"parameters": {"temperature": 0.5, "max_tokens": 99}, "tags": {"team": "süd"}}
        result = executor.execute_signature("Ask", {"question": "Canary"}, **options)
        assert executor.execute_signature("Ask", {"question": "Canary"}, **options).cached == "memory"
        shown = str(tracker.status())
    asked, stored = collector.spans
    assert (asked.name, asked.kind, asked.parent_id, asked.failed) == ("chat model", "CLIENT", "", False)
    assert asked.resource["service.name"] == "mails"
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "null",
        "gen_ai.request.model": "model",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ["stop"],
        "hokusai.signature": "local/Ask",
        "hokusai.execution_id": result.execution_id,
        "hokusai.tag.team": "süd",
    }
    assert {name: asked.attributes[name] for name in wanted} == wanted
    assert (stored.kind, stored.attributes["hokusai.cached"]) == ("INTERNAL", "memory")
    assert not [name for name in stored.attributes if name.startswith("gen_ai.usage")]
    assert "Canary" not in str(collector.spans)
    (duration,) = collector.points("gen_ai.client.operation.duration")
    assert (duration.unit, duration.count) == ("s", 1)
    tokens = {
        point.attributes["gen_ai.token.type"]: point.total for point in collector.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": 10, "output": 5}
    assert {point.attributes["hokusai.cached"]: point.total for point in collector.points("hokusai.executions")} == {
        "none": 1,
        "memory": 1,
    }
    assert collector.headers["api-key"] == "sesame"
    assert collector.headers["Content-Encoding"] == "gzip"
    assert "sesame" not in shown


@pytest.mark.parametrize("asked", [True, False])
def test_content_is_there_only_if_asked_for_and_without_sensitive_values(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", str(asked))
    with executing(OtelTracker()) as executor:
        executor.execute_signature("Ask", {"question": "Canary"}, tags={"team": "\ud800"})
        executor.execute_signature("Reply", {"mail": "Canary", "password": "sesame"})
        broken = null_lm(raw="Canary")
        with pytest.raises(ExecutionError):
            executor.execute_signature("Ask", {"question": "?"}, lm=broken)
    question, reply, failed = collector.spans
    assert "sesame" not in str(collector.spans)
    assert ("Canary" in str(collector.spans)) is asked
    assert (failed.failed, failed.attributes["error.type"]) == (True, "OutputError")
    if asked:
        assert json.loads(question.attributes["gen_ai.input.messages"])[-1]["role"] == "user"
        (answer,) = json.loads(question.attributes["gen_ai.output.messages"])
        assert "fourty-two" in answer["parts"][0]["content"]
        assert answer["finish_reason"] == "stop"
        assert json.loads(question.attributes["gen_ai.system_instructions"])
        assert json.loads(reply.attributes["hokusai.inputs"])["mail"] == "Canary"


def test_spans_are_the_parents_of_what_happens_inside(collector: Collector) -> None:
    """The span of the host, of a batch or chain, of an execution, and of an HTTP client within it."""
    seen: list[trace.SpanContext] = []

    def answer(_prompt: str) -> str:
        seen.append(trace.get_current_span().get_span_context())  # whose child the span of an HTTP client would be
        return "42"

    lm = null_lm(answers={"answer": answer, "reply": "Dear Ada"})
    host = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
    with executing(OtelTracker(), lm=lm, timeout=30) as executor:

        async def awaited() -> None:
            await executor.aexecute_signature("Ask", {"question": "awaited"})
            await executor.aexecute_batch("Ask", [{"question": "abatch"}])

        token = otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(host)))
        executor.execute_signature("Ask", {"question": "alone"})
        executor.execute_batch("Ask", [{"question": "one"}, {"question": "two"}, {"question": "alone"}])
        list(executor.iter_batch("Ask", [{"question": "iterated"}]))
        executor.execute_async("Ask", {"question": "submitted"}).result()
        steps = SignatureChain("AskAgain", inputs=["question"]).add("Ask").add("Again", {"answer": "Ask.answer"})
        executor.execute_chain(steps, {"question": "chained"})
        asyncio.run(awaited())
        otel_context.detach(token)
        assert not trace.get_current_span().get_span_context().is_valid
    spans = {span.span_id: span for span in collector.spans}
    executions = kinds(collector, "execution")
    assert {span.trace_id for span in executions} == {f"{0xABC:032x}"}
    called = [
        span for span in executions if span.attributes["hokusai.signature"] == "local/Ask" and span.kind == "CLIENT"
    ]
    assert sorted(f"{context.span_id:016x}" for context in seen) == sorted(span.span_id for span in called)

    def parents(kind: str) -> list[str]:
        within = {span.span_id for span in kinds(collector, kind)}
        return [span.attributes["hokusai.signature"] for span in executions if span.parent_id in within]

    assert sorted(parents("batch")) == ["local/Ask"] * 5
    assert parents("chain") == ["local/Ask", "local/Again"]
    own = [span for span in spans.values() if span.parent_id == f"{0xDEF:016x}"]
    assert sorted(span.attributes["hokusai.kind"] for span in own) == ["batch"] * 3 + ["chain"] + ["execution"] * 3
    chain = kinds(collector, "chain")[0]
    assert chain.name == "chain AskAgain"
    assert chain.attributes["hokusai.executions"] == 2


def test_tries_and_strategies_are_children_of_their_execution(collector: Collector) -> None:
    with executing(OtelTracker(), lm=null_lm(fail_first=1), plugins=None) as executor:
        executor.execute_signature("Ask", {"question": "?"}, max_retries=2, retry_on_failure=True)
        executor.execute_signature("Ask", {"question": "?"}, strategy="chain_of_thought")
    first, second = kinds(collector, "execution")
    attempts = kinds(collector, "attempt")
    assert [(span.parent_id, span.failed) for span in attempts] == [(first.span_id, True), (first.span_id, False)]
    (strategy,) = kinds(collector, "strategy")
    assert (strategy.name, strategy.parent_id) == ("strategy chain_of_thought", second.span_id)
    assert (second.name, second.attributes["gen_ai.operation.name"]) == ("invoke_agent local/Ask", "invoke_agent")


def test_the_context_of_the_process_that_started_this_one_is_taken_over(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{0xABC:032x}-{0xDEF:016x}-01")
    tracker = OtelTracker()
    tracker.record(make_event())
    tracker.close()
    assert (collector.spans[0].trace_id, collector.spans[0].parent_id) == (f"{0xABC:032x}", f"{0xDEF:016x}")


def test_feedback_is_linked_to_the_span_of_its_execution(collector: Collector) -> None:
    tracker = OtelTracker()
    tracker.record(event := make_event())
    tracker.record(make_feedback(event.execution_id, comment="Canary"))
    tracker.close()
    (execution,), (feedback,) = kinds(collector, "execution"), kinds(collector, "feedback")
    assert feedback.links == (execution.span_id,)
    assert feedback.attributes["gen_ai.evaluation.score.value"] == 2.0
    assert "Canary" not in str(feedback)


def test_the_providers_of_the_host_are_used_where_there_are_any(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracker = OtelTracker()
    tracker.record(make_event())
    assert tracker.flush(10)
    assert tracker.status()["exporter"] == "the host's"
    tracker.close()
    assert [span.name for span in exporter.get_finished_spans()] == ["chat model"]
    tracker.record(make_event())  # the host's provider still works
    assert len(exporter.get_finished_spans()) == 2
    assert collector.spans == []


@pytest.mark.parametrize("fault", ["refused", "silent", "status"])
def test_a_collector_that_is_down_costs_one_warning(
    fault: str, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if fault == "silent":
            held.listen(5)
        if fault == "status":
            collector.status = 401
        else:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:sesame@127.0.0.1:{held.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tracker = OtelTracker(close_timeout=2.0)
            with executing(tracker, cache_enabled=False) as executor:
                for number in range(20):
                    executor.execute_signature("Ask", {"question": str(number)})
                    time.sleep(0.01)
                since = time.monotonic()
                assert not tracker.flush(0.2)
                assert time.monotonic() - since < 1.0
            assert time.monotonic() - since < 6.0
        messages = [str(one.message) for one in caught if one.category is TelemetryWarning]
    assert len(messages) == 1 or (fault == "silent" and not messages), messages
    assert "sesame" not in "".join(messages) + caplog.text + str(tracker.status())
    assert [record.name for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_what_ended_while_the_collector_was_down_is_dropped_and_the_rest_arrives(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.status = 400
    tracker = OtelTracker()
    tracker.record(make_event())
    with pytest.warns(TelemetryWarning, match="HTTP status 400"):
        assert not tracker.flush(10)
    collector.status = 200
    tracker.record(make_failure())
    assert tracker.flush(10)
    assert [span.attributes["hokusai.status"] for span in kinds(collector, "execution")] == ["failed"]
    assert (tracker.status()["dropped"], tracker.status()["delivered"]) == (1, len(collector.spans))
    tracker.close()


def test_a_forked_process_exports_what_it_records_and_nothing_twice(collector: Collector) -> None:
    tracker = OtelTracker()
    before, inside, after = make_event(), make_event(), make_event()
    tracker.record(before)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            tracker.record(inside)
            code = 0 if tracker.flush(20) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    tracker.record(after)
    tracker.close()
    arrived = sorted(span.attributes["hokusai.execution_id"] for span in collector.spans)
    assert arrived == sorted(event.execution_id for event in (before, inside, after))


def test_signals_can_be_switched_off(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    tracker = OtelTracker()
    tracker.record(make_event())
    tracker.close()
    assert collector.spans == []
    assert collector.points("hokusai.executions")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracker.record(make_event())
    assert tracker.flush(5)
    tracker.close()
    with pytest.raises(ConfigurationError, match="close_timeout"):
        OtelTracker(close_timeout=-1)
