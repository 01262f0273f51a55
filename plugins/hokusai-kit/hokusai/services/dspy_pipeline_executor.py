"""The executor with the standard plugins, its modes, and compositions of signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai._lazy import lazy_names

if TYPE_CHECKING:
    from hokusai.executor import DSPyPipelineExecutor
    from hokusai_core import ConditionalPipeline, ExecutionMode, ParallelExecutor, SignatureChain

__all__ = ["ConditionalPipeline", "DSPyPipelineExecutor", "ExecutionMode", "ParallelExecutor", "SignatureChain"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConditionalPipeline": "hokusai_core",
        "DSPyPipelineExecutor": "hokusai.executor",
        "ExecutionMode": "hokusai_core",
        "ParallelExecutor": "hokusai_core",
        "SignatureChain": "hokusai_core",
    },
)
