"""Hokusai's core: define signatures, run them, combine them. These are the names that users write.

``hokusai_core.plugin_api`` has the names for plugin authors, ``hokusai_core.types`` the records for annotations,
``hokusai_core.errors`` the errors, ``hokusai_core.testing`` the conformance suites and a scripted language model. Every
other module is internal.

Names are imported when they are first used, so ``import hokusai_core`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from hokusai_core.artifacts import read_artifact
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.batch import BatchResult, FailedExecution
    from hokusai_core.cassettes import cassette
    from hokusai_core.components import Component
    from hokusai_core.composition import (
        ChainResult,
        ConditionalPipeline,
        SignatureChain,
        literal,
        ref,
    )
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.model_policy import ModelPolicy
    from hokusai_core.executor import Executor
    from hokusai_core.function_tool import FunctionTool
    from hokusai_core.markers import hookimpl
    from hokusai_core.model import LanguageModel
    from hokusai_core.parallel_executor import ParallelExecutor
    from hokusai_core.plugins import PluginWarning
    from hokusai_core.process import process_trackers
    from hokusai_core.prompts import read, render
    from hokusai_core.results import ExecutionResult, Problem, Usage
    from hokusai_core.settings import ExecutionMode, Settings
    from hokusai_core.signatures import InputField, OutputField, SignatureField, SignatureSpec
    from hokusai_core.validation import SignatureValidator

__version__ = "0.1.0"

__all__ = [
    "BaseSignature",
    "BatchResult",
    "Budget",
    "ChainResult",
    "Component",
    "ConditionalPipeline",
    "ExecutionMode",
    "ExecutionResult",
    "Executor",
    "FailedExecution",
    "FunctionTool",
    "InputField",
    "LanguageModel",
    "ModelPolicy",
    "OutputField",
    "ParallelExecutor",
    "PluginWarning",
    "Problem",
    "Settings",
    "SignatureChain",
    "SignatureField",
    "SignatureSpec",
    "SignatureValidator",
    "Usage",
    "__version__",
    "cassette",
    "hookimpl",
    "literal",
    "process_trackers",
    "read",
    "read_artifact",
    "ref",
    "render",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai_core.artifacts": ("read_artifact",),
            "hokusai_core.batch": (
                "BatchResult",
                "FailedExecution",
            ),
            "hokusai_core.cassettes": ("cassette",),
            "hokusai_core.components": ("Component",),
            "hokusai_core.composition": (
                "ChainResult",
                "ConditionalPipeline",
                "SignatureChain",
                "literal",
                "ref",
            ),
            "hokusai_core.execution.budget": ("Budget",),
            "hokusai_core.execution.model_policy": ("ModelPolicy",),
            "hokusai_core.executor": ("Executor",),
            "hokusai_core.function_tool": ("FunctionTool",),
            "hokusai_core.markers": ("hookimpl",),
            "hokusai_core.model": ("LanguageModel",),
            "hokusai_core.parallel_executor": ("ParallelExecutor",),
            "hokusai_core.plugins": ("PluginWarning",),
            "hokusai_core.process": ("process_trackers",),
            "hokusai_core.prompts": ("read", "render"),
            "hokusai_core.results": (
                "ExecutionResult",
                "Problem",
                "Usage",
            ),
            "hokusai_core.settings": ("ExecutionMode", "Settings"),
            "hokusai_core.base_signature": ("BaseSignature",),
            "hokusai_core.signatures": (
                "InputField",
                "OutputField",
                "SignatureField",
                "SignatureSpec",
            ),
            "hokusai_core.validation": ("SignatureValidator",),
        },
        moved_to=("hokusai_core.plugin_api", "hokusai_core.types", "hokusai_core.errors"),
    )
