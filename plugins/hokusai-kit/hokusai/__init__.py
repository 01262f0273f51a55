"""Run, cache, track and improve DSPy signatures: the core of Hokusai with its standard plugins.

The names that most programs need, imported when they are first used; each is documented where it lives.

Example:
    >>> from hokusai import DSPyPipelineExecutor
    >>> with DSPyPipelineExecutor(mode="testing", cache=None, mlflow_tracking=False) as executor:
    ...     result = executor.execute_signature("ClassifyText", {"text": "Late!", "categories": "Praise, Complaint"})
    >>> result["classification"] in ("Praise", "Complaint")
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai.executor import DSPyPipelineExecutor
    from hokusai_core import (
        BaseSignature,
        Budget,
        ExecutionMode,
        ExecutionResult,
        Executor,
        InputField,
        OutputField,
        SignatureField,
        SignatureValidator,
        hookimpl,
    )

__version__ = "0.1.0"

__all__ = [
    "BaseSignature",
    "Budget",
    "DSPyPipelineExecutor",
    "ExecutionMode",
    "ExecutionResult",
    "Executor",
    "InputField",
    "OutputField",
    "SignatureField",
    "SignatureValidator",
    "__version__",
    "hookimpl",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai.executor": ("DSPyPipelineExecutor",),
            "hokusai_core": (
                "BaseSignature",
                "Budget",
                "ExecutionMode",
                "ExecutionResult",
                "Executor",
                "InputField",
                "OutputField",
                "SignatureField",
                "SignatureValidator",
                "hookimpl",
            ),
        },
    )
