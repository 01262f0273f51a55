"""Hokusai's core: signatures that people install, run, watch and improve.

Everything here is public and stable. Names are imported when they are first used, so that ``import hokusai_core``
stays cheap and a plugin module pays only for what it takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_core.artifacts import Artifact, read_artifact
    from hokusai_core.batch import BatchProgress, BatchResult, BatchRow, FailedExecution
    from hokusai_core.caching import CacheEntry, MemoryCache
    from hokusai_core.caching.explain import CacheExplanation
    from hokusai_core.components import Component, Owner
    from hokusai_core.composition import (
        ChainResult,
        ConditionalPipeline,
        ParallelExecutor,
        SignatureChain,
        literal,
        ref,
    )
    from hokusai_core.dspy_bridge.call_records import CallEstimate, CallRecord
    from hokusai_core.dspy_bridge.error_map import translate_error
    from hokusai_core.dspy_bridge.metered_lm import MeteredLM
    from hokusai_core.errors import BatchError, BatchInterrupted
    from hokusai_core.events import (
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        StageTiming,
        TrackedEvent,
    )
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.process import process_trackers
    from hokusai_core.execution.signature_runner import SignatureRunner
    from hokusai_core.executor import Executor
    from hokusai_core.feedback import KeptExecution
    from hokusai_core.hookspecs import COMPONENT_HOOKS, HokusaiSpecs
    from hokusai_core.improvement import Improvements
    from hokusai_core.json_encoding import jsonable
    from hokusai_core.markers import HOOK_API, hookimpl
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
    from hokusai_core.plugins import Conflict, PluginFailure, PluginManager, PluginRecord, PluginWarning
    from hokusai_core.promotion import Promotion
    from hokusai_core.redaction import REDACTED
    from hokusai_core.results import Attempt, ExecutionResult, ExecutionTrace, ModelExchange, Problem, Usage
    from hokusai_core.settings import UNSET, Config, ExecutionMode, SettingValue, Unset, read_settings
    from hokusai_core.signatures import (
        BaseSignature,
        FieldSpec,
        InputField,
        OutputField,
        RegisteredSignature,
        SignatureField,
        SignatureRegistry,
        SignatureSpec,
    )
    from hokusai_core.suggestions import did_you_mean
    from hokusai_core.userdata import private_folder, user_data_folder
    from hokusai_core.validation import SignatureValidator

__version__ = "0.1.0"

_HOME = {
    "Artifact": "artifacts",
    "Attempt": "results",
    "BaseSignature": "signatures",
    "BatchError": "errors",
    "BatchInterrupted": "errors",
    "BatchProgress": "batch",
    "BatchResult": "batch",
    "BatchRow": "batch",
    "Budget": "execution.budget",
    "COMPONENT_HOOKS": "hookspecs",
    "CacheEntry": "caching",
    "CacheExplanation": "caching.explain",
    "CallEstimate": "dspy_bridge.call_records",
    "CallRecord": "dspy_bridge.call_records",
    "Candidate": "optimization",
    "ChainResult": "composition",
    "Component": "components",
    "ConditionalPipeline": "composition",
    "Config": "settings",
    "Conflict": "plugins",
    "ExecutionFinished": "events",
    "ExecutionMode": "settings",
    "ExecutionResult": "results",
    "ExecutionStarted": "events",
    "ExecutionTrace": "results",
    "Executor": "executor",
    "FailedExecution": "batch",
    "FeedbackGiven": "events",
    "FieldSpec": "signatures",
    "HOOK_API": "markers",
    "HokusaiSpecs": "hookspecs",
    "Improvements": "improvement",
    "InputField": "signatures",
    "KeptExecution": "feedback",
    "LanguageModel": "model",
    "MemoryCache": "caching",
    "MeteredLM": "dspy_bridge.metered_lm",
    "ModelExchange": "results",
    "OperationFinished": "events",
    "OptimizationExample": "optimization",
    "OptimizationFinished": "events",
    "OptimizationTask": "optimization",
    "OutputField": "signatures",
    "Owner": "components",
    "ParallelExecutor": "composition",
    "PluginFailure": "plugins",
    "PluginManager": "plugins",
    "PluginRecord": "plugins",
    "PluginWarning": "plugins",
    "Problem": "results",
    "Promotion": "promotion",
    "REDACTED": "redaction",
    "RegisteredSignature": "signatures",
    "SettingValue": "settings",
    "SignatureChain": "composition",
    "SignatureField": "signatures",
    "SignatureRegistry": "signatures",
    "SignatureRunner": "execution.signature_runner",
    "SignatureSpec": "signatures",
    "SignatureValidator": "validation",
    "StageTiming": "events",
    "TrackedEvent": "events",
    "UNSET": "settings",
    "Unset": "settings",
    "Usage": "results",
    "did_you_mean": "suggestions",
    "hookimpl": "markers",
    "jsonable": "json_encoding",
    "literal": "composition",
    "private_folder": "userdata",
    "process_trackers": "execution.process",
    "read_artifact": "artifacts",
    "read_settings": "settings",
    "ref": "composition",
    "translate_error": "dspy_bridge.error_map",
    "user_data_folder": "userdata",
}

__all__ = [
    "COMPONENT_HOOKS",
    "HOOK_API",
    "REDACTED",
    "UNSET",
    "Artifact",
    "Attempt",
    "BaseSignature",
    "BatchError",
    "BatchInterrupted",
    "BatchProgress",
    "BatchResult",
    "BatchRow",
    "Budget",
    "CacheEntry",
    "CacheExplanation",
    "CallEstimate",
    "CallRecord",
    "Candidate",
    "ChainResult",
    "Component",
    "ConditionalPipeline",
    "Config",
    "Conflict",
    "ExecutionFinished",
    "ExecutionMode",
    "ExecutionResult",
    "ExecutionStarted",
    "ExecutionTrace",
    "Executor",
    "FailedExecution",
    "FeedbackGiven",
    "FieldSpec",
    "HokusaiSpecs",
    "Improvements",
    "InputField",
    "KeptExecution",
    "LanguageModel",
    "MemoryCache",
    "MeteredLM",
    "ModelExchange",
    "OperationFinished",
    "OptimizationExample",
    "OptimizationFinished",
    "OptimizationTask",
    "OutputField",
    "Owner",
    "ParallelExecutor",
    "PluginFailure",
    "PluginManager",
    "PluginRecord",
    "PluginWarning",
    "Problem",
    "Promotion",
    "RegisteredSignature",
    "SettingValue",
    "SignatureChain",
    "SignatureField",
    "SignatureRegistry",
    "SignatureRunner",
    "SignatureSpec",
    "SignatureValidator",
    "StageTiming",
    "TrackedEvent",
    "Unset",
    "Usage",
    "__version__",
    "did_you_mean",
    "hookimpl",
    "jsonable",
    "literal",
    "private_folder",
    "process_trackers",
    "read_artifact",
    "read_settings",
    "ref",
    "translate_error",
    "user_data_folder",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'hokusai_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hokusai_core.{home}"), name)
    globals()[name] = value  # the next access costs nothing
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
