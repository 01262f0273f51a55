"""Serving: what the routes of one server share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from attrs import define

from hokusai_core import Executor
from hokusai_core.errors import PromptError
from hokusai_serve.access import Access
from hokusai_serve.catalog import Catalog
from hokusai_serve.gate import Gate
from hokusai_serve.limits import ServeLimits
from hokusai_serve.metrics import ServerMetrics
from hokusai_serve.problems import Problem
from hokusai_serve.reports import ReportFolder

if TYPE_CHECKING:
    from hokusai_core.types import RegisteredSignature
    from hokusai_serve.batch_queue import BatchQueue
    from hokusai_teleprompt import FeedbackCollector

__all__ = ["Serving"]


@define(eq=False)
class Serving:
    """What the routes of one server share.

    Args:
        executor: runs the signatures.
        limits: bounds of requests.
        access: who may send a request.
        catalog: the signatures that are served.
        gate: how many requests there may be.
        metrics: figures.
        reports: reports of evaluations and optimizations.
        batches: batches, None where none are kept.
        feedback: ratings and corrections.
    """

    executor: Executor
    limits: ServeLimits
    access: Access
    catalog: Catalog
    gate: Gate
    metrics: ServerMetrics
    reports: ReportFolder
    batches: BatchQueue | None
    feedback: FeedbackCollector

    async def check_prompt(self, entry: RegisteredSignature, inputs: Any, size: int) -> None:
        """Refuse inputs whose prompt has too many tokens; an estimate, made only where the request is large.

        Args:
            entry: the signature.
            inputs: its inputs.
            size: bytes of the request.

        Raises:
            Problem: there are too many.
            HokusaiError: the inputs do not fit.
        """
        most = self.limits.prompt_tokens
        if most is None or size <= most or self.executor.mode.value == "testing":  # a token has at least one byte
            return

        def count() -> int:
            try:
                return self.executor.count_tokens(self.executor.render(entry.qualified_name, inputs)).tokens
            except PromptError:  # a program or strategy, which makes several calls
                return size // 4

        tokens = await asyncio.to_thread(count)
        if tokens > most:
            raise Problem(413, "prompt-too-long", f"the prompt has about {tokens} tokens; this server takes {most}")
