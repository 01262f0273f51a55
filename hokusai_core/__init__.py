"""Hokusai's core: signatures that people install, run, watch and improve.

Everything here is public and stable. Names are imported when they are first used, so that ``import hokusai_core``
stays cheap and a plugin module pays only for what it takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_core.caching import CacheEntry, MemoryCache
    from hokusai_core.canonical import jsonable
    from hokusai_core.components import Component, Owner
    from hokusai_core.events import (
        REDACTED,
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OperationFinished,
        StageTiming,
    )
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.process import process_trackers
    from hokusai_core.executor import Executor
    from hokusai_core.hookspecs import COMPONENT_HOOKS, HokusaiSpecs
    from hokusai_core.markers import HOOK_API, hookimpl
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
    from hokusai_core.plugins import Conflict, PluginFailure, PluginManager, PluginRecord, PluginWarning
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
    from hokusai_core.validation import SignatureValidator

__version__ = "0.1.0"

_HOME = {
    "Attempt": "results",
    "BaseSignature": "signatures",
    "Budget": "execution.budget",
    "COMPONENT_HOOKS": "hookspecs",
    "CacheEntry": "caching",
    "Candidate": "optimization",
    "Component": "components",
    "Config": "settings",
    "Conflict": "plugins",
    "ExecutionFinished": "events",
    "ExecutionMode": "settings",
    "ExecutionResult": "results",
    "ExecutionStarted": "events",
    "ExecutionTrace": "results",
    "Executor": "executor",
    "FeedbackGiven": "events",
    "FieldSpec": "signatures",
    "HOOK_API": "markers",
    "HokusaiSpecs": "hookspecs",
    "InputField": "signatures",
    "LanguageModel": "model",
    "MemoryCache": "caching",
    "ModelExchange": "results",
    "OperationFinished": "events",
    "OptimizationExample": "optimization",
    "OptimizationTask": "optimization",
    "OutputField": "signatures",
    "Owner": "components",
    "PluginFailure": "plugins",
    "PluginManager": "plugins",
    "PluginRecord": "plugins",
    "PluginWarning": "plugins",
    "Problem": "results",
    "REDACTED": "events",
    "RegisteredSignature": "signatures",
    "SettingValue": "settings",
    "SignatureField": "signatures",
    "SignatureRegistry": "signatures",
    "SignatureSpec": "signatures",
    "SignatureValidator": "validation",
    "StageTiming": "events",
    "UNSET": "settings",
    "Unset": "settings",
    "Usage": "results",
    "did_you_mean": "suggestions",
    "hookimpl": "markers",
    "jsonable": "canonical",
    "process_trackers": "execution.process",
    "read_settings": "settings",
}

__all__ = [
    "COMPONENT_HOOKS",
    "HOOK_API",
    "REDACTED",
    "UNSET",
    "Attempt",
    "BaseSignature",
    "Budget",
    "CacheEntry",
    "Candidate",
    "Component",
    "Config",
    "Conflict",
    "ExecutionFinished",
    "ExecutionMode",
    "ExecutionResult",
    "ExecutionStarted",
    "ExecutionTrace",
    "Executor",
    "FeedbackGiven",
    "FieldSpec",
    "HokusaiSpecs",
    "InputField",
    "LanguageModel",
    "MemoryCache",
    "ModelExchange",
    "OperationFinished",
    "OptimizationExample",
    "OptimizationTask",
    "OutputField",
    "Owner",
    "PluginFailure",
    "PluginManager",
    "PluginRecord",
    "PluginWarning",
    "Problem",
    "RegisteredSignature",
    "SettingValue",
    "SignatureField",
    "SignatureRegistry",
    "SignatureSpec",
    "SignatureValidator",
    "StageTiming",
    "Unset",
    "Usage",
    "__version__",
    "did_you_mean",
    "hookimpl",
    "jsonable",
    "process_trackers",
    "read_settings",
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
