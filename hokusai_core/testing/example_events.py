"""Events as executors make them, for tests of trackers and feedback stores."""

from __future__ import annotations

import secrets
import time
from typing import Any

from hokusai_core.events import (
    REDACTED,
    EvaluationFinished,
    ExecutionFinished,
    FeedbackGiven,
    OperationFinished,
    OptimizationFinished,
    OutcomeRecorded,
)
from hokusai_core.results import Attempt, StageTiming, Usage

__all__ = [
    "make_evaluation",
    "make_event",
    "make_failure",
    "make_feedback",
    "make_operation",
    "make_optimization",
    "make_outcome",
]


def make_event(**changes: Any) -> ExecutionFinished:
    """Return the event of an execution that succeeded just now, except for what ``changes`` says."""
    usage = Usage(12, 5, 1)
    values: dict[str, Any] = {
        "execution_id": secrets.token_hex(16),
        "signature": "pack/Greet",
        "signature_version": "1.2.0",
        "fingerprint": "0123456789abcdef" * 2,
        "status": "ok",
        "inputs": {"name": "Ada", "password": REDACTED},
        "outputs": {"greeting": "Hello Ada"},
        "model": "null/model",
        "model_parameters": {"temperature": 0.5, "max_tokens": 100},
        "usage": usage,
        "cost": 0.001,
        "latency": 0.25,
        "cached": None,
        "attempts": (Attempt(1, "ok", 0.2, "null/model", usage, 0.001),),
        "stages": (StageTiming("bind", 0.0, 0.01), StageTiming("language_model", 0.01, 0.2)),
        "started_at": time.time(),
    }
    return ExecutionFinished(**values | changes)


def make_failure(**changes: Any) -> ExecutionFinished:
    """Return the event of an execution whose second attempt failed, too."""
    attempts = tuple(
        Attempt(number, "failed", 0.1, "null/model", Usage(12, 0, 1), error="LanguageModelError: no answer")
        for number in (1, 2)
    )
    values: dict[str, Any] = {
        "status": "failed",
        "outputs": {},
        "attempts": attempts,
        "error_type": "LanguageModelError",
        "error": "no answer",
    }
    return make_event(**values | changes)


def make_feedback(execution_id: str, **changes: Any) -> FeedbackGiven:
    """Return the event of a rating with a correction."""
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "signature": "pack/Greet",
        "rating": 2,
        "corrections": {"greeting": "Good morning, Ada"},
        "comment": "too familiar",
        "source": "reviewer",
        "given_at": time.time(),
    }
    return FeedbackGiven(**values | changes)


def make_outcome(execution_id: str, **changes: Any) -> OutcomeRecorded:
    """Return the event of an outcome."""
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "signature": "pack/Greet",
        "name": "reply_rate",
        "value": 0.4,
        "higher_is_better": True,
        "source": "mail server",
        "recorded_at": time.time(),
    }
    return OutcomeRecorded(**values | changes)


def make_operation(operation_id: str, **changes: Any) -> OperationFinished:
    """Return the event of a batch of two executions."""
    values: dict[str, Any] = {
        "operation_id": operation_id,
        "kind": "batch",
        "name": "pack/Greet",
        "status": "ok",
        "executions": 2,
        "failures": 0,
        "usage": Usage(24, 10, 2),
        "cost": 0.002,
        "latency": 0.5,
        "started_at": time.time(),
    }
    return OperationFinished(**values | changes)


def make_optimization(**changes: Any) -> OptimizationFinished:
    """Return the event of an optimization that was compared and not promoted, without a document."""
    values: dict[str, Any] = {
        "optimization_id": secrets.token_hex(16),
        "signature": "pack/Greet",
        "signature_version": "1.2.0",
        "fingerprint": "0123456789abcdef" * 2,
        "promoted": False,
        "figures": {
            "optimizer": "copro",
            "metric": {"name": "accuracy"},
            "baseline_score": 0.5,
            "candidate_score": 0.55,
            "interval": [-0.05, 0.15],
            "trials": [
                {"label": "baseline", "score": 0.4, "demos": 0},
                {"label": "rewrite 1", "score": 0.6, "demos": 2, "chosen": True},
            ],
            "calls": 120,
        },
        "document": None,
        "usage": Usage(2400, 600, 120),
        "cost": 0.1,
        "latency": 60.0,
        "started_at": time.time() - 60,
    }
    return OptimizationFinished(**values | changes)


def make_evaluation(**changes: Any) -> EvaluationFinished:
    """Return the event of an evaluation of two systems on two rows."""
    score = {"value": 0.5, "low": 0.1, "high": 0.9, "rows": 2}
    system = {
        "label": "null/model",
        "name": "pack/Greet",
        "fingerprint": "0123456789abcdef" * 2,
        "model": "null/model",
        "against": False,
        "scores": {"accuracy": score},
        "slices": {},
        "failures": {},
        "unanswered": {},
        "cost": 0.002,
        "latency_p50": 0.1,
        "latency_p95": 0.2,
    }
    other = {**system, "label": "null/other", "model": "null/other"}
    labels = (system["label"], other["label"])
    rows = [
        {
            "number": number,
            "inputs": {"name": "Ann"},
            "expected": {"greeting": "Hello"},
            "outputs": {label: {"greeting": text} for label in labels},
            "errors": {},
            "scores": dict.fromkeys(labels, score),
        }
        for number, (text, score) in enumerate((("Hello", 1.0), ("Bye", 0.0)), 1)
    ]
    values: dict[str, Any] = {
        "evaluation_id": secrets.token_hex(16),
        "target": "pack/Greet",
        "digest": "fedcba9876543210" * 2,
        "metric": "accuracy",
        "figures": {"metrics": ["accuracy"], "rows": 2, "seed": 0, "systems": [system, other], "comparisons": []},
        "rows": rows,
        "cost": 0.004,
        "latency": 2.0,
        "started_at": time.time() - 2,
    }
    return EvaluationFinished(**values | changes)
