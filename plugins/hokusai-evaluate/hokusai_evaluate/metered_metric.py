"""Metrics that ask a language model: their calls are held to the budget of the evaluation, and counted."""

from __future__ import annotations

import threading
from typing import Any

from hokusai_core import Budget, Executor, LanguageModel
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import AnswerMemory, CallRecord, charged_model
from hokusai_evaluate.systems import System

__all__ = ["MeteredMetrics"]


class MeteredMetrics:
    """Gives metrics their language models; safe to use from many threads.

    Args:
        executor: knows language models.
        budget: what their calls are charged to; None for no limit.
        memory: keeps the answers of their language models; None for none. It is not used for a signature with sensitive
            fields, which an answer may quote.

    Attributes:
        spent: US dollars so far, as far as prices are known.
        calls: calls so far.
    """

    keep_exchanges = False

    def __init__(self, executor: Executor, budget: Budget | None, memory: AnswerMemory | None = None) -> None:
        self._executor, self._budget, self._memory = executor, budget, memory
        self._lock = threading.Lock()
        self.spent, self.calls = 0.0, 0

    def ready(self, metric: Any, system: System) -> Any:
        """Return a metric that can score: one that asks a language model with that model.

        Args:
            metric: the metric.
            system: its model is asked where the metric names none.

        Raises:
            LanguageModelUnavailable: there is no such language model.
            ConfigurationError: there is a budget, and the metric makes calls that it cannot bound.
        """
        if self._budget is not None and getattr(metric, "unmetered", False):
            instead = getattr(metric, "metered_instead", "use quality_score as the judge")
            raise ConfigurationError(
                f"metric {metric.name} makes calls that a budget cannot bound; {instead}, or leave the budget "
                "(--max-cost) out"
            )
        if not hasattr(metric, "using"):
            return metric
        memory = None if system.spec.sensitive else self._memory
        return metric.using(lambda lm: self._metered(system.lm if lm is None else lm, memory), system.spec.instructions)

    def notes(self) -> tuple[str, ...]:
        """Return a note on what the metrics have used, none where they asked no model."""
        if not self.calls:
            return ()
        return (
            f"the metrics asked a language model {self.calls} times, for ${self.spent:.4f} as far as prices are known",
        )

    def record(self, call: CallRecord) -> None:
        """Count one call."""
        with self._lock:
            self.calls += max(1, call.usage.calls)
            self.spent += call.cost or 0.0

    def _metered(self, lm: Any, memory: AnswerMemory | None) -> LanguageModel:
        given = {name: self._executor.config.value(name) for name in ("prices", "parameters")}
        return charged_model(self._executor.language_model(lm), self._budget, recorder=self, memory=memory, **given)
