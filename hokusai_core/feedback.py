"""Executions that are kept, so that people can give feedback on them, or that they can be run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hokusai_core.events import FeedbackGiven, OutcomeRecorded
from hokusai_core.results import Usage

__all__ = ["KeptExecution"]


@frozen
class KeptExecution:
    """An execution that a feedback store or a tracker has kept, and the feedback on it.

    Args:
        execution_id: its id.
        signature: qualified name.
        signature_version: version of the signature.
        fingerprint: hash over fields, types, instructions and demos.
        inputs: bound inputs, sensitive ones redacted.
        outputs: outputs as JSON-able values, sensitive ones redacted.
        model: name of the language model.
        started_at: seconds since the epoch.
        spec: the signature as ``SignatureSpec.to_dict`` writes it; empty where it has no such form.
        feedback: all feedback in order. Of each source only the latest counts.
        outcomes: all outcomes in order. Of each name and source only the latest counts.
        status: ``ok`` or ``failed``.
        latency: seconds; None where it is not kept.
        cost: estimated US dollars; None where it is unknown or not kept.
        usage: tokens; None where they are not kept.
        cached: tier of the cache that answered, or None.
        cut: values that are kept shortened or not at all, as ``inputs.NAME`` or ``outputs.NAME``.
    """

    execution_id: str
    signature: str
    signature_version: str
    fingerprint: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    model: str
    started_at: float
    spec: Mapping[str, Any] = field(factory=dict)
    feedback: tuple[FeedbackGiven, ...] = ()
    outcomes: tuple[OutcomeRecorded, ...] = ()
    status: str = "ok"
    latency: float | None = None
    cost: float | None = None
    usage: Usage | None = None
    cached: str | None = None
    cut: tuple[str, ...] = ()

    @property
    def current(self) -> tuple[FeedbackGiven, ...]:
        """The latest feedback of each source, in the order in which it was given."""
        latest = {given.source: given for given in self.feedback}
        return tuple(given for given in self.feedback if latest[given.source] is given)

    @property
    def current_outcomes(self) -> tuple[OutcomeRecorded, ...]:
        """The latest outcome of each name and source, in the order in which they were recorded."""
        latest = {(outcome.name, outcome.source): outcome for outcome in self.outcomes}
        return tuple(outcome for outcome in self.outcomes if latest[outcome.name, outcome.source] is outcome)
