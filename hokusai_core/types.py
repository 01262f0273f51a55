"""Results, records and events, for annotations.

Example::

    from hokusai_core.types import ExecutionResult

    def team_of(result: ExecutionResult) -> str:
        return result["team"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from hokusai_core.artifacts import Artifact
    from hokusai_core.batch import BatchProgress, BatchResult, BatchRow, FailedExecution
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.call_records import CallEstimate, CallRecord
    from hokusai_core.cassettes import Cassette
    from hokusai_core.components import Owner
    from hokusai_core.composition import ChainResult
    from hokusai_core.events import (
        EvaluationFinished,
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        OutcomeRecorded,
        PromptTemplate,
        TrackedEvent,
    )
    from hokusai_core.execution.cache_explanation import CacheExplanation
    from hokusai_core.execution.event_streams import AsyncEventStream, EventStream
    from hokusai_core.execution.model_policy import PolicyModel
    from hokusai_core.execution.options import ExecutionOptions
    from hokusai_core.feedback import KeptExecution
    from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
    from hokusai_core.plugins import Conflict, PluginFailure, PluginRecord
    from hokusai_core.results import (
        Attempt,
        ExecutionResult,
        ExecutionTrace,
        ModelExchange,
        Problem,
        StageTiming,
        TokenCount,
        Usage,
    )
    from hokusai_core.settings import UNSET, ExecutorOptions, SettingValue, Unset
    from hokusai_core.signature_registry import Edition, RegisteredSignature
    from hokusai_core.signatures import FieldSpec, SignatureSpec
    from hokusai_core.signatures.strategy_choice import StrategyChoice
    from hokusai_core.stream_events import (
        StreamDelta,
        StreamEvent,
        StreamFinished,
        StreamPartial,
        StreamRetracted,
        StreamStarted,
        StreamThought,
    )

__all__ = [
    "UNSET",
    "Artifact",
    "AsyncEventStream",
    "Attempt",
    "BatchProgress",
    "BatchResult",
    "BatchRow",
    "CacheEntry",
    "CacheExplanation",
    "CallEstimate",
    "CallRecord",
    "Candidate",
    "Cassette",
    "ChainResult",
    "Conflict",
    "Edition",
    "EvaluationFinished",
    "EventStream",
    "ExecutionFinished",
    "ExecutionOptions",
    "ExecutionResult",
    "ExecutionStarted",
    "ExecutionTrace",
    "ExecutorOptions",
    "FailedExecution",
    "FeedbackGiven",
    "FieldSpec",
    "KeptExecution",
    "ModelExchange",
    "OperationFinished",
    "OptimizationExample",
    "OptimizationFinished",
    "OptimizationTask",
    "OutcomeRecorded",
    "Owner",
    "PluginFailure",
    "PluginRecord",
    "PolicyModel",
    "Problem",
    "PromptTemplate",
    "RegisteredSignature",
    "SettingValue",
    "SignatureSpec",
    "StageTiming",
    "StrategyChoice",
    "StreamDelta",
    "StreamEvent",
    "StreamFinished",
    "StreamPartial",
    "StreamRetracted",
    "StreamStarted",
    "StreamThought",
    "TokenCount",
    "TrackedEvent",
    "Unset",
    "Usage",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai_core.artifacts": ("Artifact",),
            "hokusai_core.batch": (
                "BatchProgress",
                "BatchResult",
                "BatchRow",
                "FailedExecution",
            ),
            "hokusai_core.cache_entry": ("CacheEntry",),
            "hokusai_core.execution.cache_explanation": ("CacheExplanation",),
            "hokusai_core.execution.event_streams": ("AsyncEventStream", "EventStream"),
            "hokusai_core.stream_events": (
                "StreamDelta",
                "StreamEvent",
                "StreamFinished",
                "StreamPartial",
                "StreamRetracted",
                "StreamStarted",
                "StreamThought",
            ),
            "hokusai_core.components": ("Owner",),
            "hokusai_core.composition": ("ChainResult",),
            "hokusai_core.call_records": (
                "CallEstimate",
                "CallRecord",
            ),
            "hokusai_core.cassettes": ("Cassette",),
            "hokusai_core.events": (
                "EvaluationFinished",
                "ExecutionFinished",
                "ExecutionStarted",
                "FeedbackGiven",
                "OperationFinished",
                "OptimizationFinished",
                "OutcomeRecorded",
                "PromptTemplate",
                "TrackedEvent",
            ),
            "hokusai_core.feedback": ("KeptExecution",),
            "hokusai_core.optimization": (
                "Candidate",
                "OptimizationExample",
                "OptimizationTask",
            ),
            "hokusai_core.plugins": (
                "Conflict",
                "PluginFailure",
                "PluginRecord",
            ),
            "hokusai_core.results": (
                "Attempt",
                "ExecutionResult",
                "ExecutionTrace",
                "ModelExchange",
                "Problem",
                "StageTiming",
                "TokenCount",
                "Usage",
            ),
            "hokusai_core.settings": ("UNSET", "ExecutorOptions", "SettingValue", "Unset"),
            "hokusai_core.execution.model_policy": ("PolicyModel",),
            "hokusai_core.execution.options": ("ExecutionOptions",),
            "hokusai_core.signature_registry": (
                "Edition",
                "RegisteredSignature",
            ),
            "hokusai_core.signatures.strategy_choice": ("StrategyChoice",),
            "hokusai_core.signatures": (
                "FieldSpec",
                "SignatureSpec",
            ),
        },
    )
