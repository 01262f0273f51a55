"""``charged_model``: a language model whose calls a budget pays for, wherever they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.call_records import Meter, Recorder
from hokusai_core.execution.call_limits import CallLimiter
from hokusai_core.runtime.deadline import UNBOUNDED

if TYPE_CHECKING:
    from hokusai_core.dspy_bridge.remembering_lm import AnswerMemory
    from hokusai_core.execution.budget import Budget
    from hokusai_core.model import LanguageModel
    from hokusai_core.price_table import PriceTable

__all__ = ["charged_model", "check_cost_bound"]


def charged_model(
    model: LanguageModel,
    budget: Budget | None,
    *,
    recorder: Recorder | None = None,
    prices: PriceTable | None = None,
    parameters: Mapping[str, Any] | None = None,
    memory: AnswerMemory | None = None,
) -> LanguageModel:
    """Return a language model whose calls are charged to a budget, such as that of a judge.

    Args:
        model: the language model.
        budget: what its calls are reserved of, or None.
        recorder: receives a record of every call, or None.
        prices: prices that go before those of DSPy.
        parameters: parameters of every call, which those of a signature go before.
        memory: keeps answers, so that no call is made twice; None for none.

    Raises:
        BudgetExceeded: the budget has a ceiling on cost, and nothing bounds what a call costs; see
            ``check_cost_bound``.

    Example:
        >>> from hokusai_core import Budget, LanguageModel
        >>> from hokusai_core.testing.lm import null_lm
        >>> budget = Budget(calls=5)
        >>> judge = charged_model(LanguageModel(null_lm()), budget)
        >>> len(judge.lm("How good is it?")), budget.spent.calls
        (1, 1)
    """
    if budget is None and recorder is None and memory is None:
        return model
    check_cost_bound(model, budget, prices=prices, parameters=parameters)
    from hokusai_core import dspy_bridge  # imports DSPy

    options: dict[str, Any] = {
        "gate": CallLimiter(UNBOUNDED, budget),
        "prices": prices,
        "parameters": dspy_bridge.call_parameters(model.lm, parameters or {}),
    }
    meter = recorder or _Forgetful()
    if memory is None:
        return evolve(model, lm=dspy_bridge.MeteredLM(model.lm, meter, **options))
    return evolve(model, lm=dspy_bridge.RememberingLM(model.lm, meter, memory, model.identity, **options))


def check_cost_bound(
    model: LanguageModel,
    budget: Budget | None,
    *,
    prices: PriceTable | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a language model under a ceiling on cost if nothing bounds what its calls cost, before any is made.

    Args:
        model: the language model.
        budget: what its calls are reserved of, or None.
        prices: prices that go before those of DSPy.
        parameters: parameters of its calls.

    Raises:
        BudgetExceeded: no price of the model is known, or its calls have no ``max_tokens``; says what to do.
    """
    if budget is None or budget.cost is None:
        return
    from hokusai_core import dspy_bridge  # imports DSPy

    options = dspy_bridge.call_parameters(model.lm, parameters or {})
    budget.most_cost(dspy_bridge.estimate_of(model.lm, "", None, options, prices))


class _Forgetful(Meter):
    """A meter that keeps no record."""

    def record(self, call: object) -> None:
        """Keep nothing."""
