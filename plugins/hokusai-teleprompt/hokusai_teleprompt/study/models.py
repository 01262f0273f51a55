"""The language models of a study: every call of every one of them is metered, journaled and gated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from hokusai_core import LanguageModel
from hokusai_teleprompt.study.journal import Journal
from hokusai_teleprompt.study.ledger import CallLedger, Gate
from hokusai_teleprompt.study.model import StudyLM

__all__ = ["StudyModels"]


class StudyModels:
    """Puts language models behind a ledger, a journal and the gate of a phase.

    Args:
        task: the language model that is optimized for.
        writer: the one that writes instructions; None for ``task``.
        resolve: returns a language model by name.
        ledger: counts calls.
        journal: keeps answers.
    """

    def __init__(
        self,
        task: LanguageModel,
        writer: LanguageModel | None,
        resolve: Callable[[Any], LanguageModel],
        ledger: CallLedger,
        journal: Journal,
    ) -> None:
        self._task, self._writer, self._resolve = task, writer, resolve
        self._ledger, self._journal = ledger, journal
        self._resolved: dict[Any, LanguageModel] = {}

    def task(self, gate: Gate) -> LanguageModel:
        """Return the language model that is optimized for."""
        return self._behind(self._task, gate)

    def writer(self, gate: Gate) -> LanguageModel | None:
        """Return the language model that writes instructions, None where that is the same."""
        return None if self._writer is None else self._behind(self._writer, gate)

    def metric(self, metric: Any, gate: Gate, task: str) -> Any:
        """Return a metric whose own calls, where it makes any, pass the gate as well."""
        if not hasattr(metric, "using"):
            return metric
        return metric.using(lambda lm: self.task(gate) if lm is None else self._behind(self._named(lm), gate), task)

    def _named(self, lm: Any) -> LanguageModel:
        key = lm if isinstance(lm, str) else id(lm)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(lm)
        return self._resolved[key]

    def _behind(self, model: LanguageModel, gate: Gate) -> LanguageModel:
        lm = StudyLM(model.lm, self._ledger, gate, self._journal, model.identity)
        return evolve(model, lm=lm)
