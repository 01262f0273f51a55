"""Turns events into records of the outbox: compact JSON, made on the caller's thread in a few microseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from hokusai_core.plugin_api import (
        EvaluationFinished,
        ExecutionFinished,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        OutcomeRecorded,
        PromptTemplate,
        TrackedEvent,
    )
    from hokusai_core.types import ModelExchange
    from hokusai_mlflow.content_policy import ContentPolicy

__all__ = ["RecordEncoder"]

_OPTION: Final = orjson.OPT_NON_STR_KEYS
#: Distinct parameter mappings whose encoded form is kept; an executor has one per signature and model.
_KEPT_PARAMETERS: Final = 256


class RecordEncoder:
    """Encodes the events of one tracker.

    Args:
        policy: what of their content is recorded.
    """

    def __init__(self, policy: ContentPolicy) -> None:
        self._policy = policy
        self._encoders: Mapping[str, Callable[[Any], bytes]] = {
            "ExecutionFinished": self.execution,
            "OperationFinished": self.operation,
            "FeedbackGiven": self.feedback,
            "OutcomeRecorded": self.outcome,
            "OptimizationFinished": self.optimization,
            "EvaluationFinished": self.evaluation,
        }
        # The mapping is kept beside its encoded form, so that its id is not given to another one.
        self._parameters: dict[int, tuple[Mapping[str, Any], orjson.Fragment]] = {}

    def knows(self, event: TrackedEvent) -> bool:
        """Return whether there are records of this class of events; a later version of the core may add classes."""
        return type(event).__name__ in self._encoders

    def encode(self, event: TrackedEvent) -> bytes:
        """Return the record of an event."""
        return self._encoders[type(event).__name__](event)

    def execution(self, event: ExecutionFinished) -> bytes:
        """Return the record of an execution."""
        policy, cut = self._policy, {}  # type: ContentPolicy, dict[str, int]
        usage = event.usage
        record: dict[str, Any] = {
            "k": "e",
            "id": event.execution_id,
            "sig": event.signature,
            "ver": event.signature_version,
            "fp": event.fingerprint,
            "st": event.status,
            "t0": event.started_at,
            "lat": event.latency,
            "m": event.model,
            "mp": self._encoded_parameters(event.model_parameters),
            "u": (usage.input_tokens, usage.output_tokens, usage.calls),
            "cost": event.cost,
            "hit": event.cached,
            "sg": [(stage.name, stage.started, stage.duration) for stage in event.stages],
        }
        if policy.inputs:
            record["in"] = policy.values("inputs", event.inputs, cut)
        if policy.outputs and event.outputs:
            record["out"] = policy.values("outputs", event.outputs, cut)
        if event.attempts:
            record["at"] = [self._attempt(attempt, cut) for attempt in event.attempts]
        if event.strategy is not None:
            record["strat"] = event.strategy
        if policy.outputs and event.extras:
            record["xo"] = policy.values("outputs", event.extras, cut)
        if event.exchanges and policy.exchanges:
            record["ex"] = [self._exchange(exchange, cut) for exchange in event.exchanges]
        if event.error_type is not None:
            record["et"] = event.error_type
            # A message may quote the model's answer, so it follows what is decided for outputs.
            record["err"] = policy.text("error", event.error, cut) if policy.outputs else None
        if event.parent_id is not None:
            record["par"] = event.parent_id
            record["pk"] = event.parent_kind
            record["step"] = event.step
        if event.tags:
            record["tags"] = policy.values("tags", event.tags, cut)
        if event.collect_feedback:
            record["fb"] = True
        if policy.prompts and event.prompt is not None:
            record["pr"] = event.prompt.key
        if cut:
            record["cut"] = cut
        return _dumps(record)

    def prompt(self, prompt: PromptTemplate) -> bytes:
        """Return the record of the prompt of a signature."""
        return _dumps(
            {
                "k": "p",
                "id": prompt.key,
                "name": prompt.name,
                "ver": prompt.signature_version,
                "fp": prompt.fingerprint,
                "ad": prompt.adapter,
                "n": prompt.demos,
                "msg": prompt.messages,
                "fig": prompt.figures,
            }
        )

    def operation(self, event: OperationFinished) -> bytes:
        """Return the record of a batch, chain or pipeline."""
        policy, cut = self._policy, {}  # type: ContentPolicy, dict[str, int]
        usage = event.usage
        record: dict[str, Any] = {
            "k": "o",
            "id": event.operation_id,
            "kind": event.kind,
            "sig": event.name,
            "st": event.status,
            "n": event.executions,
            "bad": event.failures,
            "u": (usage.input_tokens, usage.output_tokens, usage.calls),
            "cost": event.cost,
            "lat": event.latency,
            "t0": event.started_at,
            "et": event.error_type,
            "err": policy.text("error", event.error, cut) if policy.outputs else None,
            "tags": policy.values("tags", event.tags, cut),
        }
        if policy.inputs:
            record["in"] = policy.values("inputs", event.inputs, cut)
        if policy.outputs:
            record["out"] = policy.values("outputs", event.outputs, cut)
        if cut:
            record["cut"] = cut
        return _dumps(record)

    def feedback(self, event: FeedbackGiven) -> bytes:
        """Return the record of feedback."""
        policy, cut = self._policy, {}  # type: ContentPolicy, dict[str, int]
        record: dict[str, Any] = {
            "k": "f",
            "id": event.execution_id,
            "sig": event.signature,
            "rating": event.rating,
            "source": event.source,
            "t0": event.given_at,
        }
        if policy.outputs:
            record["fix"] = policy.values("feedback", event.corrections, cut)
            record["text"] = policy.text("feedback", event.comment, cut)
        return _dumps(record)

    def outcome(self, event: OutcomeRecorded) -> bytes:
        """Return the record of an outcome, which is delivered as feedback is."""
        return _dumps(
            {
                "k": "f",
                "id": event.execution_id,
                "sig": event.signature,
                "name": event.name,
                "value": event.value,
                "higher": event.higher_is_better,
                "source": event.source,
                "t0": event.recorded_at,
            }
        )

    def optimization(self, event: OptimizationFinished) -> bytes:
        """Return the record of an optimization."""
        record: dict[str, Any] = {
            "k": "s",
            "id": event.optimization_id,
            "sig": event.signature,
            "ver": event.signature_version,
            "fp": event.fingerprint,
            "won": event.promoted,
            "fig": event.figures,
            "lat": event.latency,
            "t0": event.started_at,
        }
        # Demos are inputs and outputs, and instructions may quote them; a redaction hook cannot look into either.
        if self._policy.whole:
            record["doc"] = event.document
            record["alias"] = self._policy.registry_alias
            if self._policy.prompts and event.prompt is not None:
                record["pr"] = event.prompt.key
        return _dumps(record)

    def evaluation(self, event: EvaluationFinished) -> bytes:
        """Return the record of an evaluation, with those rows that it carries."""
        record: dict[str, Any] = {
            "k": "v",
            "id": event.evaluation_id,
            "sig": event.target,
            "data": event.digest,
            "metric": event.metric,
            "fig": event.figures,
            "cost": event.cost,
            "lat": event.latency,
            "t0": event.started_at,
            "rows": [self._evaluated(row) for row in event.rows],
        }
        return _dumps(record)

    def _evaluated(self, row: Mapping[str, Any]) -> dict[str, Any]:
        policy, cut = self._policy, {}  # type: ContentPolicy, dict[str, int]
        record: dict[str, Any] = {"no": row["number"], "sc": row["scores"]}
        if policy.inputs:
            record["in"] = policy.values("inputs", row["inputs"], cut)
        if policy.outputs:
            record["exp"] = policy.values("outputs", row["expected"], cut)
            record["out"] = {
                label: policy.values("outputs", outputs or {}, cut) for label, outputs in row["outputs"].items()
            }
            record["err"] = policy.values("error", row["errors"], cut)
        else:
            record["err"] = {label: error.partition(":")[0] for label, error in row["errors"].items()}
        if cut:
            record["cut"] = cut
        return record

    def _attempt(self, attempt: Any, cut: dict[str, int]) -> tuple[Any, ...]:
        usage = attempt.usage
        error = attempt.error
        if error is not None:
            error = self._policy.text("error", error, cut) if self._policy.outputs else error.partition(":")[0]
        counts = (usage.input_tokens, usage.output_tokens, usage.calls)
        record = (attempt.number, attempt.outcome, attempt.latency, attempt.model, counts, attempt.cost, error)
        if not (attempt.price_source or usage.cached_tokens or usage.reasoning_tokens):
            return record
        details = {
            "price_source": attempt.price_source,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        }
        return (*record, {name: value for name, value in details.items() if value})

    def _exchange(self, exchange: ModelExchange, cut: dict[str, int]) -> tuple[Any, ...]:
        """Return the record of a prompt and what came back. A prompt quotes inputs, an answer is where outputs are."""
        policy, messages, answers = self._policy, None, None
        if policy.inputs:
            texts = [message.get("content") for message in exchange.messages]
            messages = exchange.messages if policy.fits(texts) else [self._message(m, cut) for m in exchange.messages]
        if policy.outputs:
            given = exchange.completions
            answers = given if policy.fits(given) else [policy.text("answer", text, cut) for text in given]
        return exchange.attempt, messages, answers, exchange.finish_reason, exchange.latency

    def _message(self, message: Mapping[str, Any], cut: dict[str, int]) -> dict[str, Any]:
        return {"role": message.get("role"), **self._policy.values("message", {"content": message.get("content")}, cut)}

    def _encoded_parameters(self, parameters: Mapping[str, Any]) -> Any:
        known = self._parameters.get(id(parameters))
        if known is not None and known[0] is parameters:
            return known[1]
        encoded = orjson.Fragment(_dumps(self._policy.parameters(parameters)))
        if len(self._parameters) >= _KEPT_PARAMETERS:
            self._parameters.clear()
        self._parameters[id(parameters)] = (parameters, encoded)
        return encoded


def _dumps(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, default=str, option=_OPTION)
    except (TypeError, ValueError):  # lone surrogates, integers beyond 64 bits
        return orjson.dumps(_encodable(record), default=str, option=_OPTION)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, Mapping):
        return {_encodable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, orjson.Fragment)):
        return value
    return json.loads(json.dumps(str(value)).encode("utf-8", "replace"))
