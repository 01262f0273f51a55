"""The test suite of a host: no key, no network, no file outside the folder of the test.

    python -m pytest examples/hosts/test_tickets.py

The fixtures come with `hokusai-core`; `evaluate` comes with `hokusai-evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import OutputError


class RouteTicket(BaseSignature):
    """Say which team answers a ticket."""

    ticket: str = InputField("What the customer has written")
    team: str = OutputField("billing or support", pattern="^(billing|support)$")


def test_a_ticket_is_routed(make_executor: Callable[..., Executor], null_lm: Callable[..., Any]) -> None:
    lm = null_lm(answers={"team": lambda prompt: "billing" if "invoice" in prompt else "support"})
    executor = make_executor(lm=lm)
    assert executor.execute_signature(RouteTicket, {"ticket": "My invoice is wrong."}).outputs.team == "billing"
    assert executor.execute_signature(RouteTicket, {"ticket": "It does not start."}).outputs.team == "support"
    assert lm.engine.calls == 2


def test_an_answer_that_does_not_fit_is_an_error(
    make_executor: Callable[..., Executor], null_lm: Callable[..., Any]
) -> None:
    executor = make_executor(lm=null_lm(answers={"team": "sales"}))
    with pytest.raises(OutputError):
        executor.execute_signature(RouteTicket, {"ticket": "Hello"})


def test_most_tickets_go_to_the_right_team(evaluate: Callable[..., Any], null_lm: Callable[..., Any]) -> None:
    rows = [{"inputs": {"ticket": f"Invoice {number}"}, "outputs": {"team": "billing"}} for number in range(20)]
    evaluate(RouteTicket, rows, lm=null_lm(answers={"team": "billing"}), min_score=0.9)
