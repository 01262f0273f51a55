"""The language models of a study: each call is counted, held to the budget of its phase, and never paid for twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen
from dspy.utils.exceptions import is_retryable_lm_error

from hokusai_core import LanguageModel
from hokusai_core.plugin_api import RememberingLM, call_parameters, check_cost_bound
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.phase_budget import CallCounter, PhaseBudget

__all__ = ["StudyLM", "StudyModels"]

_RETRIES = 3
_LONGEST_WAIT = 30.0


@frozen(eq=False)
class _Meter:
    """What the calls of one phase pass.

    Args:
        counter: counts them.
        budget: refuses them when the phase is over.
        cache: keeps their answers.
        prices: prices that go before those of DSPy, or None.
    """

    counter: CallCounter
    budget: PhaseBudget
    cache: CallCache
    prices: Any = None


class StudyLM(RememberingLM):
    """A metered language model that remembers its answers, also those of a process that was killed.

    An answer that was cut off or withheld is an error. Nothing of it is kept, scored or shown as a demo.

    Args:
        lm: the language model.
        meter: what its calls pass.
        identity: tells this model from others of its name.
    """

    def __init__(self, lm: Any, meter: _Meter, identity: str = "") -> None:
        super().__init__(lm, meter.counter, meter.cache, identity, gate=meter.budget, prices=meter.prices)
        self._meter, self._model_identity = meter, identity

    def stop(self, reason: str) -> None:
        """Refuse every further call of this model and of its copies."""
        self._meter.budget.close(reason)

    def copy(self, **changes: Any) -> StudyLM:
        """Return a changed copy of the language model, in the same study."""
        return StudyLM(self.wrapped.copy(**changes), self._meter, self._model_identity)

    def recall(self, key: str) -> list[Any] | None:
        """Return the answers to a call that was made before, and count it."""
        known = super().recall(key)
        if known is not None:
            self._meter.counter.replay()
        return known

    def ask(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> list[Any]:
        """Make a call, again where the provider may answer later. Awaited calls are made once."""
        attempt = 0
        while True:
            try:
                return super().ask(prompt, messages, kwargs)
            except Exception as error:
                if attempt == _RETRIES or not is_retryable_lm_error(error):
                    raise
                self._meter.budget.wait(_seconds_to_wait(attempt, error))
                attempt += 1


class StudyModels:
    """Makes the language models of a study.

    Args:
        task: the language model that is optimized for.
        writer: the one that writes instructions; None for ``task``.
        resolve: returns a language model by name.
        counter: counts calls.
        cache: keeps answers.
        prices: prices that go before those of DSPy, or None.
        parameters: parameters of every call; those of a signature go before them.
        own: parameters that calls of ``task`` bring themselves.

    Raises:
        BudgetExceeded: the budget has a ceiling on cost, and nothing bounds what a call of a model costs.
    """

    def __init__(
        self,
        task: LanguageModel,
        writer: LanguageModel | None,
        resolve: Callable[[Any], LanguageModel],
        counter: CallCounter,
        cache: CallCache,
        prices: Any = None,
        parameters: Mapping[str, Any] | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        self._counter, self._cache, self._prices = counter, cache, prices
        self._parameters, self._resolve = parameters or {}, resolve
        self._task = self._settled(task, own or {})
        self._writer = None if writer is None else self._settled(writer)
        self._resolved: dict[Any, LanguageModel] = {}

    def task(self, budget: PhaseBudget, answers: CallCache | None = None) -> LanguageModel:
        """Return the language model that is optimized for, held to the budget of a phase.

        Args:
            budget: the budget.
            answers: where its answers are kept; None for the cache of the study.
        """
        return self._metered(self._task, budget, answers)

    def writer(self, budget: PhaseBudget) -> LanguageModel | None:
        """Return the language model that writes instructions, None where that is the same."""
        return None if self._writer is None else self._metered(self._writer, budget)

    def metric(self, metric: Any, budget: PhaseBudget, task: str, answers: CallCache | None = None) -> Any:
        """Return a metric whose own calls, where it makes any, are held to the budget as well."""
        if not hasattr(metric, "using"):
            return metric
        return metric.using(
            lambda lm: self._metered(self._task if lm is None else self._named(lm), budget, answers), task
        )

    def _named(self, lm: Any) -> LanguageModel:
        key = lm if isinstance(lm, str) else id(lm)
        if key not in self._resolved:
            self._resolved[key] = self._settled(self._resolve(lm))
        return self._resolved[key]

    def _settled(self, model: LanguageModel, own: Mapping[str, Any] | None = None) -> LanguageModel:
        """Return a language model with the parameters, once it is known what its calls may cost."""
        given = {**self._parameters, **(own or {})}
        check_cost_bound(model, self._counter.budget, prices=self._prices, parameters=given)
        chosen = {name: value for name, value in self._parameters.items() if value is not None}
        return evolve(model, lm=model.lm.copy(**call_parameters(model.lm, chosen))) if chosen else model

    def _metered(self, model: LanguageModel, budget: PhaseBudget, answers: CallCache | None = None) -> LanguageModel:
        meter = _Meter(self._counter, budget, self._cache if answers is None else answers, self._prices)
        return evolve(model, lm=StudyLM(model.lm, meter, model.identity))


def _seconds_to_wait(attempt: int, error: Exception) -> float:
    asked = getattr(error, "retry_after", None)
    return float(min(_LONGEST_WAIT, asked if asked is not None else 0.5 * 2**attempt))
