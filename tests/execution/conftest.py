"""Executors that are closed after the test and see nothing of this machine's plugins and environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest
from dspy.clients import base_lm

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def make_executor() -> Iterator[MakeExecutor]:
    """Return a function that makes an executor with the signatures Answer and Many, over a null language model."""
    made: list[Executor] = []

    def make(**arguments: Any) -> Executor:
        executor = Executor(**{"plugins": [], "lm": null_lm(), **arguments})
        made.append(executor)
        executor.register_signature("Answer", "question -> answer")
        executor.register_signature("Many", "question -> answers: list[str]")
        return executor

    yield make
    for executor in made:
        executor.close()


@pytest.fixture
def untouched() -> Iterator[None]:
    """Check that the host's DSPy is afterwards as it was before."""

    def snapshot() -> Any:
        return dict(dspy.settings.config), len(base_lm.GLOBAL_HISTORY), len(dspy.settings.trace or [])

    before = snapshot()
    yield
    assert snapshot() == before
