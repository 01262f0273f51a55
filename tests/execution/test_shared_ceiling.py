"""A ceiling on money that processes share holds, whatever happens to them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import Budget, Executor, FailedExecution
from hokusai_core.errors import BudgetExceeded, ExecutionError
from hokusai_core.execution.budget_file import BudgetFile
from hokusai_core.plugin_api import SignatureRunner, charged_model
from tests.execution.billing_server import BillingServer

PROCESSES = 8


def work(url: str, file: Path, seed: int) -> None:
    """Spend money in every way, until there is none left."""
    draw = random.Random(seed)
    lm = dspy.LM("openai/paid", api_base=url, api_key="k", engine="lm15", cache=False, num_retries=0)
    prices = {"openai/paid": {"input": 10.0, "output": 40.0}}
    budget = Budget(cost=1, file=file)
    options: dict[str, Any] = {"budget": budget, "retry_on_failure": True, "max_retries": 2}
    with Executor(lm=lm, plugins=[], cache_enabled=False, prices=prices, timeout=20) as executor:
        executor.register_signature("Ask", "question -> answer, grade: int")
        executor.register_signature("Judge", "question -> answer, grade: int")
        given: dict[str, Any] = {"prices": executor.config.value("prices"), "parameters": {"max_tokens": 100}}
        model = charged_model(executor.language_model(), budget, **given)
        judge = SignatureRunner(executor.signature("Judge").spec, model)
        while True:
            rows = [{"question": "?" * draw.randint(1, 400)} for _ in range(draw.randint(1, 6))]
            size = {"max_tokens": draw.randint(1, 300)}
            try:
                way = draw.randrange(4)
                if way == 0:
                    found: Any = executor.execute_batch("Ask", rows, progress=False, parameters=size, **options)
                elif way == 1:
                    found = asyncio.run(
                        executor.aexecute_batch("Ask", rows, progress=False, parameters=size, **options)
                    )
                elif way == 2:
                    found = [executor.execute_signature("Ask", rows[0], parameters=size, **options)]
                else:
                    judge.run(rows[0])
                    found = []
                failures = [row.error for row in found if isinstance(row, FailedExecution)]
                if any(isinstance(error, BudgetExceeded) for error in failures):
                    return
            except BudgetExceeded:
                return
            except ExecutionError:
                pass


def forked(url: str, file: Path, seed: int) -> int:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work(url, file, seed)
            code = 0
        finally:
            os._exit(code)
    return process


def trial(folder: Path, seed: int) -> Decimal:
    """Let processes spend a dollar, kill some of them, and return what the server has charged."""
    draw = random.Random(seed)
    file = folder / f"budget-{seed}"
    server = BillingServer("10", "40", seed=seed, refused=0.1, broken=0.05, delay=0.01)
    with server:
        running = {forked(server.base_url, file, seed * 100 + number) for number in range(PROCESSES)}
        killed: set[Any] = set()
        for _ in range(draw.randint(1, PROCESSES - 1)):
            time.sleep(draw.random() * 0.08)
            victim = draw.choice(sorted(running - killed))
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
        for process in running:
            _, status = os.waitpid(process, 0)
            assert process in killed or os.waitstatus_to_exitcode(status) == 0
        billed = server.billed
    opened = BudgetFile(file)
    opened.bury_dead()
    account = opened.read(lambda account: account)
    assert not account.reserved
    assert billed <= Decimal(account.spent) / 10**12 <= 1
    return billed


@pytest.mark.slow
@pytest.mark.parametrize("trials", [4, pytest.param(100, marks=pytest.mark.soak)])
def test_eight_processes_never_spend_more_than_the_ceiling(trials: int, tmp_path: Path) -> None:
    billed = [trial(tmp_path, seed) for seed in range(trials)]
    assert max(billed) <= 1
    assert sum(billed) / trials > Decimal("0.2")  # and most of it is spent, though some calls are lost
