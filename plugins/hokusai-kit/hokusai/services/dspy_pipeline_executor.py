"""The executor with the standard plugins, its modes, and compositions of signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai.executor import DSPyPipelineExecutor
    from hokusai_core import ConditionalPipeline, ExecutionMode, ParallelExecutor, SignatureChain

__all__ = ["ConditionalPipeline", "DSPyPipelineExecutor", "ExecutionMode", "ParallelExecutor", "SignatureChain"]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai.executor": ("DSPyPipelineExecutor",),
            "hokusai_core": ("ConditionalPipeline", "ExecutionMode", "ParallelExecutor", "SignatureChain"),
        },
    )
