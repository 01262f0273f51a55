"""Makes traces of executions and operations, and writes many at a time.

Ids come from the execution's own, so a trace that is sent again is the same trace, and a seeded ``random`` in the host
makes no two of them alike. Sending the spans of many traces in one call costs MLflow's database layer a fifth of what
its own exporter pays for the same traces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from mlflow.entities import Assessment, TraceData, TraceInfo
from mlflow.entities.span import Span, SpanType
from mlflow.entities.trace_location import TraceLocation
from mlflow.entities.trace_state import TraceState
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from hokusai_mlflow.delivery.execution_table import trace_id_of
from hokusai_mlflow.delivery.mlflow_prompts import PromptLink, PromptVersions
from hokusai_mlflow.delivery.mlflow_runs import Target
from hokusai_mlflow.delivery.record_batch import TracePart
from hokusai_mlflow.delivery.trace_sampler import GROUPED

__all__ = ["interrupted", "span_id_of", "write_traces"]

_PREVIEW: Final = 1000
_TYPES: Final = {
    "language_model": SpanType.LLM,
    "cache_lookup": SpanType.RETRIEVER,
    "validate_inputs": SpanType.PARSER,
    "validate_outputs": SpanType.PARSER,
}
#: Tag of an execution -> where MLflow looks for it.
_PEOPLE: Final = {"user": "mlflow.trace.user", "session": "mlflow.trace.session"}
_RESOURCE: Final = Resource({"service.name": "hokusai"})


def write_traces(
    target: Target,
    parts: Sequence[TracePart],
    assessments: Mapping[str, Sequence[Assessment]] | None = None,
    *,
    prompts: PromptVersions | None = None,
) -> None:
    """Write traces, or parts of them; what is there already stays as it is.

    Args:
        target: the run that they belong to.
        parts: what becomes of executions and operations.
        assessments: id of an execution -> what is said of it from the beginning.
        prompts: the prompts that they are linked to; None to link none.
    """
    client = TracingClient(target.uri)
    spans: list[Span] = []
    links: list[tuple[str, PromptLink, bool]] = []
    for part in parts:
        link = _prompt_of(part, target, prompts)
        own = list(_spans(part, link))
        if link is not None:
            parent = part.record["id"] if part.role == "trace" else part.record["par"]
            links.append((trace_id_of(parent), link, part.role == "trace"))
        if part.role == "trace":
            info = _info(part.record, target, len(own))
            if link is not None:
                info.tags |= PromptVersions.tag_of(link)
            info.assessments = list((assessments or {}).get(part.record["id"], ()))
            client.start_trace(info)
        spans += own
    try:
        client.log_spans(target.experiment_id, spans)
    except (NotImplementedError, MlflowException) as error:
        # A server from before span tables keeps a trace's spans as an artifact.
        if isinstance(error, MlflowException) and error.error_code not in ("NOT_IMPLEMENTED", "ENDPOINT_NOT_FOUND"):
            raise
        for part in parts:
            if part.role == "trace":
                info = client.get_trace_info(trace_id_of(part.record["id"]))
                client._upload_trace_data(info, TraceData(spans=list(_spans(part))))
    if prompts is not None and links:
        prompts.link_traces(target, links)


def _prompt_of(part: TracePart, target: Target, prompts: PromptVersions | None) -> PromptLink | None:
    """Return the version of the prompt that an execution was asked by; a row of a batch has a trace of its own."""
    key = part.record.get("pr")
    if prompts is None or key is None or part.role == "row":
        return None
    return prompts.find(target, key, part.record["sig"])


def interrupted(operation_id: str, operation: Mapping[str, Any]) -> TracePart:
    """Return the trace of an operation whose process ended before it did."""
    record = {
        "k": "o",
        "id": operation_id,
        "kind": operation["kind"],
        "sig": "interrupted",
        "st": "failed",
        "t0": operation["began"],
        "lat": 0.0,
        "et": "Interrupted",
        "err": f"the process ended before this {operation['kind']} did",
        "u": (0, 0, 0),
        "cost": None,
        "n": 0,
        "bad": 0,
    }
    return TracePart("trace", record)


def span_id_of(trace_id: str, execution_id: str) -> str:
    """Return the id of the span that an execution or operation is in a trace."""
    return f"{_number(trace_id, execution_id, 0):016x}"


def _number(trace_id: str, identifier: str, count: int) -> int:
    # The same span of the same trace has the same id, whenever it is made.
    digest = hashlib.blake2b(f"{trace_id}/{identifier}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") or 1


def _info(record: Mapping[str, Any], target: Target, spans: int) -> TraceInfo:
    counted, cost = (record["u"], record["cost"]) if _is_counted(record) else ((0, 0, 0), None)
    metadata = {
        "mlflow.trace_schema.version": "3",
        "mlflow.sourceRun": target.run_id,
        "mlflow.trace.sizeStats": orjson.dumps({"num_spans": spans}).decode(),
        **target.source,
    }
    tags = record.get("tags") or {}
    for name, key in _PEOPLE.items():
        if tags.get(name):
            metadata[key] = str(tags[name])[:250]
    if counted[2]:
        metadata["mlflow.trace.tokenUsage"] = _usage(counted)
    if cost:
        metadata["mlflow.trace.cost"] = _cost(cost)
    if record.get("par"):
        metadata["hokusai.parent_id"] = record["par"]
    outputs = record.get("out") if _is_counted(record) else _totals(record)
    return TraceInfo(
        trace_id=trace_id_of(record["id"]),
        client_request_id=record["id"],
        trace_location=TraceLocation.from_experiment_id(target.experiment_id),
        request_time=int(record["t0"] * 1000),
        execution_duration=int(record["lat"] * 1000),
        state=TraceState.OK if record["st"] == "ok" else TraceState.ERROR,
        request_preview=_json(record.get("in"))[:_PREVIEW],
        response_preview=_json(outputs)[:_PREVIEW],
        trace_metadata=metadata,
        tags=_tags(record),
    )


def _is_counted(record: Mapping[str, Any]) -> bool:
    """Return whether the trace itself says tokens and cost: where each row has a trace, MLflow would add up both."""
    return record["k"] != "o" or record["kind"] in GROUPED


def _totals(record: Mapping[str, Any]) -> dict[str, Any]:
    input_tokens, output_tokens, _ = record["u"]
    return {
        "executions": record["n"],
        "failures": record["bad"],
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost": record["cost"],
    }


def _tags(record: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        key[:250]: str(value)[:5000].replace("\x00", "\\u0000") for key, value in (record.get("tags") or {}).items()
    }
    tags["mlflow.traceName"] = _name(record)
    if record["k"] == "o":
        return {**tags, "hokusai.kind": record["kind"]}
    if record.get("strat"):
        tags["hokusai.strategy"] = record["strat"]["name"]
    return {
        **tags,
        "hokusai.signature": record["sig"],
        "hokusai.version": record["ver"],
        "hokusai.fingerprint": record["fp"],
        "hokusai.model": record["m"],
    }


def _name(record: Mapping[str, Any]) -> str:
    short = str(record["sig"].rpartition("/")[2])
    return f"{record['kind']} {short}" if record["k"] == "o" else str(record.get("step") or short)


def _spans(part: TracePart, prompt: PromptLink | None = None) -> Iterator[Span]:
    record = part.record
    extra = {} if prompt is None else {"prompt": f"prompts:/{prompt.name}/{prompt.version}"}
    if part.role == "trace":
        maker = _SpanMaker(trace_id_of(record["id"]), record["id"])
        if record["k"] == "o":
            yield from _operation_spans(maker, record)
        else:
            yield from _execution_spans(maker, record, None, extra)
        return
    trace_id = trace_id_of(record["par"])
    maker, parent = _SpanMaker(trace_id, record["id"]), span_id_of(trace_id, record["par"])
    if part.role == "step":
        yield from _execution_spans(maker, record, parent, extra)
        return
    link = {"trace_id": trace_id_of(record["id"])}  # its own trace has the stages, and the tokens
    yield maker.execution(record, parent, link)


def _operation_spans(maker: _SpanMaker, record: Mapping[str, Any]) -> Iterator[Span]:
    attributes = {
        "mlflow.spanInputs": record.get("in") or {},
        "mlflow.spanOutputs": (record.get("out") or {}) if _is_counted(record) else _totals(record),
        "kind": record["kind"],
        **_totals(record),
    }
    error = _error(record["et"], record["err"])
    times = (record["t0"], record["lat"])
    yield maker.span(_name(record), None, *times, SpanType.CHAIN, attributes, error, failed=record["st"] != "ok")


def _execution_spans(
    maker: _SpanMaker, record: Mapping[str, Any], parent: str | None, extra: Mapping[str, Any]
) -> Iterator[Span]:
    root = maker.execution(record, parent, extra)
    yield root
    attempts = iter(record.get("at", ()))
    for name, started, duration in record["sg"]:
        began, kind = record["t0"] + started, _TYPES.get(name, SpanType.UNKNOWN)
        attempt = next(attempts, None) if name == "language_model" else None
        if attempt is None:
            yield maker.span(name, root.span_id, began, duration, kind, {}, None)
            continue
        exchanges = [one for one in record.get("ex", ()) if one[0] == attempt[0]]
        attributes = _of_attempt(attempt, record)
        if len(exchanges) == 1:
            attributes |= _of_exchange(exchanges[0], record)
        error = None if attempt[1] == "ok" else attempt[6] or attempt[1]
        span = maker.span(name, root.span_id, began, duration, kind, attributes, error)
        yield span
        if len(exchanges) > 1:  # a program calls its language model several times
            for number, exchange in enumerate(exchanges, 1):
                values = {"mlflow.llm.model": attempt[3] or record["m"], **_of_exchange(exchange, record)}
                yield maker.span(f"call {number}", span.span_id, began, exchange[4], SpanType.LLM, values, None)
                began += exchange[4]


def _of_attempt(attempt: Sequence[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    number, outcome, _, model, counted, cost, _, *details = attempt  # older records have no details
    attributes: dict[str, Any] = {
        "mlflow.llm.model": model or record["m"],
        "mlflow.chat.tokenUsage": orjson.Fragment(_usage(counted)),
        "attempt": number,
        "outcome": outcome,
    }
    if model in ("", record["m"]):  # else it is another model of a policy, with settings of its own
        attributes["model_parameters"] = record["mp"]
    if details:
        attributes |= details[0]
    if cost:
        attributes["mlflow.llm.cost"] = orjson.Fragment(_cost(cost))
    if outcome == "ok":
        attributes["mlflow.spanInputs"] = record.get("in") or {}
        attributes["mlflow.spanOutputs"] = record.get("out") or {}
    return attributes


def _of_exchange(exchange: Sequence[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return prompt and raw answer as OpenAI writes them, which MLflow shows as a conversation."""
    _, messages, completions, finish_reason, _ = exchange
    found: dict[str, Any] = {"mlflow.message.format": "openai", "finish_reason": finish_reason}
    if messages is not None:
        found["mlflow.spanInputs"] = {"messages": messages, **(record["mp"] or {})}
    if completions is not None:
        found["mlflow.spanOutputs"] = {
            "choices": [
                {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
                for index, text in enumerate(completions)
            ]
        }
    return found


class _SpanMaker:
    """Makes the spans of one execution or operation.

    Args:
        trace_id: the trace that they are in.
        identifier: id of the execution or operation.
    """

    def __init__(self, trace_id: str, identifier: str) -> None:
        self._trace_id, self._identifier = trace_id, identifier
        self._trace_number = int(trace_id.removeprefix("tr-"), 16)
        self._made = 0

    def execution(self, record: Mapping[str, Any], parent: str | None, extra: Mapping[str, Any]) -> Span:
        """Return the span of an execution as a whole."""
        attributes = {
            "mlflow.spanInputs": record.get("in") or {},
            "mlflow.spanOutputs": record.get("out") or {},
            "signature": record["sig"],
            "signature_version": record["ver"],
            "fingerprint": record["fp"],
            "cached": record["hit"],
            "execution_id": record["id"],
            "strategy": record.get("strat"),
            "extras": record.get("xo"),
            "cut": record.get("cut"),
            **extra,
        }
        error, times = _error(record.get("et"), record.get("err")), (record["t0"], record["lat"])
        failed = record["st"] != "ok"
        return self.span(_name(record), parent, *times, SpanType.CHAIN, attributes, error, failed=failed)

    def span(
        self,
        name: str,
        parent: str | None,
        began: float,
        duration: float,
        kind: str,
        attributes: Mapping[str, Any],
        error: str | None,
        *,
        failed: bool = False,
    ) -> Span:
        """Return a finished span; times in seconds since the epoch."""
        start = int(began * 1e9)
        end = start + int(duration * 1e9)
        values = {
            "mlflow.traceRequestId": self._trace_id,
            "mlflow.spanType": kind,
            **{key: value for key, value in attributes.items() if value is not None},
        }
        bad = failed or error is not None
        number = _number(self._trace_id, self._identifier, self._made)
        self._made += 1
        return Span(
            ReadableSpan(
                name=name,
                context=self._context(number),
                parent=None if parent is None else self._context(int(parent, 16)),
                attributes={key: orjson.dumps(value).decode() for key, value in values.items()},
                events=[Event("exception", {"exception.message": error}, end)] if error else [],
                start_time=start,
                end_time=end,
                status=Status(StatusCode.ERROR if bad else StatusCode.OK, error if bad else None),
                resource=_RESOURCE,
            )
        )

    def _context(self, span: int) -> SpanContext:
        return SpanContext(self._trace_number, span, False, TraceFlags(TraceFlags.SAMPLED))


def _usage(counted: Sequence[int]) -> str:
    total = counted[0] + counted[1]
    return orjson.dumps({"input_tokens": counted[0], "output_tokens": counted[1], "total_tokens": total}).decode()


def _cost(cost: float) -> str:
    return orjson.dumps({"input_cost": 0.0, "output_cost": 0.0, "total_cost": cost}).decode()


def _error(kind: str | None, message: str | None) -> str | None:
    return None if kind is None else f"{kind}: {message}" if message else kind


def _json(value: Any) -> str:
    return orjson.dumps(value).decode() if value else ""
