"""FeedbackCollector: checks and stores ratings and corrections of executions, and informs trackers."""

from __future__ import annotations

import datetime
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from attrs import asdict, field, frozen

from hokusai_core import Executor
from hokusai_core.errors import ExecutionNotFoundError, FeedbackError
from hokusai_core.plugin_api import (
    REDACTED,
    ComponentChoice,
    FeedbackGiven,
    KeptExecution,
    OutcomeRecorded,
    PluginManager,
    SignatureSpec,
    atomic_write,
    did_you_mean,
    jsonable,
    process_trackers,
)
from hokusai_teleprompt.feedback.sqlite_store import SqliteFeedbackStore

__all__ = ["ANONYMOUS", "Feedback", "FeedbackCollector", "Moment"]

#: A point in time: seconds since the epoch, a ``datetime`` or ``date``, or a text such as ``"2026-05-01"``.
Moment = float | datetime.date | str

#: The source of feedback that names none.
ANONYMOUS = "anonymous"


@frozen
class Feedback:
    """The feedback of one source on one execution.

    Args:
        execution_id: the execution.
        signature: qualified name of its signature.
        signature_version: version of the signature.
        fingerprint: hash over its fields, types, instructions and demos.
        inputs: the inputs, sensitive values redacted.
        outputs: the outputs, sensitive values redacted.
        rating: 1 to 5.
        corrections: output field -> what it should have been.
        comment: free text.
        source: the person or system that gave it.
        given_at: seconds since the epoch.
        model: name of the language model.
        spec: the signature as data.
        store: path of the local store that it was read from; empty where it came from elsewhere.
    """

    execution_id: str
    signature: str
    signature_version: str
    fingerprint: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    rating: int
    corrections: Mapping[str, Any]
    comment: str | None
    source: str
    given_at: float
    model: str = ""
    spec: Mapping[str, Any] = field(factory=dict, repr=False)
    store: str = field(default="", repr=False, eq=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the feedback as JSON-able data, without ``spec`` and ``store``."""
        return {name: value for name, value in asdict(self).items() if name not in ("spec", "store")}


class FeedbackCollector:
    """Takes feedback on executions that were made with ``collect_feedback=True``, in this process or another one.

    Feedback is durable when the method that stores it returns. Any number of processes may use the same store.

    Args:
        path: folder or file of the local store; None for the store of ``executor``, else its ``data_folder``, else
            ``HOKUSAI_FEEDBACK_DIR``, else the folder of the user, where executors keep executions.
        store: another store: the name of a ``feedback_store`` component, or a ``FeedbackStore``.
        executor: the executor whose trackers are notified; None for the executors of this process that made the
            execution, or for all executors of this process if another process made it.

    Raises:
        FeedbackError: both ``path`` and ``store`` are given.

    Example::

        collector = FeedbackCollector()
        result = executor.execute_signature("EmailDraft", inputs, collect_feedback=True)
        collector.add_feedback(result["execution_id"], rating=2, corrections={"email_body": "Dear John, ..."})
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, store: Any = None, executor: Executor | None = None
    ) -> None:
        if path is not None and store is not None:
            raise FeedbackError("give path or store, not both")
        if path is None and store is None and executor is not None:
            store, own = executor.config.value("feedback_store"), executor.config.value("data_folder")
            path = own / "feedback" if store is None and own is not None else None
        self._executor = executor
        self._given = store is not None and not isinstance(store, str | ComponentChoice)
        if isinstance(store, str | ComponentChoice):
            plugins = executor.plugins if executor is not None else PluginManager()
            self._store: Any = plugins.create("feedback_store", store)
        else:
            self._store = store if store is not None else SqliteFeedbackStore(path)

    @property
    def store(self) -> Any:
        """The store that it reads and writes."""
        return self._store

    def add_feedback(
        self,
        execution_id: str,
        rating: int,
        corrections: Mapping[str, Any] | None = None,
        comment: str | None = None,
        source: str | None = None,
        *,
        drawn: bool = False,
    ) -> Feedback:
        """Store feedback on an execution. It replaces earlier feedback of the same source; the history is kept.

        Args:
            execution_id: ``result["execution_id"]``.
            rating: 1 (bad) to 5 (good).
            corrections: output field -> what it should have been.
            comment: free text.
            source: the person or system that gives it. All feedback without a source counts as one source.
            drawn: whether the execution was drawn at random from those without feedback, as ``hokusai feedback review``
                does. Such executions stand for those without feedback where an optimization compares.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
            FeedbackError: an argument does not fit; nothing was stored.
        """
        problems = _problems(execution_id, rating, corrections, comment, source)
        if problems:
            raise FeedbackError(f"the feedback was not stored: {'; '.join(problems)}")
        kept = self.execution(execution_id)
        given = FeedbackGiven(
            execution_id=execution_id,
            signature=kept.signature,
            rating=rating,
            corrections=_checked(kept, corrections or {}),
            comment=comment,
            source=source or ANONYMOUS,
            given_at=time.time(),
            drawn=drawn,
        )
        self._store.add(given)
        self._notify(given)
        return self._feedback(kept, given)

    def record_outcome(
        self,
        execution_id: str,
        name: str,
        value: float,
        *,
        higher_is_better: bool | None = None,
        source: str | None = None,
    ) -> OutcomeRecorded:
        """Store a number that was measured after an execution, such as whether an email was answered.

        It replaces an earlier outcome of the same name and source; the history is kept.

        Args:
            execution_id: ``result["execution_id"]``.
            name: what was measured, such as ``"reply_rate"`` or ``"minutes_saved"``.
            value: the number.
            higher_is_better: whether a higher number is better. None for what earlier outcomes of this name on the
                signature say; the first one is taken to be better where it is higher.
            source: the person, system or channel that measured it. All outcomes without a source count as one source.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
            FeedbackError: an argument does not fit, earlier outcomes of this name have the other direction, or the
                store keeps no outcomes. Nothing was stored.

        Example::

            collector.record_outcome(result["execution_id"], "reply_rate", 0.4)
            collector.record_outcome(result["execution_id"], "minutes", 12, higher_is_better=False)
        """
        problems = _outcome_problems(execution_id, name, value, higher_is_better, source)
        if problems:
            raise FeedbackError(f"the outcome was not stored: {'; '.join(problems)}")
        if not hasattr(self._store, "add_outcome"):
            raise FeedbackError(f"the feedback store {type(self._store).__name__} keeps no outcomes")
        kept = self.execution(execution_id)
        before = self._store.outcome_direction(kept.signature, name)
        if before is not None and higher_is_better not in (None, before):
            raise FeedbackError(
                f"the outcome was not stored: {name} of {kept.signature} was recorded before with "
                f"higher_is_better={before}; give another name to what is measured otherwise"
            )
        outcome = OutcomeRecorded(
            execution_id=execution_id,
            signature=kept.signature,
            name=name,
            value=float(value),
            higher_is_better=next(item for item in (higher_is_better, before, True) if item is not None),
            source=source or ANONYMOUS,
            recorded_at=time.time(),
        )
        self._store.add_outcome(outcome)
        self._notify(outcome)
        return outcome

    def get_feedback(
        self,
        signature: str | None = None,
        min_rating: int | None = None,
        since: Moment | None = None,
    ) -> list[Feedback]:
        """Return the latest feedback of each source on each execution, oldest executions first.

        Args:
            signature: only on executions of this signature, ``pack/Name`` or ``Name``.
            min_rating: only with this rating or a higher one, 1 to 5.
            since: only feedback given at this time or later: seconds since the epoch, a ``datetime`` or ``date``, or a
                text such as ``"2026-05-01"`` or ``"2026-05-01T09:30"``. Without a time zone it is local time.

        Raises:
            FeedbackError: a filter cannot be used.
        """
        if min_rating is not None and not _is_rating(min_rating):
            raise FeedbackError(f"min_rating={min_rating!r}: expected a whole number from 1 to 5")
        start = None if since is None else _seconds(since)
        return [
            self._feedback(kept, given)
            for kept in self._store.read(signature=signature, rated=True)
            for given in kept.current
            if (min_rating is None or given.rating >= min_rating) and (start is None or given.given_at >= start)
        ]

    def feedback_count(self, signature: str | None = None) -> int:
        """Return the number of feedbacks; those that were replaced do not count."""
        return sum(len(kept.current) for kept in self._store.read(signature=signature, rated=True))

    def execution(self, execution_id: str) -> KeptExecution:
        """Return a kept execution with all feedback on it, in order.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
        """
        kept: KeptExecution | None = next(iter(self._store.read(execution_id=execution_id)), None)
        if kept is not None:
            return kept
        place = f" in {self._store.path}" if hasattr(self._store, "path") else ""
        raise ExecutionNotFoundError(
            f"no execution {execution_id!r} is kept{place}. Run a signature with collect_feedback=True to keep the "
            "execution. It may also have been deleted, or be in another store (HOKUSAI_FEEDBACK_DIR)"
        )

    def history(self, execution_id: str) -> list[FeedbackGiven]:
        """Return all feedback on an execution, the latest last.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
        """
        return list(self.execution(execution_id).feedback)

    def unrated(self, signature: str | None = None) -> Iterator[KeptExecution]:
        """Yield the executions without feedback, the oldest first."""
        yield from self._store.read(signature=signature, rated=False)

    def export(self, path: str | os.PathLike[str], signature: str | None = None) -> int:
        """Write feedback to a file as JSON lines, and return the number of lines."""
        rows = [json.dumps(item.to_dict(), ensure_ascii=False) for item in self.get_feedback(signature)]
        atomic_write(path, (f"{row}\n".encode() for row in rows))
        return len(rows)

    def executions(self, signature: str | None = None, since: Moment | None = None) -> Iterator[KeptExecution]:
        """Yield the kept executions with all feedback on them, the oldest first.

        Args:
            signature: only those of this signature, ``pack/Name`` or ``Name``.
            since: only those that were started at this time or later, as for ``get_feedback``.

        Raises:
            FeedbackError: ``since`` cannot be used.
        """
        start = -math.inf if since is None else _seconds(since)
        return (kept for kept in self._store.read(signature=signature) if kept.started_at >= start)

    def delete(self, execution_id: str) -> bool:
        """Remove an execution with all feedback on it; return whether there was one."""
        return bool(self._store.delete(execution_id))

    def close(self) -> None:
        """Close the store if it was made here; calling it twice is harmless."""
        if not self._given:
            self._store.close()

    def _notify(self, event: FeedbackGiven | OutcomeRecorded) -> None:
        if self._executor is not None:
            self._executor.feedback_given(event)
        else:
            process_trackers.feedback(event)

    def _feedback(self, kept: KeptExecution, given: FeedbackGiven) -> Feedback:
        return Feedback(
            execution_id=kept.execution_id,
            signature=kept.signature,
            signature_version=kept.signature_version,
            fingerprint=kept.fingerprint,
            inputs=kept.inputs,
            outputs=kept.outputs,
            rating=given.rating,
            corrections=given.corrections,
            comment=given.comment,
            source=given.source,
            given_at=given.given_at,
            model=kept.model,
            spec=kept.spec,
            store=str(getattr(self._store, "path", "")),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _is_rating(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 5


def _seconds(since: Any) -> float:
    """Return a point in time as seconds since the epoch."""
    if isinstance(since, (int, float)) and not isinstance(since, bool):
        return float(since)
    try:
        moment = datetime.datetime.fromisoformat(since) if isinstance(since, str) else since
    except ValueError:
        moment = None
    if isinstance(moment, datetime.datetime):
        return moment.timestamp()
    if isinstance(moment, datetime.date):
        return datetime.datetime.combine(moment, datetime.time()).timestamp()
    raise FeedbackError(
        f"since={since!r}: expected seconds since the epoch, a datetime or date, or a text such as '2026-05-01'"
    )


def _problems(execution_id: Any, rating: Any, corrections: Any, comment: Any, source: Any) -> list[str]:
    problems = []
    if not isinstance(execution_id, str) or not execution_id:
        problems.append('execution_id must be a text, such as result["execution_id"]')
    if not _is_rating(rating):
        problems.append(f"rating={rating!r}: expected a whole number from 1 (bad) to 5 (good)")
    if corrections is not None and not isinstance(corrections, Mapping):
        problems.append(f"corrections must be a mapping of output to value, not {type(corrections).__name__}")
    for name, value in (("comment", comment), ("source", source)):
        if value is not None and not isinstance(value, str):
            problems.append(f"{name} must be a text, not {type(value).__name__}")
    return problems


def _outcome_problems(execution_id: Any, name: Any, value: Any, higher_is_better: Any, source: Any) -> list[str]:
    problems = []
    if not isinstance(execution_id, str) or not execution_id:
        problems.append('execution_id must be a text, such as result["execution_id"]')
    if not isinstance(name, str) or not name.isidentifier():
        problems.append(f"name={name!r}: expected a name such as 'reply_rate', of letters, digits and underscores")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        problems.append(f"value={value!r}: expected a finite number")
    if higher_is_better is not None and not isinstance(higher_is_better, bool):
        problems.append(f"higher_is_better={higher_is_better!r}: expected True, False or None")
    if source is not None and not isinstance(source, str):
        problems.append(f"source must be a text, not {type(source).__name__}")
    return problems


def _checked(kept: KeptExecution, corrections: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked corrections in the form in which they are kept: plain values, sensitive ones redacted."""
    if not corrections:
        return {}
    spec = SignatureSpec.from_dict(kept.spec) if kept.spec else None
    outputs = spec.outputs if spec is not None else kept.outputs
    problems = [
        f"{name!r} is not an output of {kept.signature}{did_you_mean(str(name), outputs)}; it has {', '.join(outputs)}"
        for name in corrections
        if name not in outputs
    ]
    values = dict(corrections)
    if spec is not None and not problems:
        hidden = spec.sensitive
        typed, found = spec.codec.coerce(values)
        problems += (f"{item.field}: {item.message}" for item in found if item.code != "missing")
        values = {name: typed.get(name) for name in values}
        if not problems:
            inputs = {} if spec.sensitive & spec.inputs.keys() else dict(kept.inputs)
            given = spec.codec.check(inputs, values) if inputs or not _chooses(spec) else []
            problems += (f"{item.field}: {item.message}" for item in given if item.code != "missing")
        values = {name: REDACTED if name in hidden else value for name, value in values.items()}
    if not problems:
        try:
            return {name: jsonable(value) for name, value in values.items()}
        except (TypeError, ValueError) as error:
            problems.append(str(error))
    raise FeedbackError(f"the feedback was not stored: {'; '.join(problems)}")


def _chooses(spec: SignatureSpec) -> bool:
    return any(item.choices_from for item in spec.outputs.values())
