"""Hokusai's core: signatures that people install, run, watch and improve.

Everything here is public and stable. Names are imported when they are first used, so that ``import hokusai_core``
stays cheap and a plugin module pays only for what it takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_core.caching import CacheEntry, MemoryCache
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
    from hokusai_core.hookspecs import HokusaiSpecs
    from hokusai_core.markers import HOOK_API, hookimpl
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
    from hokusai_core.plugins import PluginManager
    from hokusai_core.results import Attempt, ExecutionResult, ExecutionTrace, ModelExchange, Problem, Usage
    from hokusai_core.settings import ExecutionMode
    from hokusai_core.signatures import (
        BaseSignature,
        FieldSpec,
        InputField,
        OutputField,
        SignatureField,
        SignatureRegistry,
        SignatureSpec,
    )
    from hokusai_core.validation import SignatureValidator

__version__ = "0.1.0"

_HOME = {
    "Attempt": "results",
    "BaseSignature": "signatures",
    "Budget": "execution.budget",
    "CacheEntry": "caching",
    "Candidate": "optimization",
    "Component": "components",
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
    "PluginManager": "plugins",
    "Problem": "results",
    "REDACTED": "events",
    "SignatureField": "signatures",
    "SignatureRegistry": "signatures",
    "SignatureSpec": "signatures",
    "SignatureValidator": "validation",
    "StageTiming": "events",
    "Usage": "results",
    "hookimpl": "markers",
    "process_trackers": "execution.process",
}

__all__ = [
    "HOOK_API",
    "REDACTED",
    "Attempt",
    "BaseSignature",
    "Budget",
    "CacheEntry",
    "Candidate",
    "Component",
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
    "PluginManager",
    "Problem",
    "SignatureField",
    "SignatureRegistry",
    "SignatureSpec",
    "SignatureValidator",
    "StageTiming",
    "Usage",
    "__version__",
    "hookimpl",
    "process_trackers",
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
