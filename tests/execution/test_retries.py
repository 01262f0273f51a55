"""Retries: off unless asked for, only where trying again can help, waiting as long as the provider asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from dspy import lm15

from hokusai_core import Executor, Usage
from hokusai_core.errors import ExecutionError, LanguageModelRefused, OutputError, PromptTooLong, RateLimitedError
from hokusai_core.execution.state import RetryPolicy
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]
GOOD = "[[ ## answer ## ]]\nfine\n\n[[ ## completed ## ]]"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the shortest wait that the policy allows; how long it may be is tested on the policy itself."""
    monkeypatch.setattr("hokusai_core.execution.state.random.uniform", lambda low, high: low)


def script(*steps: Any) -> Any:
    """Return a language model that follows ``steps``: it raises an exception, answers a text, and repeats the last."""
    rest = iter(steps)
    last: list[Any] = []

    def answer(_user: str) -> str:
        step = next(rest, last[-1] if last else None)
        last.append(step)
        if isinstance(step, BaseException):
            raise step
        return str(step)

    return null_lm(raw=answer)


def run(executor: Executor, awaited: bool, **arguments: Any) -> Any:
    if awaited:
        return asyncio.run(executor.aexecute_signature("Answer", {"question": "?"}, **arguments))
    return executor.execute_signature("Answer", {"question": "?"}, **arguments)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def awaited(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_off_by_default(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = null_lm(fail_first=1)
    with pytest.raises(ExecutionError) as caught:
        run(make_executor(lm=lm), awaited)
    assert (lm.engine.calls, len(caught.value.attempts)) == (1, 1)


def test_a_number_of_retries_alone_does_not_turn_them_on(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = null_lm(fail_first=1)
    with pytest.raises(ExecutionError):
        run(make_executor(lm=lm), awaited, max_retries=5)
    assert lm.engine.calls == 1


def test_tries_again_and_counts_everything(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = null_lm(fail_first=2)
    executor = make_executor(lm=lm)
    result = run(executor, awaited, retry_on_failure=True)
    assert lm.engine.calls == 3
    assert [(attempt.number, attempt.outcome) for attempt in result.attempts] == [
        (1, "failed"), (2, "failed"), (3, "ok")
    ]  # fmt: skip
    assert result.usage == Usage(10, 5, 3)
    assert "LanguageModelError" in (result.attempts[0].error or "")
    assert executor.stats()["language_model_calls"] == 3


def test_gives_up_after_so_many(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = null_lm(fail_first=100)
    with pytest.raises(ExecutionError) as caught:
        run(make_executor(lm=lm), awaited, retry_on_failure=True, max_retries=2)
    assert lm.engine.calls == 3
    assert [attempt.outcome for attempt in caught.value.attempts] == ["failed"] * 3


def test_settings_of_the_executor_and_the_call(make_executor: MakeExecutor) -> None:
    executor = make_executor(retry_on_failure=True, max_retries=1)
    for arguments, calls in (({}, 2), ({"max_retries": 3}, 4), ({"retry_on_failure": False}, 1)):
        lm = null_lm(fail_first=100)
        with pytest.raises(ExecutionError):
            run(executor, False, lm=lm, **arguments)
        assert lm.engine.calls == calls


def test_an_answer_that_cannot_be_parsed(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = script("gibberish", GOOD)
    result = run(make_executor(lm=lm), awaited, retry_on_failure=True)
    assert result["answer"] == "fine"
    assert (result.attempts[0].error or "").startswith("OutputError")


def test_an_answer_that_does_not_fit(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = script("[[ ## answer ## ]]\n \n\n[[ ## completed ## ]]", GOOD)
    result = run(make_executor(lm=lm), awaited, retry_on_failure=True)
    assert (result["answer"], len(result.attempts)) == ("fine", 2)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lm15.AuthError("no such key"), LanguageModelRefused),
        (lm15.BillingError("no credit"), LanguageModelRefused),
        (lm15.ContextLengthError("too long"), PromptTooLong),
        (lm15.InvalidRequestError("bad"), ExecutionError),
        (ValueError("a bug"), ExecutionError),
        (ImportError("no such package"), ExecutionError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_trying_again_cannot_mend(
    make_executor: MakeExecutor, awaited: bool, error: Exception, kind: type[Exception]
) -> None:
    lm = script(error)
    with pytest.raises(kind):
        run(make_executor(lm=lm), awaited, retry_on_failure=True)
    assert lm.engine.calls == 1


@pytest.mark.parametrize(
    "error",
    [
        lm15.ServerError("down", status=503),
        lm15.RateLimitError("slow down", retry_after=0.0),
        lm15.TransportError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_trying_again_can_mend(make_executor: MakeExecutor, awaited: bool, error: Exception) -> None:
    lm = script(error, GOOD)
    assert run(make_executor(lm=lm), awaited, retry_on_failure=True)["answer"] == "fine"
    assert lm.engine.calls == 2


def test_retry_after_is_waited_for(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = script(lm15.RateLimitError("slow down", retry_after=0.2), GOOD)
    started = time.monotonic()
    run(make_executor(lm=lm), awaited, retry_on_failure=True)
    assert time.monotonic() - started >= 0.2


def test_the_policy() -> None:
    policy = RetryPolicy(retries=3, base=0.5, ceiling=1.5)
    again = OutputError("x")
    assert policy.wait(4, again) is None
    assert policy.wait(1, LanguageModelRefused("x")) is None
    assert policy.wait(1, RateLimitedError("x", retry_after=60)) == 60
    assert policy.wait(1, RateLimitedError("x", retry_after=-1)) == 0
    assert RetryPolicy().wait(1, again) is None


def test_waits_grow_up_to_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hokusai_core.execution.state.random.uniform", lambda low, high: high)
    policy = RetryPolicy(retries=9, base=0.5, ceiling=3.0)
    assert [policy.wait(attempt, OutputError("x")) for attempt in (1, 2, 3, 4, 9)] == [0.5, 1.0, 2.0, 3.0, 3.0]
