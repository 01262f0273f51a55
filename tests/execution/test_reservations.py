"""What is reserved for calls of every kind, and what becomes of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import dspy
import pydantic
import pytest
from dspy.lm15 import RateLimitError, ServerError

from hokusai_core import Budget, Executor, ModelPolicy, Usage
from hokusai_core.call_records import CallEstimate, CostBound
from hokusai_core.dspy_bridge import cost_bound as bounds
from hokusai_core.dspy_bridge import model_prices
from hokusai_core.dspy_bridge.cost_bound import cost_bound
from hokusai_core.errors import BudgetExceeded, ConfigurationError, DeadlineExceeded, ExecutionError
from hokusai_core.price_table import PriceTable
from hokusai_core.testing.lm import null_lm
from hokusai_core.types import FailedExecution

MakeExecutor = Callable[..., Executor]
#: An answer of the null model has 5 tokens, at ten cents each.
PRICES = {"null/model": {"input": 0.0, "output": 100_000.0}}
ROWS = [{"question": str(number)} for number in range(30)]


@pytest.fixture
def priced(make_executor: MakeExecutor) -> MakeExecutor:
    def make(**options: Any) -> Executor:
        return make_executor(**{"prices": PRICES, "cache_enabled": False, "parameters": {"max_tokens": 10}, **options})

    return make


def run_rows(executor: Executor, rows: Any, way: str, **options: Any) -> list[Any]:
    if way == "async":
        return list(asyncio.run(executor.aexecute_batch("Answer", rows, progress=False, **options)))
    return list(executor.execute_batch("Answer", rows, progress=False, **options))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_batch_narrows_where_calls_under_way_fill_the_budget(way: str, priced: MakeExecutor) -> None:
    lm = null_lm(delay=0.01, asynchronous=way == "async")
    budget = Budget(cost=4)  # a call may cost a dollar, and costs fifty cents
    found = run_rows(priced(lm=lm), ROWS[:10], way, budget=budget, max_workers=10)
    failed = [row for row in found if isinstance(row, FailedExecution)]
    assert len(failed) == 3  # after seven, fifty cents are left, and a call may cost a dollar
    assert {type(row.error) for row in failed} == {BudgetExceeded}
    assert "$0.5000 of $4.0000 is left, and the next call may cost up to $1.0000" in str(failed[0].error)
    assert lm.engine.calls == 7
    assert lm.engine.most_in_flight <= 4
    assert budget.spent_cost == 3.5


@pytest.mark.parametrize("way", ["sync", "async"])
def test_waiting_for_others_is_no_time_of_a_row(way: str, priced: MakeExecutor) -> None:
    started = time.monotonic()
    narrow = Budget(cost=11.5)
    narrow_lm = null_lm(delay=0.3, asynchronous=way == "async")
    executor = priced(lm=narrow_lm, parameters={"max_tokens": 100})  # ten dollars each: one at a time
    executor.execute_signature("Answer", {"question": "?"})  # the first one takes longer
    found = run_rows(executor, ROWS[:4], way, budget=narrow, max_workers=4, timeout=1.0)
    assert [row.error for row in found if isinstance(row, FailedExecution)] == []
    assert time.monotonic() - started >= 4 * 0.3
    assert narrow_lm.engine.most_in_flight == 1
    assert [attempt.number for row in found for attempt in row.attempts] == [1, 1, 1, 1]


def test_a_single_call_waits_and_is_bounded_by_its_deadline(priced: MakeExecutor) -> None:
    executor, budget = priced(), Budget(cost=1)
    reservation = budget.reserve(_estimate(0.9))
    with pytest.raises(DeadlineExceeded, match="calls under way have reserved what is left of the budget"):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget, timeout=0.2)
    threading.Timer(0.1, lambda: reservation.charge(_usage(), 0.0)).start()
    assert executor.execute_signature("Answer", {"question": "?"}, budget=budget, timeout=10).cost == 0.5


def test_an_async_call_that_is_cancelled_while_it_waits_holds_nothing(priced: MakeExecutor) -> None:
    executor, budget = priced(lm=null_lm(asynchronous=True)), Budget(cost=1)
    reservation = budget.reserve(_estimate(0.9))

    async def run() -> None:
        task = asyncio.create_task(executor.aexecute_signature("Answer", {"question": "?"}, budget=budget))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert budget.to_dict()["reserved"] == {"calls": 1, "cost": 0.9}
    reservation.refund()
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}


def test_a_ceiling_on_cost_needs_max_tokens(priced: MakeExecutor) -> None:
    lm = null_lm()
    executor = priced(lm=lm, parameters={})
    with pytest.raises(BudgetExceeded, match=r"null/model: a ceiling on cost needs a bound.*max_tokens.*--parameter"):
        executor.execute_signature("Answer", {"question": "?"}, budget=Budget(cost=100))
    assert lm.engine.calls == 0
    asked = executor.execute_signature(
        "Answer", {"question": "?"}, budget=Budget(cost=100), parameters={"max_tokens": 9}
    )
    assert asked.cost == 0.5
    free = {"null/model": {"input": 1.0, "output": 0.0}}
    executor = priced(lm=lm, parameters={}, prices=free)
    executor.execute_signature("Answer", {"question": "?"}, budget=Budget(cost=100))  # answers cost nothing


def test_a_model_without_a_price_is_refused_before_the_first_call(make_executor: MakeExecutor) -> None:
    engine = null_lm().engine
    engine.free = False
    lm = dspy.LM("odd/model", engine=engine, cache=False)
    budget = Budget(cost=1)
    found = run_rows(make_executor(lm=lm), ROWS[:4], "sync", budget=budget)
    assert all("no price of odd/model is known" in str(row.error) for row in found)
    assert engine.calls == budget.spent.calls == 0


class Failing:
    """An engine that fails, or leaves things unsaid."""

    supports_response_schema = supports_function_calling = supports_reasoning = False
    supported_params = frozenset({"max_tokens"})

    def __init__(self, error: BaseException | None) -> None:
        self.error, self.calls = error, 0

    def complete(self, request: Any) -> Any:
        self.calls += 1
        if self.error is not None:
            raise self.error
        answer = null_lm().engine.complete(request)
        return dspy.lm15.Response(
            id=None, model=answer.model, message=answer.message, finish_reason="stop", usage=dspy.lm15.Usage()
        )

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (RateLimitError("slow down", status=429), 0.0),
        (ServerError("overloaded", status=503), 0.0),
        (ConnectionRefusedError("no server there"), 0.0),
        (ServerError("something broke", status=500), 1.0),
        (ServerError("a gateway gave up", status=504), 1.0),
        (ConnectionResetError("in the middle"), 1.0),
        (TimeoutError("no answer"), 1.0),
        (RuntimeError("who knows"), 1.0),
        (None, 1.0),  # an answer that does not say how many tokens it has
    ],
)
def test_a_bill_that_is_not_known_counts_as_the_most_that_it_may_be(
    error: Any, spent: float, make_executor: MakeExecutor
) -> None:
    engine = Failing(error)
    lm = dspy.LM("paid/model", engine=engine, cache=False)
    prices = {"paid/model": {"input": 0.0, "output": 100_000.0}}
    executor = make_executor(lm=lm, prices=prices, parameters={"max_tokens": 10}, cache_enabled=False)
    budget = Budget(cost=5)
    if error is None:
        executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    else:
        with pytest.raises(ExecutionError):
            executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    assert engine.calls == budget.spent.calls == 1
    assert budget.spent_cost == budget.to_dict()["spent"]["uncertain"] == spent
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}


def test_a_call_that_is_cancelled_counts_as_the_most_that_it_may_cost(priced: MakeExecutor) -> None:
    executor, budget = priced(lm=null_lm(delay=5, asynchronous=True)), Budget(cost=5)

    async def run() -> None:
        with pytest.raises(DeadlineExceeded):
            await executor.aexecute_signature("Answer", {"question": "?"}, budget=budget, timeout=0.1)

    asyncio.run(run())
    assert (budget.spent_cost, budget.to_dict()["spent"]["uncertain"]) == (1.0, 1.0)


def test_a_call_that_runs_on_is_settled_when_it_ends(priced: MakeExecutor) -> None:
    executor, budget = priced(lm=null_lm(delay=0.4)), Budget(cost=5)
    with pytest.raises(DeadlineExceeded):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget, timeout=0.1)
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}  # others do not wait for it
    assert (budget.spent_cost, budget.to_dict()["spent"]["uncertain"], budget.spent.calls) == (1.0, 1.0, 1)
    time.sleep(0.6)
    assert (budget.spent_cost, budget.to_dict()["spent"]["uncertain"]) == (0.5, 0.0)
    assert budget.spent == Usage(10, 5, 1)


class Own(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A program that brings its own language model, and is awaited."""

    def __init__(self, lm: Any) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")
        self.ask.lm = lm

    async def aforward(self, question: str) -> Any:
        return await self.ask.acall(question=question)

    def forward(self, question: str) -> Any:
        return self.ask(question=question)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_rows_of_programs_with_models_of_their_own_wait_too(way: str, priced: MakeExecutor) -> None:
    own = null_lm(delay=0.05, asynchronous=way == "async", model="null/own")
    own.kwargs["max_tokens"] = 10
    executor = priced(prices={"null/own": PRICES["null/model"]})
    executor.register_signature("Own", Own(own), signature="question -> answer")
    budget = Budget(cost=3.5)
    if way == "async":
        found = list(asyncio.run(executor.aexecute_batch("Own", ROWS[:6], progress=False, budget=budget)))
    else:
        found = list(executor.execute_batch("Own", ROWS[:6], progress=False, budget=budget))
    assert [row.error for row in found if isinstance(row, FailedExecution)] == []
    assert own.engine.most_in_flight <= 3
    assert budget.spent_cost == 3.0
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}


@pytest.mark.parametrize("strategy", ["majority", "best_of_n"])
def test_rows_of_strategies_wait_for_each_other(strategy: str) -> None:
    def reward(*_: Any) -> float:
        return 0.0

    reward.version = "1"  # type: ignore[attr-defined]
    lm = null_lm(delay=0.01)
    options: Any = {"plugins": ["strategies", "evaluate"], "prices": PRICES, "parameters": {"max_tokens": 10}}
    with Executor(lm=lm, cache_enabled=False, **options) as executor:
        executor.register_signature("Answer", "question -> answer")
        budget = Budget(cost=9.5)
        chosen = {"name": strategy, "n": 3, **({"reward": reward} if strategy == "best_of_n" else {})}
        found = executor.execute_batch("Answer", ROWS[:6], progress=False, budget=budget, strategy=chosen)
        assert [row.error for row in found if isinstance(row, FailedExecution)] == []
    assert lm.engine.calls == (12 if strategy == "majority" else 18)  # two of three are enough
    assert budget.spent_cost == lm.engine.calls / 2


def test_a_policy_waits_for_room_and_asks_no_other_model(priced: MakeExecutor) -> None:
    first, second = null_lm(delay=0.02), null_lm(model="null/other")
    executor = priced(lm=ModelPolicy([first, second]), prices={**PRICES, "null/other": PRICES["null/model"]})
    found = run_rows(executor, ROWS[:6], "sync", budget=Budget(cost=10), max_workers=6, parameters={"max_tokens": 50})
    assert {row.model for row in found} == {"null/model"}
    assert second.engine.calls == 0


def test_settings_bound_all_executions_together(priced: MakeExecutor, tmp_path: Any) -> None:
    file = tmp_path / "team.budget"
    first = priced(max_cost=1.2, budget_file=str(file))
    second = priced(max_cost=1.2, budget_file=str(file))
    first.execute_signature("Answer", {"question": "?"})
    with pytest.raises(BudgetExceeded, match=r"\$0\.7000 of \$1\.2000 is left"):
        second.execute_signature("Answer", {"question": "?"})
    second.execute_signature("Answer", {"question": "?"}, budget=Budget(cost=2))  # a budget of its own
    assert second.budget is not None
    assert second.budget.spent_cost == 0.5
    with pytest.raises(ConfigurationError, match=r"budget_file.*max_cost"):
        priced(budget_file=str(file))
    assert priced().budget is None


# -- the bound ---------------------------------------------------------------------------------------------------

ENTRY = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 4e-6,
    "input_cost_per_token_above_200k_tokens": 2e-6,
    "output_cost_per_token_above_200k_tokens": 8e-6,
    "cache_read_input_token_cost": 1e-7,
    "output_cost_per_reasoning_token": 5e-6,
    "input_cost_per_audio_token": 40e-6,
    "input_cost_per_token_batches": 0.5e-6,
    "input_cost_per_token_priority": 3e-6,
    "output_cost_per_token_priority": 9e-6,
}
USUAL = {"service_tier": "default", "max_tokens": 100}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(bounds, "prices_of", lambda lm: ENTRY)
    engine = null_lm().engine
    engine.free = False
    return dspy.LM("listed/model", engine=engine, cache=False)


def picodollars(bound: Any) -> Decimal:
    assert bound.problem == ""
    return Decimal(bound.amount) / 10**12


def text(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def test_a_token_is_at_least_a_byte(listed: Any) -> None:
    for content in ("x" * 1000, "ä" * 500, "漢" * 400, "\N{PILE OF POO}" * 300, "\ud800" * 10):
        size = len(content.encode("utf-8", "surrogatepass"))
        bound = picodollars(cost_bound(listed, None, text(content), USUAL))
        least = Decimal(size) * Decimal("1e-6") + 100 * Decimal("5e-6")
        assert least <= bound <= least + Decimal("400e-6")


def test_thoughts_long_prompts_and_tiers_have_their_dearest_price(listed: Any) -> None:
    usual = picodollars(cost_bound(listed, None, text("x"), USUAL))
    assert usual == (256 + 16 + 1 + 9) * Decimal("1e-6") + 100 * Decimal("5e-6")
    surcharge = picodollars(cost_bound(listed, None, text("x"), {"max_tokens": 100}))
    assert surcharge == (256 + 16 + 1) * Decimal("3e-6") + 100 * Decimal("9e-6")
    long = picodollars(cost_bound(listed, None, text("x" * 300_000), USUAL))
    assert long == (300_000 + 256 + 16 + 9) * Decimal("2e-6") + 100 * Decimal("8e-6")


def test_several_answers_are_each_bounded(listed: Any) -> None:
    one = picodollars(cost_bound(listed, None, text("x"), USUAL))
    for options in ({"n": 3}, {"num_generations": 3}, {"extra_body": {"n": 3}}):
        three = picodollars(cost_bound(listed, None, text("x"), {**USUAL, **options}))
        assert three >= 3 * one
    listed.kwargs["n"] = 4
    assert picodollars(cost_bound(listed, None, text("x"), USUAL)) == 4 * one


def test_the_larger_of_two_limits_counts(listed: Any) -> None:
    listed.kwargs["max_tokens"] = 4000
    small = cost_bound(listed, None, text("x"), USUAL)
    large = cost_bound(listed, None, text("x"), {**USUAL, "max_completion_tokens": 5000})
    body = cost_bound(listed, None, text("x"), {**USUAL, "extra_body": {"max_tokens": 6000}})
    assert picodollars(small) < picodollars(large) < picodollars(body)


def test_tools_and_schemas_are_part_of_the_prompt(listed: Any) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"x": "y" * 500}}}
    plain = picodollars(cost_bound(listed, None, text("x"), USUAL))
    assert picodollars(cost_bound(listed, None, text("x"), {**USUAL, "tools": [tool]})) > plain + Decimal("0.0015")

    class Form(pydantic.BaseModel):
        name: str

    assert picodollars(cost_bound(listed, None, text("x"), {**USUAL, "response_format": Form})) > plain + Decimal(
        "0.001"
    )


def test_media_are_counted_or_refused(listed: Any) -> None:
    data = "A" * 200_000
    plain = picodollars(cost_bound(listed, None, text("x"), USUAL))
    picture = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
    assert picodollars(cost_bound(listed, None, text(picture), USUAL)) >= plain + Decimal("0.2")
    small = [{"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}]
    assert picodollars(cost_bound(listed, None, text(small), USUAL)) >= plain + Decimal("0.065")
    sound = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    assert picodollars(cost_bound(listed, None, text(sound), USUAL)) >= 200_000 * Decimal("40e-6")
    document = [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}]
    refused = cost_bound(listed, None, text(document), USUAL)
    assert refused.amount is None
    assert "'file'" in refused.problem
    assert "Budget(calls=" in refused.problem


@pytest.mark.parametrize(
    "options", [{"tools": [{"type": "web_search"}]}, {"web_search_options": {}}, {"probabilities": True}]
)
def test_what_has_fees_of_its_own_is_refused(options: Any, listed: Any) -> None:
    refused = cost_bound(listed, None, text("x"), {**USUAL, **options})
    assert refused.amount is None
    assert "nothing says before a call what this costs" in refused.problem


def test_a_tokenizer_counts_more_closely(listed: Any) -> None:
    listed._engine_spec.count_tokens = lambda request: 7
    assert picodollars(cost_bound(listed, None, text("x" * 900), {"max_tokens": 100})) < Decimal("0.0019")


def test_a_table_of_ones_own_has_tiers() -> None:
    short = {"input": 1, "output": 4, "cached_input": 0.1, "written_input": 1.25, "reasoning": 5}
    table = PriceTable.of({"m": {**short, "input_above_200k_tokens": 2, "output_above_200k_tokens": 8}})
    listed = PriceTable.of({"m": {name: value for name, value in ENTRY.items() if "priority" not in name}})
    assert table is not None
    assert listed is not None
    assert table.cost("m", Usage(1_000, 100, 1)) == pytest.approx(0.0014)
    assert table.cost("m", Usage(1_000, 100, 1, 500, 60), 200) == pytest.approx(
        (300 * 1 + 500 * 0.1 + 200 * 1.25 + 40 * 4 + 60 * 5) / 1e6
    )
    for prices in (table, listed):
        assert prices.cost("m", Usage(300_000, 100, 1)) == pytest.approx(0.6 + 0.0008)
        assert prices.highest("m", 1_000)[1] == pytest.approx(5e-6)  # type: ignore[index]
        assert prices.highest("m", 300_000) == pytest.approx((2e-6, 8e-6))
    with pytest.raises(ValueError, match="input_above_200k_tokens: expected a number"):
        PriceTable.of({"m": {"input": 1, "output": 1, "input_above_200k_tokens": "two"}})


def _estimate(amount: float) -> Any:
    return CallEstimate("m", 1, 1, lambda: CostBound(round(amount * 10**12)))


def _usage() -> Any:
    return Usage(1, 1, 1)


def test_the_price_list_of_dspy_is_read_as_it_is_billed() -> None:
    lm = dspy.LM("openai/gpt-4o-mini", api_key="k", cache=False)
    assert model_prices.prices_of(lm) is not None
    bound = cost_bound(lm, None, text("x" * 100), {"max_tokens": 10, "service_tier": "default"})
    assert picodollars(bound) < Decimal("0.0002")
