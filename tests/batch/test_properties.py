"""Whatever rows do, and in whatever order they end: outcome i belongs to input i."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hokusai_core import ExecutionResult, Executor, FailedExecution
from hokusai_core.errors import DeadlineExceeded, InputError, LanguageModelError, OutputError

MakeExecutor = Callable[..., Executor]
KINDS = ("plain", "sleep", "fail", "recovers", "storm", "garble", "hang", "typo", "same")


def make_row(number: int, kind: str) -> dict[str, str]:
    orders = {
        "sleep": "sleep=0.004", "fail": "fail=9", "recovers": "fail=1", "storm": "storm=2", "garble": "garble=9",
        "hang": "hang=20",
    }  # fmt: skip
    if kind == "typo":
        return {"qestion": f"{number}"}
    if kind == "same":
        return {"question": "the same for many"}
    return {"question": f"row {number} {orders.get(kind, '')}".strip()}


def belongs(number: int, row: dict[str, str], kind: str, outcome: Any) -> bool:
    if kind in ("fail", "garble", "hang", "typo"):
        error = {"fail": LanguageModelError, "garble": OutputError, "hang": DeadlineExceeded, "typo": InputError}[kind]
        return (
            isinstance(outcome, FailedExecution)
            and (outcome.index, outcome.inputs) == (number, row)
            and isinstance(outcome.error, error)
        )
    return isinstance(outcome, ExecutionResult) and outcome["answer"] == f"answer to {row['question']}"


@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 40), workers=st.sampled_from([1, 2, 7, 70]),
    way=st.sampled_from(["list", "generator", "iterator", "awaited"]), asynchronous=st.booleans(),
)  # fmt: skip
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_outcome_i_belongs_to_input_i(
    make_executor: MakeExecutor, make_lm: Any, seed: int, count: int, workers: int, way: str, asynchronous: bool
) -> None:
    choose = random.Random(seed)
    # Where rows hang the deadline is short, and rows that take several tries would not always keep it.
    hanging = choose.random() < 0.3
    kinds = choose.choices(("plain", "sleep", "typo", "same", "hang") if hanging else KINDS[:6] + KINDS[7:], k=count)
    rows = [make_row(number, kind) for number, kind in enumerate(kinds)]
    executor = make_executor(lm=make_lm(asynchronous=asynchronous, retry_after=0.001))
    arguments: dict[str, Any] = {"max_workers": workers, "timeout": 60.0, "retry_on_failure": True, "max_retries": 1}
    if hanging:
        arguments = {"max_workers": 70, "timeout": 1.0}
    if way == "awaited":
        outcomes = list(asyncio.run(executor.aexecute_batch("Ask", rows, **arguments)))
    elif way == "iterator":
        outcomes = [outcome for _, outcome in sorted(executor.iter_batch("Ask", iter(rows), **arguments))]
    else:
        outcomes = list(executor.execute_batch("Ask", rows if way == "list" else iter(rows), **arguments))
    assert len(outcomes) == count
    wrong = [n for n in range(count) if not belongs(n, rows[n], kinds[n], outcomes[n])]
    assert not wrong, [(kinds[n], outcomes[n]) for n in wrong]


@pytest.mark.slow
def test_ten_thousand_rows(make_executor: MakeExecutor, make_lm: Any) -> None:
    choose = random.Random(4711)
    kinds = choose.choices(KINDS[:6] + KINDS[7:], [60, 10, 4, 0, 3, 2, 3, 18], k=10_000)
    rows = [make_row(number, kind) for number, kind in enumerate(kinds)]
    for number in choose.sample(range(10_000), 8):
        kinds[number], rows[number] = "hang", make_row(number, "hang")
    executor = make_executor(lm=make_lm(retry_after=0.001))
    outcomes = executor.execute_batch("Ask", rows, max_workers=100, timeout=10.0, progress=False)
    wrong = [n for n in range(10_000) if not belongs(n, rows[n], kinds[n], outcomes[n])]
    assert not wrong, [(kinds[n], outcomes[n]) for n in wrong[:5]]
