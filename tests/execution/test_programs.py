"""Programs in the cache: an answer belongs to the program that gave it, in the state that it had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
import pytest

from hokusai_core import Executor
from hokusai_core.caching import MemoryCache

MakeExecutor = Callable[..., Executor]


class Fixed(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def forward(self, question: str) -> Any:
        return dspy.Prediction(answer=self.word)


class Hidden(Fixed):
    """A program whose state nothing can tell."""

    def __init__(self, word: str) -> None:
        super().__init__("")
        self.say: Callable[[], str] = lambda: word

    def forward(self, question: str) -> Any:
        return dspy.Prediction(answer=self.say())


@pytest.fixture
def ask(make_executor: MakeExecutor) -> Callable[[str], Any]:
    """Return a function that executes a signature and returns its answer and where that came from."""
    executor = make_executor(cache=PersistentMemory())
    for name, program in (("A", Fixed("a")), ("B", Fixed("b")), ("C", Hidden("c")), ("D", Hidden("d"))):
        executor.register_signature(name, program, signature="question -> answer")

    def run(name: str) -> tuple[str, str | None]:
        result = executor.execute_signature(name, {"question": "?"})
        return result["answer"], result.cached

    run.executor = executor  # type: ignore[attr-defined]
    return run


class PersistentMemory(MemoryCache):
    """A memory cache in the place of a persistent one."""

    tier = "disk"


def test_programs_with_one_signature_share_no_answer(ask: Callable[[str], Any]) -> None:
    assert [ask(name) for name in "ABCD"] == [("a", None), ("b", None), ("c", None), ("d", None)]
    assert [ask(name) for name in "ABCD"] == [(word, "memory") for word in "abcd"]
    assert ask("Answer")[1] is None


def test_a_program_that_was_changed_is_asked_again(make_executor: MakeExecutor) -> None:
    executor, fixed, thinking = make_executor(), Fixed("old"), dspy.ChainOfThought("question -> answer")
    executor.register_signature("Fixed", fixed, signature="question -> answer")
    executor.register_signature("Thinking", thinking)
    for name in ("Fixed", "Thinking"):
        assert [executor.execute_signature(name, {"question": "?"}).cached for _ in range(2)] == [None, "memory"]
    fixed.word = "new"
    thinking.predict.demos = [dspy.Example(question="1 + 1?", reasoning="add", answer="2")]
    assert executor.execute_signature("Fixed", {"question": "?"})["answer"] == "new"
    assert executor.execute_signature("Thinking", {"question": "?"}).cached is None


def test_only_programs_that_are_known_in_full_are_stored_for_good(ask: Any) -> None:
    ask.executor.register_signature("Thinking", dspy.ChainOfThought("question -> answer"))
    persistent = ask.executor.services.cache.persistent
    for name in ("A", "C", "Thinking"):
        ask(name)
    assert [entry.signature for entry in persistent.entries()] == ["local/Thinking"]
    assert "program" in str(ask.executor.explain("A", {"question": "other"}).tiers)


def test_executors_share_no_answers_of_programs(make_executor: MakeExecutor) -> None:
    answers = []
    shared = PersistentMemory()
    shared.close = lambda: None  # type: ignore[method-assign]  # both executors are given it
    for word in ("first", "second"):
        executor = make_executor(cache=shared)
        executor.register_signature("P", Hidden(word), signature="question -> answer")
        answers.append(executor.execute_signature("P", {"question": "?"})["answer"])
    assert answers == ["first", "second"]
