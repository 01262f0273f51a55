"""Events for observers and trackers: one frozen record each.

A field may be added to a record at any time; none is renamed. Values of sensitive fields are replaced by ``REDACTED``
before a record is made, so an observer cannot leak them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from hokusai_core.redaction import REDACTED
from hokusai_core.results import Attempt, ModelExchange, StageTiming, Usage

__all__ = [
    "REDACTED",
    "EvaluationFinished",
    "ExecutionFinished",
    "ExecutionStarted",
    "FeedbackGiven",
    "OperationFinished",
    "OptimizationFinished",
    "OutcomeRecorded",
    "PromptTemplate",
    "TrackedEvent",
]


@frozen
class PromptTemplate:
    """The prompt of a signature, with ``{{ name }}`` in place of the value of each input.

    Args:
        key: hash over everything below but ``figures``; the same prompt has the same key in every process.
        name: qualified name of the signature.
        signature_version: version of the signature.
        fingerprint: hash over fields, types, instructions and demos.
        messages: ``role`` and ``content`` of each message as it would be sent, in order.
        adapter: class of the adapter that writes it.
        demos: how many demos are in it.
        figures: what an optimization measured of the signature, numbers and texts by name; empty where it came out of
            none.
    """

    key: str
    name: str
    signature_version: str
    fingerprint: str
    messages: tuple[Mapping[str, str], ...]
    adapter: str
    demos: int = 0
    figures: Mapping[str, Any] = field(factory=dict)


@frozen
class ExecutionStarted:
    """An execution has passed input validation and begins its work.

    Args:
        execution_id: id of the execution.
        signature: qualified name.
        signature_version: version of the signature.
        fingerprint: hash over fields, types, instructions and demos.
        inputs: bound inputs, sensitive ones redacted.
        started_at: seconds since the epoch.
        parent_id: id of the batch, chain or pipeline that this execution belongs to.
        tags: tags of the call.
    """

    execution_id: str
    signature: str
    signature_version: str
    fingerprint: str
    inputs: Mapping[str, Any]
    started_at: float
    parent_id: str | None = None
    tags: Mapping[str, str] = field(factory=dict)


@frozen
class ExecutionFinished:
    """An execution succeeded or failed.

    Args:
        execution_id: id of the execution.
        signature: qualified name.
        signature_version: version of the signature.
        fingerprint: hash over fields, types, instructions and demos.
        status: ``ok`` or ``failed``.
        inputs: bound inputs, sensitive ones redacted.
        outputs: outputs as JSON-able values, sensitive ones redacted; empty where it failed.
        model: name of the language model.
        model_parameters: its parameters, credentials left out.
        usage: tokens of all attempts.
        cost: estimated US dollars, None where unknown.
        latency: seconds.
        cached: tier that answered, or None.
        attempts: every try.
        stages: duration of every stage, in order.
        started_at: seconds since the epoch.
        error_type: class name of the error, where it failed.
        error: its message, free of sensitive values.
        parent_id: id of the batch, chain or pipeline that this execution belongs to.
        tags: tags of the call.
        collect_feedback: whether the caller wants to give feedback on this execution later.
        parent_kind: what it belongs to: ``batch``, ``chain``, ``pipeline`` or ``parallel``.
        step: its name within a chain or pipeline.
        exchanges: prompts and raw answers, without text where a field of the signature is sensitive. Empty for a cache
            hit, and where no tracker has a true attribute ``wants_exchanges``.
        strategy: name, options and versions of the strategy that answers, None for one call of the language model.
        extras: what the strategy gave beside the outputs, as JSON-able data; empty where a field is sensitive.
        prompt: the prompt of the signature; None where no tracker has a true attribute ``wants_prompts``, and for a
            signature that is not answered by one request.
    """

    execution_id: str
    signature: str
    signature_version: str
    fingerprint: str
    status: Literal["ok", "failed"]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    model: str
    model_parameters: Mapping[str, Any]
    usage: Usage
    cost: float | None
    latency: float
    cached: str | None
    attempts: tuple[Attempt, ...]
    stages: tuple[StageTiming, ...]
    started_at: float
    error_type: str | None = None
    error: str | None = None
    parent_id: str | None = None
    tags: Mapping[str, str] = field(factory=dict)
    collect_feedback: bool = False
    parent_kind: str | None = None
    step: str | None = None
    exchanges: tuple[ModelExchange, ...] = ()
    strategy: Mapping[str, Any] | None = None
    extras: Mapping[str, Any] = field(factory=dict)
    prompt: PromptTemplate | None = None


@frozen
class OperationFinished:
    """A batch, chain or pipeline is over. Each of its executions had its own event before.

    Args:
        operation_id: the ``parent_id`` of its executions.
        kind: ``batch``, ``chain``, ``pipeline`` or ``parallel``.
        name: what was run: a signature, or the steps of a chain.
        status: ``ok`` or ``failed``; a batch with failed rows has run to its end, and is ``ok``.
        executions: how many executions it made.
        failures: how many of them failed.
        usage: tokens of all of them.
        cost: estimated US dollars, None where unknown.
        latency: seconds.
        started_at: seconds since the epoch.
        inputs: what it was given, sensitive values redacted; empty for a batch.
        outputs: what it returned, likewise.
        error_type: class name of the error, where it failed.
        error: its message, free of sensitive values.
        tags: tags of the call.
    """

    operation_id: str
    kind: Literal["batch", "chain", "pipeline", "parallel"]
    name: str
    status: Literal["ok", "failed"]
    executions: int
    failures: int
    usage: Usage
    cost: float | None
    latency: float
    started_at: float
    inputs: Mapping[str, Any] = field(factory=dict)
    outputs: Mapping[str, Any] = field(factory=dict)
    error_type: str | None = None
    error: str | None = None
    tags: Mapping[str, str] = field(factory=dict)


@frozen
class FeedbackGiven:
    """A user rated an execution.

    Args:
        execution_id: the rated execution.
        signature: its qualified name.
        rating: 1 to 5.
        corrections: output field -> corrected value.
        comment: free text.
        source: who gave it.
        given_at: seconds since the epoch.
        drawn: whether the execution was drawn at random for a review, and not chosen by who gave the feedback.
    """

    execution_id: str
    signature: str
    rating: int
    corrections: Mapping[str, Any]
    comment: str | None
    source: str
    given_at: float
    drawn: bool = False


@frozen
class OutcomeRecorded:
    """What came of an execution was measured, such as whether an email was answered.

    Args:
        execution_id: the execution.
        signature: its qualified name.
        name: what was measured, such as ``reply_rate``.
        value: the number.
        higher_is_better: whether a higher number is better.
        source: the person, system or channel that measured it.
        recorded_at: seconds since the epoch.
    """

    execution_id: str
    signature: str
    name: str
    value: float
    higher_is_better: bool
    source: str
    recorded_at: float


@frozen
class OptimizationFinished:
    """An optimization is over, whether or not it found something better.

    Args:
        optimization_id: its id.
        signature: qualified name of what was to be improved.
        signature_version: its version.
        fingerprint: its hash over fields, types, instructions and demos.
        promoted: whether something better passed the gate.
        figures: what was measured and what it cost, JSON-able: settings, scores, and of each candidate the label, score
            and number of demos. Nothing in it comes from an example or from a language model.
        document: what ``Artifact.to_dict`` returned of the outcome: the signature with its instructions and demos, and
            the whole report. None where a field of the signature is sensitive.
        usage: tokens of all calls.
        cost: estimated US dollars, None where unknown.
        latency: seconds.
        started_at: seconds since the epoch.
        prompt: the prompt of the outcome, named like the signature that was to be improved; None as for executions.
    """

    optimization_id: str
    signature: str
    signature_version: str
    fingerprint: str
    promoted: bool
    figures: Mapping[str, Any]
    document: Mapping[str, Any] | None
    usage: Usage
    cost: float | None
    latency: float
    started_at: float
    prompt: PromptTemplate | None = None


@frozen
class EvaluationFinished:
    """An evaluation is over: systems were measured on the rows of a data set.

    Args:
        evaluation_id: its id.
        target: name of the signature or chain that was evaluated.
        digest: digest of the rows, inputs and expected outputs.
        metric: name of the leading metric, which the scores of rows are by.
        figures: the report without its rows, JSON-able: settings, and of each system the scores, failures and costs.
        rows: at most 500 rows, those with the worst scores first, JSON-able: ``number``, ``inputs``, ``expected``, and
            by label of the system ``outputs``, ``errors`` and ``scores``. Values of sensitive fields are hidden.
        cost: estimated US dollars of this run, None where unknown.
        latency: seconds.
        started_at: seconds since the epoch.
    """

    evaluation_id: str
    target: str
    digest: str
    metric: str
    figures: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    cost: float | None
    latency: float
    started_at: float


#: The events that a tracker receives.
TrackedEvent = (
    ExecutionFinished | FeedbackGiven | OutcomeRecorded | OperationFinished | OptimizationFinished | EvaluationFinished
)
