"""Executors with a few signatures, over a language model that quotes what it was asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Extract(BaseSignature):
    """Extract facts."""

    document = InputField(aliases=("text",))
    info_types: list[str] = InputField()
    facts = OutputField()


class Summarize(BaseSignature):
    """Summarize."""

    document = InputField(aliases=("text",))
    max_length = InputField(default="short")
    summary = OutputField()


class Rate(BaseSignature):
    """Rate."""

    text = InputField()
    stars: int = OutputField(ge=0, le=5)
    reasons: list[str] = OutputField()


class Mail(BaseSignature):
    """Write a mail."""

    recipient = InputField()
    key_points: list[str] = InputField()
    body = OutputField()


class Secret(BaseSignature):
    """Keep a secret."""

    text = InputField(sensitive=True)
    hint = OutputField(sensitive=True)


def quote(field: str) -> Callable[[str], str]:
    """Return what answers with the name of the output and all that was said."""
    return lambda user: f"{field} of <" + " ".join(user.split("Respond with")[0].split()) + ">"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def lm() -> Any:
    answers = {name: quote(name) for name in ("facts", "summary", "body", "hint")}
    return null_lm(answers={**answers, "stars": 3, "reasons": ["long", "dull"]}, keep_requests=True)


@pytest.fixture
def make_executor(lm: Any) -> Iterator[MakeExecutor]:
    made: list[Executor] = []

    def make(**arguments: Any) -> Executor:
        executor = Executor(**{"plugins": [], "lm": lm, **arguments})
        made.append(executor)
        for signature in (Extract, Summarize, Rate, Mail, Secret):
            executor.register_signature(signature.__name__, signature)
        return executor

    yield make
    for executor in made:
        executor.close()


@pytest.fixture
def executor(make_executor: MakeExecutor) -> Executor:
    return make_executor()
