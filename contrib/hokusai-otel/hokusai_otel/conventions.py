"""What spans and metrics say of an execution, in the names of the GenAI semantic conventions.

What the conventions have no name for begins with ``hokusai.``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hokusai_core.plugin_api import ExecutionFinished, OperationFinished

__all__ = [
    "content_attributes",
    "execution_attributes",
    "exportable",
    "metric_attributes",
    "operation_attributes",
    "span_name",
    "tag_attributes",
]

#: Prefix of a model's name -> provider, where the conventions call it otherwise.
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}

#: Parameter of a language model -> attribute.
_PARAMETERS: Final = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "n": "gen_ai.request.choice.count",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
}


def span_name(event: ExecutionFinished) -> str:
    """Return the name of the span of an execution."""
    if event.strategy is not None:
        return f"invoke_agent {event.signature}"
    return f"chat {_model(event.model)[1]}" if event.model else "chat"


def metric_attributes(event: ExecutionFinished) -> dict[str, Any]:
    """Return what tells the figures of executions apart; few different values each."""
    provider, model = _model(event.model)
    return {
        "gen_ai.operation.name": "chat" if event.strategy is None else "invoke_agent",
        "gen_ai.provider.name": provider,
        **({"gen_ai.request.model": model} if model else {}),
        "hokusai.signature": event.signature,
        **({"error.type": event.error_type} if event.error_type else {}),
    }


def execution_attributes(event: ExecutionFinished) -> dict[str, Any]:
    """Return what the span of an execution says, without any content."""
    attributes = metric_attributes(event) | tag_attributes(event.tags)
    attributes |= {
        "hokusai.kind": "execution",
        "hokusai.execution_id": event.execution_id,
        "hokusai.signature.version": event.signature_version,
        "hokusai.fingerprint": event.fingerprint,
        "hokusai.model": event.model,
        "hokusai.status": event.status,
        "hokusai.attempts": len(event.attempts),
    }
    if event.strategy is not None:
        attributes["gen_ai.agent.name"] = event.signature
        attributes["hokusai.strategy"] = str(event.strategy.get("name", ""))
    for name, value in (
        ("hokusai.cached", event.cached),
        ("hokusai.cost", event.cost),
        ("hokusai.operation_id", event.parent_id),
        ("hokusai.operation_kind", event.parent_kind),
        ("hokusai.step", event.step),
    ):
        if value is not None:
            attributes[name] = value
    if event.cached is None:
        attributes |= _call_attributes(event)
    return attributes


def _call_attributes(event: ExecutionFinished) -> dict[str, Any]:
    """Return what is known of the calls of an execution; a stored answer made none."""
    attributes: dict[str, Any] = {}
    for name, attribute in _PARAMETERS.items():
        value = event.model_parameters.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            attributes[attribute] = value
    stop = event.model_parameters.get("stop")
    if stop:
        attributes["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else [str(one) for one in stop]
    usage = event.usage
    if usage.calls:
        attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
        attributes["hokusai.calls"] = usage.calls
        if usage.cached_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        if usage.reasoning_tokens:
            attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    reasons = [attempt.finish_reason for attempt in event.attempts if attempt.finish_reason]
    if reasons:
        attributes["gen_ai.response.finish_reasons"] = reasons[-1:]
    return attributes


def operation_attributes(event: OperationFinished) -> dict[str, Any]:
    """Return what the span of a batch, chain, pipeline or group of tasks says.

    Tokens are in ``hokusai.``: those of the conventions are on the executions, and would be counted twice.
    """
    return {
        "hokusai.kind": event.kind,
        "hokusai.operation_id": event.operation_id,
        "hokusai.status": event.status,
        "hokusai.executions": event.executions,
        "hokusai.failures": event.failures,
        "hokusai.calls": event.usage.calls,
        "hokusai.input_tokens": event.usage.input_tokens,
        "hokusai.output_tokens": event.usage.output_tokens,
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": event.name,
        **({"hokusai.cost": event.cost} if event.cost is not None else {}),
        **({"error.type": event.error_type} if event.error_type else {}),
        **tag_attributes(event.tags),
    }


def tag_attributes(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a call."""
    return {f"hokusai.tag.{name}": str(value) for name, value in tags.items()}


def content_attributes(event: ExecutionFinished) -> dict[str, Any]:
    """Return inputs, outputs, prompts and answers. What is sensitive is hidden in the event already."""
    attributes: dict[str, Any] = {"hokusai.inputs": _json(event.inputs), "hokusai.outputs": _json(event.outputs)}
    if event.error:
        attributes["error.message"] = event.error
    if not event.exchanges:
        return attributes
    exchange = event.exchanges[-1]
    system = [part for message in exchange.messages if message.get("role") == "system" for part in _parts(message)]
    if system:
        attributes["gen_ai.system_instructions"] = _json(system)
    attributes["gen_ai.input.messages"] = _json(
        [
            {"role": message.get("role", ""), "parts": _parts(message)}
            for message in exchange.messages
            if message.get("role") != "system"
        ]
    )
    attributes["gen_ai.output.messages"] = _json(
        [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": completion}],
                "finish_reason": exchange.finish_reason or "stop",
            }
            for completion in exchange.completions
        ]
    )
    return attributes


def exportable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as OTLP can carry them: a single value that it cannot would cost the whole export."""
    return {name: _exportable(value) for name, value in attributes.items()}


def _exportable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 2**1000 else str(value)
    return [_exportable(one) for one in value] if isinstance(value, list) else value


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message; of pictures, sounds and files only what they are."""
    content = message.get("content")
    parts: Sequence[Any] = [content] if isinstance(content, str) else _listed(content)
    return [
        {"type": "text", "content": part}
        if isinstance(part, str)
        else {"type": "text", "content": part["text"]}
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        else {"type": str(part.get("type", "other")) if isinstance(part, Mapping) else "other"}
        for part in parts
    ]


def _listed(content: Any) -> list[Any]:
    return list(content) if isinstance(content, Iterable) else []


def _model(name: str) -> tuple[str, str]:
    """Return provider and model of the name of a language model."""
    if "://" in name:  # a server that speaks OpenAI's protocol
        return "openai", name.partition("#")[2]
    prefix, separator, model = name.partition("/")
    if not separator:
        return "_OTHER", prefix
    return _PROVIDERS.get(prefix, prefix), model


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode("utf-8")
