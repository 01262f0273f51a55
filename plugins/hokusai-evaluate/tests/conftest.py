from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

TEAMS = {"refund": "billing", "invoice": "billing", "crash": "product", "login": "product"}
ROUTE = "ticket -> team: Literal['billing', 'product']"


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """Forty tickets, half of them for each team, in two languages."""
    path = tmp_path / "tickets.jsonl"
    rows = [
        {"ticket": f"{word} number {number}", "team": team, "language": "de" if number % 2 else "en"}
        for number in range(10)
        for word, team in TEAMS.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def router() -> Callable[..., Any]:
    """Return a function that makes a language model: it routes tickets, wrongly where one of ``wrong`` is in them."""

    def make(*wrong: str, name: str = "null/router", fail: Callable[[str], None] = lambda ticket: None) -> Any:
        def team(user: str) -> str:
            ticket = user.rsplit("[[ ## ticket ## ]]", 1)[1].strip().split("\n")[0]
            fail(ticket)
            right = TEAMS[ticket.split()[0]]
            other = "product" if right == "billing" else "billing"
            return other if any(word in ticket for word in wrong) else right

        return null_lm(answers={"team": team}, model=name)

    return make


@pytest.fixture
def make_executor() -> Iterator[Callable[..., Executor]]:
    """Return a function that makes an executor with the signature Route."""
    made: list[Executor] = []

    def make(lm: Any = None, **options: Any) -> Executor:
        executor = Executor(**{"lm": lm, "plugins": ["evaluate"], "cache_enabled": False} | options)
        executor.register_signature("Route", ROUTE)
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.close()
