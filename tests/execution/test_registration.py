"""What ``register_signature`` takes, and how it is executed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureValidator
from hokusai_core.errors import SignatureDefinitionError, SignatureExistsError
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class QA(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField(desc="what is asked")
    answer: str = dspy.OutputField()
    sure: float = dspy.OutputField()


class TwoSteps(dspy.Module):
    """Ask twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> draft")
        self.second = dspy.ChainOfThought("draft -> answer")

    def forward(self, question: str) -> Any:
        return self.second(draft=self.first(question=question).draft)


class Awaitable(TwoSteps):
    async def aforward(self, question: str) -> Any:
        first = await self.first.acall(question=question)
        return await self.second.acall(draft=first.draft)


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("x", "signature", "outputs", "calls"),
    [
        ("question -> answer, sure: float", None, {"answer", "sure"}, 1),
        (QA, None, {"answer", "sure"}, 1),
        (dspy.Predict(QA), None, {"answer", "sure"}, 1),
        (dspy.ChainOfThought(QA), None, {"reasoning", "answer", "sure"}, 1),
        (TwoSteps(), None, {"reasoning", "answer"}, 2),
        (TwoSteps(), "question -> answer", {"answer"}, 2),
        (Awaitable(), "question -> answer", {"answer"}, 2),
    ],
    ids=["text", "dspy-signature", "predict", "chain-of-thought", "program", "program-declared", "program-async"],
)
def test_every_form_is_executed_cached_and_counted(
    make_executor: MakeExecutor, x: Any, signature: Any, outputs: set[str], calls: int, awaited: bool
) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("It", x, signature=signature)
    assert "It" in executor.list_signatures()

    def run() -> Any:
        if awaited:
            return asyncio.run(executor.aexecute_signature("It", {"question": "?"}))
        return executor.execute_signature("local/It", {"question": "?"})

    result = run()
    assert outputs <= set(result)
    assert (result.signature, result.usage.calls, lm.engine.calls) == ("local/It", calls, calls)
    assert run().cached == "memory"


def test_a_program_with_tools(make_executor: MakeExecutor) -> None:
    used: list[str] = []

    def look_up(topic: str) -> str:
        """Look a topic up."""
        used.append(topic)
        return "It has four strings."

    steps = iter(["look_up", "finish"])
    lm = null_lm(
        answers={
            "next_tool_name": lambda _user: next(steps),
            "next_tool_args": lambda user: {"topic": "violin"} if not used else {},
        }
    )
    executor = make_executor(lm=lm)
    executor.register_signature("Agent", dspy.ReAct("question -> answer", tools=[look_up]))
    result = executor.execute_signature("Agent", {"question": "How many strings?"})
    assert used == ["violin"]
    assert result["answer"] == "some answer"
    assert result.usage.calls == lm.engine.calls == 3


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_hokusai_signature_goes_straight_into_dspy(make_executor: MakeExecutor, awaited: bool) -> None:
    class Greet(BaseSignature):
        """Greet."""

        name: str = InputField()
        greeting: str = OutputField()

    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("Thinking", dspy.ChainOfThought(Greet))
    if awaited:
        result = asyncio.run(executor.aexecute_signature("Thinking", {"name": "Ada"}))
    else:
        result = executor.execute_signature("Thinking", {"name": "Ada"})
    assert result["greeting"] == "some greeting"


@pytest.mark.parametrize("x", [None, 5, object(), TwoSteps, dspy.Module, {"a": 1}, BaseSignature, "no arrow", "-> b"])
def test_what_cannot_be_registered(make_executor: MakeExecutor, x: Any) -> None:
    executor = make_executor()
    with pytest.raises(SignatureDefinitionError):
        executor.register_signature("It", x)
    assert "It" not in executor.list_signatures()


def test_a_name_is_not_taken_silently(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    with pytest.raises(SignatureExistsError, match="replace=True"):
        executor.register_signature("Answer", "a -> b")
    first = executor.execute_signature("Answer", {"question": "?"})
    executor.register_signature("Answer", "question -> reply", replace=True)
    second = executor.execute_signature("Answer", {"question": "?"})
    assert (list(first), list(second)) == (["answer"], ["reply"])


def test_registering_while_others_execute(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=null_lm(delay=0.001))

    def use(number: int) -> str:
        name = f"S{number % 5}"
        executor.register_signature(name, f"question -> answer, extra{number}", replace=True)
        return str(executor.execute_signature(name, {"question": str(number)})["answer"])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(100))) == {"some answer"}


def test_threads_may_share_one_validator(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.register_signature("Strict", "name, times: int -> greeting")
    validator = SignatureValidator(executor)
    barrier = threading.Barrier(6)

    def check(number: int) -> bool:
        good = number % 2 == 0
        inputs = {"name": "Ada", "times": 3} if good else {"nam": "Ada", "times": f"no {number}"}
        barrier.wait(10)
        for _ in range(100):
            assert validator.validate_inputs("Strict", inputs) is good
            found = {(problem.field, problem.code) for problem in validator.get_errors()}
            expected = set() if good else {("nam", "unknown"), ("name", "missing"), ("times", "wrong_type")}
            assert found == expected
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(check, range(6)))
    assert validator.get_errors() == [], "this thread has checked nothing"


def test_a_validator_tells_an_unknown_signature(make_executor: MakeExecutor) -> None:
    validator = SignatureValidator(make_executor())
    for name in ("Anwser", None, 5):
        assert not validator.validate_inputs(name, {"question": "?"})
        assert [problem.code for problem in validator.get_errors()] == ["unknown_signature"]
    assert validator.validate_inputs("Answer", {"question": "?"})
    assert validator.get_errors() == []
