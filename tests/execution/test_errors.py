"""The error tree, and that no error, event or figure gives away a sensitive value or a credential."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import dspy
import pytest
from dspy import lm15

from hokusai_core import BaseSignature, Budget, Component, Executor, InputField, OutputField, Problem, errors, hookimpl
from hokusai_core.errors import BudgetExceeded, DeadlineExceeded, ExecutionError, HokusaiError, OutputError
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]
CANARY = "canary-4711-value"
KEY = "sk-canary0815credential"


# -- the tree -----------------------------------------------------------------------------------------------------


def drawn() -> list[tuple[str, str]]:
    """Return every class with its builtin, as the module's docstring draws them."""
    return re.findall(r"[├└]── (\w+)(?: \((\w+)\))?", errors.__doc__ or "")


def test_every_error_of_the_tree_is_drawn_and_exported() -> None:
    found = {name: kind for name, kind in vars(errors).items()
             if inspect.isclass(kind) and issubclass(kind, BaseException)}  # fmt: skip
    assert set(errors.__all__) == set(found)
    tree = {name for name, kind in found.items() if issubclass(kind, HokusaiError)}
    assert tree == {name for name, _ in drawn() if name in tree} | {"HokusaiError"}


@pytest.mark.parametrize(("name", "builtin"), drawn())
def test_each_is_also_the_builtin_that_is_drawn(name: str, builtin: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, HokusaiError)
    if builtin:
        assert issubclass(kind, getattr(builtins, builtin))
    made = kind("what failed", [ValueError("x")]) if issubclass(kind, ExceptionGroup) else kind("what failed")
    assert str(made).startswith("what failed")
    with pytest.raises(kind):
        raise made


def test_a_replica_is_equal_and_another_object() -> None:
    cause = ValueError("why")
    error = OutputError("x", execution_id="e", signature="s", retryable=False, retry_after=2.0)
    error.__cause__ = cause
    twin = error.replica()
    assert twin is not error
    assert (str(twin), twin.execution_id, twin.retryable, twin.retry_after) == ("x", "e", False, 2.0)
    assert (twin.__cause__, twin.__traceback__) == (cause, None)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, ExecutionError)]
)
def test_every_execution_error_has_a_replica(kind: type[ExecutionError]) -> None:
    assert type(kind("x", signature="s").replica()) is kind


# -- canaries -----------------------------------------------------------------------------------------------------


class Secretive(BaseSignature):
    """Answer, and keep it to yourself."""

    question: str = InputField()
    password: str = InputField(sensitive=True, aliases=("pin",))
    size: int = InputField(sensitive=True, default=1, ge=0, le=100)
    code: str = InputField(sensitive=True, default="abc", pattern="^[a-z0-9-]+$", max_length=40)
    answer: str = OutputField(sensitive=True)
    number: int = OutputField(sensitive=True, ge=0, le=100)
    mood: Literal["good", "bad"] = OutputField(sensitive=True)


class Chooser(BaseSignature):
    """Choose one."""

    text: str = InputField()
    options: list[str] = InputField(sensitive=True)
    choice: str = OutputField(choices_from="options")


INPUTS = {"question": "?", "password": CANARY}


def everything(error: BaseException) -> str:
    """Return all the text that a program could print of an error, including hidden contexts."""
    texts: list[str] = []
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), "".join(traceback.format_exception(one))]
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    # Source lines of this very file are no leak.
    return "\n".join(line for text in texts for line in text.splitlines() if "CANARY" not in line)


def quoting(kind: Callable[[str], BaseException]) -> Callable[[str], str]:
    def answer(user: str) -> str:
        raise kind(f"the request was: {user}; key {KEY}")

    return answer


def fields(**values: str) -> str:
    return "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in values.items())


FAILING_MODELS: dict[str, Any] = {
    "server": quoting(lambda text: lm15.ServerError(text, status=500)),
    "auth": quoting(lm15.AuthError),
    "rate": quoting(lm15.RateLimitError),
    "context": quoting(lm15.ContextLengthError),
    "invalid": quoting(lm15.InvalidRequestError),
    "bug": quoting(ValueError),
    "os": quoting(OSError),
    "unparsable": f"{CANARY} says hello",
    "incomplete": fields(answer=CANARY),
    "wrong type": fields(answer="x", number=CANARY, mood="good"),
    "wrong choice": fields(answer="x", number="5", mood=CANARY),
    "out of range": fields(answer="x", number="4711000815471100", mood="good"),
    "empty": fields(answer=" ", number="5", mood="good"),
}


class Listener(ListeningTracker):
    """Keeps every event that it receives, as a plugin and as a tracker."""

    @hookimpl
    def on_execution_started(self, event: Any) -> None:
        self.events.append(event)

    @hookimpl
    def on_execution_finished(self, event: Any) -> None:
        self.events.append(event)

    @hookimpl
    def on_execution_failed(self, event: Any) -> None:
        self.events.append(event)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Yield a listener, and check in the end that it received no secret."""
    listener = Listener()
    yield listener
    assert not leaks(repr(listener.events))


def leaks(text: str) -> list[str]:
    return [secret for secret in (CANARY, KEY, "4711000815471100") if secret in text]


def failure(executor: Executor, awaited: bool, name: Any, inputs: Mapping[str, Any], **arguments: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011, PT012  # which one is the caller's business
        if awaited:
            asyncio.run(executor.aexecute_signature(name, inputs, **arguments))
        else:
            executor.execute_signature(name, inputs, **arguments)
    return caught.value


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("mode", ["production", "development"])
@pytest.mark.parametrize("model", FAILING_MODELS)
def test_no_failing_model_gives_anything_away(
    make_executor: MakeExecutor, listener: Listener, model: str, mode: str, awaited: bool
) -> None:
    executor = make_executor(extra_plugins=[listener], trackers={"listener": listener}, mode=mode)
    lm = null_lm(raw=FAILING_MODELS[model])
    error = failure(executor, awaited, Secretive, INPUTS, lm=lm)
    assert isinstance(error, ExecutionError)
    assert not leaks(everything(error))
    assert not leaks(repr(executor.stats()))
    assert not leaks(repr(executor.config))
    assert [event.status for event in listener.events[1:]] == ["failed", "failed"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "inputs",
    [
        {"password": CANARY},
        {**INPUTS, "pin": CANARY},
        {"question": "?", "password": [CANARY]},
        {"question": "?", "password": {"a": CANARY}},
        {**INPUTS, "size": CANARY},
        {**INPUTS, "size": 4711000815471100},
        {**INPUTS, "code": CANARY.upper() + "!"},
        {**INPUTS, "code": CANARY * 9},
        {**INPUTS, "questoin": CANARY},
    ],
)
def test_no_input_problem_gives_anything_away(make_executor: MakeExecutor, inputs: dict[str, Any]) -> None:
    lm = null_lm()
    error = failure(make_executor(lm=lm), False, Secretive, inputs)
    assert isinstance(error, errors.InputError)
    assert not leaks(everything(error))
    assert CANARY.upper() not in everything(error)
    assert lm.engine.calls == 0


def test_no_choice_gives_anything_away(make_executor: MakeExecutor) -> None:
    lm = null_lm(raw=fields(choice="something else"))
    error = failure(make_executor(lm=lm), False, Chooser, {"text": "x", "options": [CANARY, "b"]})
    assert isinstance(error, OutputError)
    assert not leaks(everything(error))


class Faulty:
    """A validator that raises, quoting what it was given."""

    def __init__(self, at: str) -> None:
        self.at = at

    def validate_inputs(self, signature: Any, inputs: Mapping[str, Any]) -> list[Problem]:
        if self.at == "inputs":
            raise ValueError(f"cannot check {dict(inputs)}")
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Mapping[str, Any]) -> list[Problem]:
        if self.at == "outputs":
            raise ValueError(f"cannot check {dict(outputs)} for {dict(inputs)}")
        return []


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("at", ["inputs", "outputs"])
def test_no_failing_validator_gives_anything_away(
    make_executor: MakeExecutor, listener: Listener, at: str, awaited: bool
) -> None:
    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component("faulty", lambda: Faulty(at))]

    executor = make_executor(extra_plugins=[Plugin(), listener], lm=null_lm(answers={"answer": CANARY, "number": 5}))
    error = failure(executor, awaited, Secretive, INPUTS)
    assert isinstance(error, errors.PluginError)
    assert "faulty" in str(error)
    assert not leaks(everything(error))
    told = failure(executor, awaited, "Answer", {"question": "?"}, lm=null_lm())
    assert isinstance(told.__cause__, ValueError), "what is not sensitive is reported in full"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_no_failing_program_gives_anything_away(make_executor: MakeExecutor, listener: Listener, awaited: bool) -> None:
    class Broken(dspy.Module):
        def forward(self, **inputs: Any) -> Any:
            raise RuntimeError(f"cannot work on {inputs}")

    class Lying(dspy.Module):
        def forward(self, **inputs: Any) -> Any:
            return f"no prediction but {inputs}"

    executor = make_executor(extra_plugins=[listener])
    for name, program in (("Broken", Broken()), ("Lying", Lying())):
        executor.register_signature(name, program, signature=Secretive)
        error = failure(executor, awaited, name, INPUTS)
        assert isinstance(error, ExecutionError)
        assert not leaks(everything(error))


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_neither_deadline_nor_budget_gives_anything_away(
    make_executor: MakeExecutor, listener: Listener, awaited: bool
) -> None:
    executor = make_executor(extra_plugins=[listener], lm=null_lm(delay=0.4))
    late = failure(executor, awaited, Secretive, INPUTS, timeout=0.05)
    budget = Budget(calls=1)
    budget.reserve()
    spent = failure(executor, awaited, Secretive, INPUTS, budget=budget)
    assert (type(late), type(spent)) == (DeadlineExceeded, BudgetExceeded)
    assert not leaks(everything(late) + everything(spent))


def test_waiters_learn_no_more_than_the_leader(make_executor: MakeExecutor) -> None:
    def slow(user: str) -> str:
        raise lm15.ServerError(f"{user} {KEY}", status=500)

    executor = make_executor(lm=null_lm(raw=slow, delay=0.1))

    async def main() -> list[Any]:
        work = [executor.aexecute_signature(Secretive, INPUTS) for _ in range(5)]
        return await asyncio.gather(*work, return_exceptions=True)

    failed = asyncio.run(main())
    assert len({id(error) for error in failed}) == 5
    assert not any(leaks(everything(error)) for error in failed)


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_no_success_gives_anything_away(make_executor: MakeExecutor, listener: Listener, awaited: bool) -> None:
    answers = {"answer": CANARY, "number": 5}
    executor = make_executor(
        extra_plugins=[listener], trackers={"l": listener}, lm=null_lm(answers=answers), mode="development"
    )
    for cached in (None, "memory"):
        if awaited:
            result = asyncio.run(executor.aexecute_signature(Secretive, INPUTS))
        else:
            result = executor.execute_signature(Secretive, INPUTS)
        assert (result["answer"], result.cached) == (CANARY, cached)
        assert not leaks(repr(result))
        assert not leaks(repr(result.trace)), "a trace is kept and printed"
    explained = executor.explain(Secretive, INPUTS)
    assert not leaks(repr(explained))
    assert {event.inputs["password"] for event in listener.events} == {"[redacted]"}  # type: ignore[union-attr]
    assert {event.inputs["question"] for event in listener.events} == {"?"}  # type: ignore[union-attr]


def test_a_credential_is_scrubbed_from_what_is_not_sensitive(make_executor: MakeExecutor, listener: Listener) -> None:
    def refuse(_user: str) -> str:
        raise lm15.AuthError(f"Incorrect API key provided: {KEY}")

    lm = null_lm(raw=refuse)
    error = failure(make_executor(extra_plugins=[listener]), False, "Answer", {"question": "?"}, lm=lm)
    assert KEY not in str(error)
    assert KEY not in repr(error.attempts)  # type: ignore[attr-defined]
    assert "Incorrect API key" in str(error)
