"""What each strategy does with good answers, bad answers and failures."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import dspy
import pytest
from pydantic import BaseModel

from hokusai_core import (
    BaseSignature,
    Budget,
    Executor,
    FunctionTool,
    InputField,
    OutputField,
    Problem,
    SignatureChain,
)
from hokusai_core.errors import (
    BudgetExceeded,
    ComponentNotFoundError,
    ConfigurationError,
    DeadlineExceeded,
    ExecutionError,
    LanguageModelError,
    OutputError,
    PluginError,
    ToolError,
)
from hokusai_core.plugin_api import Component, hookimpl
from hokusai_core.testing.lm import null_lm


class Ask(BaseSignature):
    """Answer the question."""

    question: str = InputField()
    answer: str = OutputField()


@attrs.frozen
class Person:
    name: str
    age: int


class Item(BaseModel):
    title: str
    price: float


class Typed(BaseSignature):
    """Do it."""

    person: Person = InputField()
    labels: list[str] = InputField()
    note: str | None = InputField(required=False)
    items: list[Item] = OutputField()
    copy: Person = OutputField()
    label: str = OutputField(choices_from="labels")


class NoSecrets:
    """A validator that finds one problem for every secret in an answer."""

    def validate_inputs(self, signature: Any, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        return []

    def validate_outputs(
        self, signature: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        return [Problem("answer", "secret", "holds a secret")] * str(outputs["answer"]).count("secret")


class Shortness:
    """A metric that needs no expected answer."""

    range = (0.0, 100.0)
    higher_is_better = False

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        return float(len(outputs["answer"]))


class Offers:
    @hookimpl
    def provide_metrics(self) -> list[Component]:
        return [
            Component(name="shortness", target=Shortness, capabilities=("reference_free",)),
            Component(name="exact", target=Shortness),
        ]

    @hookimpl
    def provide_tools(self) -> list[Component]:
        return [
            Component(name="population", target=lambda: FunctionTool(population, version="3")),
            Component(name="weather", target=lambda: FunctionTool(weather, version="1")),
        ]


class OffersValidator:
    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component(name="no_secrets", target=NoSecrets)]


def population(city: str) -> int:
    """Return how many people live in a city."""
    return {"Paris": 2_100_000}[city]


async def weather(city: str, days: int = 1) -> dict[str, Any]:
    """Return the weather."""
    return {"city": city, "days": days}


def in_turn(*answers: Any) -> Callable[[str], Any]:
    """Return a function that gives one answer after the other, and the last one for ever."""
    left = list(answers)

    def answer(_prompt: str) -> Any:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return answer


class Asking:
    """Answers ``Ask`` by a strategy, with a language model that gives answers in turn.

    Attributes:
        engine: of the language model that was asked last.
    """

    def __init__(self) -> None:
        self.engine: Any = None
        self.made: list[Executor] = []

    def __call__(self, strategy: Any, *answers: Any, awaited: bool = False, **options: Any) -> Any:
        given: dict[str, Any] = options.pop("others", {})
        lm = null_lm(answers={"answer": in_turn(*answers), **given}, keep_requests=True)
        extra = [("offers", Offers()), *options.pop("extra", ())]
        executor = Executor(lm=lm, plugins=["strategies"], extra_plugins=extra, environ={})
        self.made.append(executor)
        self.engine = lm.engine
        if awaited:
            return asyncio.run(executor.aexecute_signature(Ask, {"question": "?"}, strategy=strategy, **options))
        return executor.execute_signature(Ask, {"question": "?"}, strategy=strategy, **options)


@pytest.fixture
def run() -> Iterator[Asking]:
    """What answers ``Ask``; its executors are closed afterwards."""
    asking = Asking()
    yield asking
    for executor in asking.made:
        executor.close()


pytestmark = pytest.mark.filterwarnings("ignore:.*so answers are not cached:UserWarning")


def shortest(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
    return -float(len(outputs["answer"]))


def drive(outcome: Any) -> Any:
    """Return what an execution gives, blocking or awaited."""
    return asyncio.run(outcome) if asyncio.iscoroutine(outcome) else outcome


awaited_or_not = pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])


# -- chain of thought -----------------------------------------------------------------------------------------------


def test_reasoning_is_among_the_outputs_where_the_signature_asks_for_it() -> None:
    class Explain(Ask):
        answer: str = OutputField()
        reasoning: str = OutputField("Why the answer is right")

    with Executor(lm=null_lm(), plugins=["strategies"]) as executor:
        result = executor.execute_signature(Explain, {"question": "?"}, strategy="chain_of_thought")
    assert set(result) == {"answer", "reasoning"}
    assert not result.extras


def test_an_input_called_reasoning_is_refused() -> None:
    with Executor(lm=null_lm(), plugins=["strategies"]) as executor:
        executor.register_signature("Judge", "reasoning -> answer")
        with pytest.raises(ConfigurationError, match="rename the input"):
            executor.execute_signature("Judge", {"reasoning": "?"}, strategy="chain_of_thought")


def thinking(**fields: Any) -> Any:
    """Return a language model that thinks aloud in many pieces."""
    answers = {"reasoning": "First this, then that.", "answer": "So it is.", **fields}
    return null_lm(answers=answers, pieces=lambda text: re.findall(r"\s*\S+", text))


@pytest.mark.parametrize("strategy", ["predict", "chain_of_thought"])
def test_an_engine_that_only_blocks_streams_under_a_strategy_too(strategy: str) -> None:
    lm = dspy.LM("null/blocking", engine=thinking().engine, cache=False)
    with Executor(lm=lm, plugins=["strategies"], environ={}) as executor:
        events: list[Any] = list(executor.stream_signature(Ask, {"question": "?"}, strategy=strategy))
    assert "".join(event.text for event in events if event.kind == "delta") == "So it is."
    assert len([event for event in events if event.kind == "delta"]) > 1
    assert ("thought" in [event.kind for event in events]) is (strategy == "chain_of_thought")


def test_thoughts_stream_before_the_answer() -> None:
    with Executor(lm=thinking(), plugins=["strategies"]) as executor:
        for cached in (None, "memory"):
            with executor.stream_signature(Ask, {"question": "?"}, strategy="chain_of_thought") as events:
                seen: list[Any] = list(events)
            kinds = [event.kind for event in seen]
            assert list(dict.fromkeys(kinds)) == ["started", "thought", "delta", "partial", "finished"]
            assert "".join(event.text for event in seen if event.kind == "thought") == "First this, then that."
            assert "".join(event.text for event in seen if event.kind == "delta") == "So it is."
            assert {event.name for event in seen if event.kind == "thought"} == {"reasoning"}
            assert kinds.count("thought") == (1 if cached else 4)
            assert seen[-1].result.cached == cached


def test_thoughts_are_taken_back_with_a_rejected_answer() -> None:
    lm = thinking(answer=in_turn("secret", "fine"))
    options: dict[str, Any] = {"strategy": "chain_of_thought", "retry_on_failure": True, "max_retries": 1}
    extra = [("offers_validator", OffersValidator())]
    with Executor(lm=lm, plugins=["strategies"], extra_plugins=extra) as executor:
        kinds = [event.kind for event in executor.stream_signature(Ask, {"question": "?"}, **options)]
    assert list(dict.fromkeys(kinds)) == ["started", "thought", "delta", "retracted", "partial", "finished"]
    assert kinds.count("thought") == 8


@pytest.mark.parametrize("where", ["question", "answer"])
def test_thoughts_do_not_stream_where_a_field_is_sensitive(where: str) -> None:
    class Secret(BaseSignature):
        """Answer."""

        question: str = InputField(sensitive=where == "question")
        answer: str = OutputField(sensitive=where == "answer")

    with Executor(lm=thinking(), plugins=["strategies"]) as executor:
        for _ in range(2):
            events = executor.stream_signature(Secret, {"question": "?"}, strategy="chain_of_thought")
            assert "thought" not in [event.kind for event in events]


# -- best of n ------------------------------------------------------------------------------------------------------


@awaited_or_not
def test_the_answer_with_the_highest_reward_is_taken(run: Asking, awaited: bool) -> None:
    result = run(
        {"name": "best_of_n", "reward": shortest, "n": 4}, "aaa", "a", "aaaa", "b", awaited=awaited, cache="off"
    )
    assert result["answer"] == "a"  # the earlier of two that are equally good
    assert result.extras["reward"] == -1.0
    assert [attempt["reward"] for attempt in result.extras["attempts"]] == [-3.0, -1.0, -4.0, -1.0]
    assert result.usage.calls == 4


def test_every_try_is_made_anew_and_at_a_temperature(run: Asking) -> None:
    run({"name": "best_of_n", "reward": shortest, "n": 2, "temperature": 0.7}, "a", "b", cache="off")
    assert [request.config.temperature for request in run.engine.requests] == [0.7, 0.7]


@pytest.mark.parametrize(("chosen", "used"), [(0.7, 0.7), (None, 0.2)])
def test_the_temperature_of_the_tries_goes_before_that_of_the_call(
    run: Asking, chosen: float | None, used: float
) -> None:
    strategy = {"name": "best_of_n", "reward": shortest, "n": 2, "temperature": chosen}
    run(strategy, "a", "b", cache="off", parameters={"temperature": 0.2, "max_tokens": 77})
    configs = [request.config for request in run.engine.requests]
    assert [(config.temperature, config.max_tokens) for config in configs] == [(used, 77)] * 2


@awaited_or_not
def test_a_good_enough_answer_ends_the_tries(run: Asking, awaited: bool) -> None:
    result = run(
        {"name": "best_of_n", "reward": shortest, "n": 9, "threshold": -2},
        "aaa",
        "aa",
        "a",
        awaited=awaited,
        cache="off",
    )
    assert (result["answer"], result.usage.calls) == ("aa", 2)


def test_a_validator_is_a_reward_by_its_name(run: Asking) -> None:
    extra = [("offers_validator", OffersValidator())]
    strategy = {"name": "best_of_n", "reward": "no_secrets", "n": 5}
    result = run(strategy, "secret secret", "secret", "fine", "secret", extra=extra, cache="off")
    assert (result["answer"], result.usage.calls) == ("fine", 3)  # nothing is better than no problem


def test_a_metric_is_a_reward_if_it_needs_no_expected_answer(run: Asking) -> None:
    result = run({"name": "best_of_n", "reward": "shortness", "n": 3}, "aaa", "a", "aa", cache="off")
    assert result["answer"] == "a"
    with pytest.raises(ConfigurationError, match="compares with an expected answer"):
        run({"name": "best_of_n", "reward": "exact", "n": 3}, "a")
    with pytest.raises(ComponentNotFoundError, match="shortness"):
        run({"name": "best_of_n", "reward": "shortnes", "n": 3}, "a")


@awaited_or_not
def test_a_try_that_fails_costs_only_itself(run: Asking, awaited: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run({"name": "best_of_n", "reward": shortest, "n": 3}, "", "aa", " ", awaited=awaited, cache="off")
    assert result["answer"] == "aa"
    assert [set(attempt) for attempt in result.extras["attempts"]] == [{"error"}, {"reward"}, {"error"}]
    assert not capsys.readouterr().out


def test_a_reward_that_raises_is_named(run: Asking) -> None:
    def broken(inputs: Any, outputs: Any) -> float:
        raise KeyError("x")

    with pytest.raises(PluginError, match=r"broken.*KeyError"):
        run({"name": "best_of_n", "reward": broken}, "a", cache="off")
    assert run.engine.calls == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n": 0}, "n=0"), ({"n": "3"}, "n='3'"), ({"threshold": "high"}, "threshold"), ({"reward": 7}, "reward")],
)
def test_options_are_checked(run: Asking, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run({"name": "best_of_n", "reward": shortest, **options}, "a")


@awaited_or_not
def test_a_language_model_may_judge(awaited: bool) -> None:
    lm = null_lm(answers={"answer": in_turn("a", "b", "c"), "grade": in_turn("2", "5", "1")})
    strategy = {"name": "best_of_n", "reward": "quality_score", "n": 3}
    with Executor(lm=lm, plugins=["strategies", "evaluate"]) as executor:
        executor.register_signature("Ask", Ask, strategy=strategy)
        if awaited:
            result = asyncio.run(executor.aexecute_signature("Ask", {"question": "?"}))
        else:
            result = executor.execute_signature("Ask", {"question": "?"})
        assert result["answer"] == "b"
        assert result.usage.calls == lm.engine.calls == 4  # the best grade that there can be ends the tries
        with pytest.raises(BudgetExceeded):
            executor.execute_signature("Ask", {"question": "?"}, cache="off", budget=Budget(calls=1))


# -- refine ---------------------------------------------------------------------------------------------------------


@awaited_or_not
def test_the_next_try_sees_the_answer_before_and_advice(run: Asking, awaited: bool) -> None:
    strategy = {"name": "refine", "reward": shortest, "n": 3, "threshold": -1}
    result = run(strategy, "aaaa", "aaa", "a", others={"advice": "Be brief!"}, awaited=awaited, cache="off")
    assert (result["answer"], result.usage.calls) == ("a", 5)  # three tries, and advice on two of them
    prompts = [request.messages[-1].text for request in run.engine.requests]
    assert "Be brief!" not in prompts[0]
    assert "aaaa" in prompts[1]
    assert "Be brief!" in prompts[2]
    assert "aaaa" in prompts[2]


def test_fields_of_a_signature_may_be_called_like_those_of_refine() -> None:
    with Executor(lm=null_lm(), plugins=["strategies"]) as executor:
        executor.register_signature("Improve", "earlier_answer, advice -> reward, attempts")
        strategy = {"name": "refine", "reward": lambda inputs, outputs: 0.0, "n": 2}
        result = executor.execute_signature("Improve", {"earlier_answer": "a", "advice": "b"}, strategy=strategy)
    assert set(result) == {"reward", "attempts"}
    assert not result.extras


# -- majority -------------------------------------------------------------------------------------------------------


@awaited_or_not
@pytest.mark.parametrize(
    ("answers", "taken", "calls"),
    [
        (("a", "b", "b", "b"), "b", 4),  # no later answer could change it
        (("a", "b", "c", "b", "a"), "a", 5),  # of equally frequent ones the first
        (("a", "a", "a"), "a", 3),
        (("Paris ", " paris", "PARIS"), "Paris", 3),  # case and spaces do not count
        (("a", "b", "c", "d", "e"), "a", 5),
        (("", "a", "b", "", "b"), "b", 5),  # a failed try has no vote
    ],
)
def test_the_most_frequent_answer_is_taken(
    run: Asking, awaited: bool, answers: tuple[str, ...], taken: str, calls: int
) -> None:
    result = run({"name": "majority", "n": 5}, *answers, awaited=awaited, cache="off")
    assert (result["answer"].strip(), result.usage.calls) == (taken, calls)
    assert sum(vote["count"] for vote in result.extras["votes"]) == len([one for one in answers if one.strip()])


def test_half_of_the_tries_must_give_an_answer(run: Asking) -> None:
    with pytest.raises(OutputError):
        run({"name": "majority", "n": 5}, "a", "", "", "", "a", cache="off")


def test_only_some_outputs_may_be_compared() -> None:
    lm = null_lm(answers={"team": "billing", "reason": in_turn("a", "b", "c")})
    with Executor(lm=lm, plugins=["strategies"]) as executor:
        executor.register_signature("Route", "mail -> team, reason")
        strategy = {"name": "majority", "n": 3, "fields": "team"}
        result = executor.execute_signature("Route", {"mail": "?"}, strategy=strategy)
        assert result.usage.calls == 2
        assert result["reason"] == "a"
        with pytest.raises(ConfigurationError, match="did you mean 'team'"):
            executor.execute_signature("Route", {"mail": "?"}, strategy={**strategy, "fields": ["taem"]})


@pytest.mark.parametrize("fields", [5, [], {"team": 1}])
def test_fields_of_a_vote_are_names(run: Asking, fields: Any) -> None:
    with pytest.raises(ConfigurationError, match="strategy 'majority': fields"):
        run({"name": "majority", "fields": fields}, "a")


def test_strategies_of_steps_are_a_mapping(run: Asking) -> None:
    with pytest.raises(ConfigurationError, match="strategy 'chain': strategies: expected a mapping"):
        run({"name": "chain", "steps": [{}], "strategies": 5}, "a")


STEP = {"name": "one", "signature": Ask.to_dict(), "inputs": {"question": {"input": "question"}}}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([STEP, STEP], "step 'one' is there twice"),
        ([{**STEP, "inputs": {}}], "step 'one' lacks question"),
        ([{**STEP, "inputs": 5}], "step 'one': inputs: expected a mapping"),
        ([{**STEP, "inputs": {"question": 5}}], "a value has one of input, list, mapping, step, value, not 5"),
        ([{**STEP, "inputs": {"question": {"input": "mail"}}}], "Ask has no input 'mail'"),
        ([{**STEP, "inputs": {"question": {"list": [{"input": "mail"}]}}}], "Ask has no input 'mail'"),
        ([{**STEP, "inputs": {"qestion": {"value": "?"}}}], "has no input 'qestion'; did you mean 'question'"),
        ([{**STEP, "inputs": {"question": {"step": "two", "field": "answer"}}}], "there is no step 'two' before it"),
        (
            [STEP, {**STEP, "name": "two", "inputs": {"question": {"step": "one", "field": "reply"}}}],
            "step 'one' has no output 'reply'",
        ),
        ([{**STEP, "signature": Typed.to_dict(), "inputs": {}}], "step 'one' gives no answer"),
        ([5], "a step has a name, a signature or branches, and inputs"),
    ],
)
def test_steps_that_cannot_work_are_refused_before_the_first_call(run: Asking, steps: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        run({"name": "chain", "steps": steps}, "a")
    assert run.engine.calls == 0


# -- react ----------------------------------------------------------------------------------------------------------


def agent(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the language model answers that calls tools in this order, and then finishes."""
    names, arguments = in_turn(*(call[0] for call in calls), "finish"), in_turn(*(call[1] for call in calls), {})
    return {"next_tool_name": names, "next_tool_args": arguments}


@awaited_or_not
def test_tools_of_plugins_are_called_by_name(run: Asking, awaited: bool) -> None:
    strategy = {"name": "react", "tools": ["population", "weather"]}
    others = agent(("population", {"city": "Paris"}), ("weather", {"city": "Rome"}))
    result = run(strategy, "2.1 million", others=others, awaited=awaited)
    assert result["answer"] == "2.1 million"
    trajectory = result.extras["trajectory"]
    assert (trajectory["observation_0"], trajectory["observation_1"]) == (2_100_000, {"city": "Rome", "days": 1})
    assert result.extras["finished"] is True
    assert result.usage.calls == 4


@awaited_or_not
def test_a_tool_that_raises_ends_the_execution_and_is_named(run: Asking, awaited: bool) -> None:
    strategy = {"name": "react", "tools": ["population"]}
    with pytest.raises(ToolError, match="'population' raised KeyError: 'Rome'") as caught:
        run(strategy, "x", others=agent(("population", {"city": "Rome"})), awaited=awaited, max_retries=3)
    assert isinstance(caught.value.__cause__, KeyError)
    assert not caught.value.retryable
    assert run.engine.calls == 1


def test_the_model_may_see_what_a_tool_raised(run: Asking) -> None:
    strategy = {"name": "react", "tools": "population", "on_tool_error": "observe"}
    result = run(strategy, "unknown", others=agent(("population", {"city": "Rome"})))
    assert result.extras["trajectory"]["observation_0"] == "KeyError: 'Rome'"


def test_arguments_that_do_not_fit_never_reach_the_tool(run: Asking) -> None:
    wrong: list[dict[str, Any]] = [{"town": "Paris"}, {"city": 7}, {"city": "Paris", "year": 2000}]
    result = run(
        {"name": "react", "tools": ["population"]}, "x", others=agent(*(("population", given) for given in wrong))
    )
    seen = [result.extras["trajectory"][f"observation_{step}"] for step in range(3)]
    assert "'city' is a required property" in seen[0]
    assert "is not of type 'string'" in seen[1]
    assert "no argument year" in seen[2]


def test_the_number_of_steps_is_bounded(run: Asking) -> None:
    endless = {"next_tool_name": "population", "next_tool_args": {"city": "Paris"}}
    result = run({"name": "react", "tools": ["population"], "max_iters": 2}, "x", others=endless)
    assert result.usage.calls == 3
    assert result.extras["finished"] is False


def test_unknown_tools_are_refused_before_any_call(run: Asking) -> None:
    with pytest.raises(ComponentNotFoundError, match="there is no tool 'popultion'; did you mean 'population'"):
        run({"name": "react", "tools": ["popultion"]}, "x")
    with pytest.raises(ConfigurationError, match="missing a required argument: 'tools'"):
        run("react", "x")

    def no_types(city) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # what is tested
        """Return something."""

    with pytest.raises(ConfigurationError, match=r"tool 'no_types' has no schema.*'city'"):
        run({"name": "react", "tools": [no_types]}, "x")
    with pytest.raises(ConfigurationError, match="two tools 'population'"):
        run({"name": "react", "tools": ["population", population]}, "x")
    with pytest.raises(ConfigurationError, match="tools is empty"):
        run({"name": "react", "tools": []}, "x")
    assert run.engine.calls == 0


def test_fields_that_react_has_itself_are_refused() -> None:
    with Executor(lm=null_lm(), plugins=["strategies"]) as executor:
        executor.register_signature("Follow", "trajectory -> answer")
        strategy = {"name": "react", "tools": [FunctionTool(population, version="1")]}
        with pytest.raises(ConfigurationError, match="'react' has fields trajectory of its own"):
            executor.execute_signature("Follow", {"trajectory": "?"}, strategy=strategy)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("name", ["predict", "chain_of_thought", "best_of_n", "refine", "majority", "react"])
def test_types_reach_the_outputs_as_without_a_strategy(name: str, awaited: bool) -> None:
    answers = {"items_": [{"title": "desk", "price": 300.0}], "copy_": {"name": "Ada", "age": 36}, "label": "b"}
    options: dict[str, Any] = {
        "best_of_n": {"reward": lambda inputs, outputs: float(outputs["items"][0].price), "n": 2},
        "refine": {"reward": lambda inputs, outputs: -float(len(inputs["person"].name + str(inputs["note"]))), "n": 2},
        "react": {"tools": [FunctionTool(population, version="1")]},
    }
    lm = null_lm(answers={**answers, **agent()})
    with Executor(lm=lm, plugins=["strategies"]) as executor:
        inputs = {"person": {"name": "Ada", "age": 36}, "labels": ["a", "b"]}
        plain = executor.execute_signature(Typed, inputs)
        strategy = {"name": name, **options.get(name, {})}
        if awaited:
            result = asyncio.run(executor.aexecute_signature(Typed, inputs, strategy=strategy))
        else:
            result = executor.execute_signature(Typed, inputs, strategy=strategy)
    assert dict(result) == dict(plain)
    assert isinstance(result["copy"], Person)
    assert isinstance(result["items"][0], Item)


def test_a_function_without_a_version_turns_the_cache_off_and_says_so_once() -> None:
    lm = null_lm(answers=agent())
    strategy = {"name": "react", "tools": [population]}
    with Executor(lm=lm, plugins=["strategies"]) as executor, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [executor.execute_signature(Ask, {"question": "?"}, strategy=strategy) for _ in range(2)]
        other = executor.execute_signature(Ask, {"question": "!"}, strategy=strategy)
    assert [result.cached for result in [*results, other]] == [None, None, None]
    assert len([one for one in caught if "tool population has no version" in str(one.message)]) == 1


# -- failures -------------------------------------------------------------------------------------------------------

ALL: list[Any] = [
    "predict",
    "chain_of_thought",
    {"name": "react", "tools": ["population"]},
    {"name": "best_of_n", "reward": "shortness"},
    {"name": "refine", "reward": "shortness"},
    "majority",
]


@awaited_or_not
@pytest.mark.parametrize("strategy", ALL, ids=str)
def test_a_dead_language_model_is_an_error_never_an_answer(strategy: Any, awaited: bool) -> None:
    lm = null_lm(fail_first=10**6)
    extra = [("offers", Offers())]
    with Executor(lm=lm, plugins=["strategies"], extra_plugins=extra) as executor:

        def answer() -> Any:
            if awaited:
                return asyncio.run(executor.aexecute_signature(Ask, {"question": "?"}, strategy=strategy))
            return executor.execute_signature(Ask, {"question": "?"}, strategy=strategy)

        with pytest.raises(LanguageModelError):
            answer()


@pytest.mark.parametrize("strategy", ALL, ids=str)
def test_sensitive_values_stay_out_of_errors(strategy: Any) -> None:
    class Secret(BaseSignature):
        """Answer."""

        question: str = InputField(sensitive=True)
        answer: int = OutputField()

    def leak(question: str) -> str:
        """Return something."""
        raise ValueError(question)

    if isinstance(strategy, dict) and strategy["name"] == "react":
        strategy = {**strategy, "tools": [leak]}
    names, arguments = in_turn("leak"), in_turn({"question": "hunter2"})
    lm = null_lm(answers={"answer": "hunter2", "next_tool_name": names, "next_tool_args": arguments})
    extra = [("offers", Offers())]
    with (
        Executor(lm=lm, plugins=["strategies"], extra_plugins=extra) as executor,
        pytest.raises(ExecutionError) as caught,
    ):
        executor.execute_signature(Secret, {"question": "hunter2"}, strategy=strategy)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_tools_that_hang_hold_up_nothing_else() -> None:
    """The deadline ends the execution, other tools have threads, and the end of the event loop waits for none."""
    release = threading.Event()

    def stuck(city: str) -> int:
        """Return how many people live in a city."""
        release.wait(20)
        return 0

    def works(city: str) -> int:
        """Return how many people live in a city."""
        return len(city)

    def agent(tool: Any) -> dict[str, Any]:
        return {"name": "react", "tools": [FunctionTool(tool, name="tool", version="1")], "max_iters": 2}

    def chosen(prompt: str) -> str:
        return "finish" if "observation_0" in prompt else "tool"

    answers = {"next_tool_name": chosen, "next_tool_args": lambda prompt: {"city": "Oslo"}, "answer": "fine"}
    started = time.monotonic()
    with Executor(lm=null_lm(answers=answers), plugins=["strategies"], environ={}, cache_enabled=False) as executor:
        executor.register_signature("Ask", Ask)

        async def all_of_them() -> Any:
            hung = [
                executor.aexecute_signature("Ask", {"question": "?"}, strategy=agent(stuck), timeout=1.5)
                for _ in range(40)
            ]
            tasks = [asyncio.ensure_future(one) for one in hung]
            await asyncio.sleep(0.3)
            quick = await executor.aexecute_signature("Ask", {"question": "?"}, strategy=agent(works), timeout=1)
            return quick, await asyncio.gather(*tasks, return_exceptions=True)

        quick, outcomes = asyncio.run(all_of_them())
        assert quick["answer"] == "fine"
        assert {type(outcome).__name__ for outcome in outcomes} == {"DeadlineExceeded"}
    assert time.monotonic() - started < 15
    release.set()


def test_a_tool_that_ends_an_iteration_is_a_tool_that_raises(run: Asking) -> None:
    def first(city: str) -> int:
        """Return how many people live in a city."""
        return next(iter([]))

    strategy = {"name": "react", "tools": [FunctionTool(first, version="1")], "max_iters": 2}
    answers = {"next_tool_name": "first", "next_tool_args": {"city": "Rome"}}
    for awaited in (False, True):
        with pytest.raises(ToolError, match=r"tool 'first' raised .*StopIteration"):
            run(strategy, "x", others=answers, awaited=awaited)


@pytest.mark.parametrize(("way", "most"), [("single", 3), ("stream", 3), ("chain", 3), ("batch", 1), ("blocking", 1)])
def test_tries_that_are_made_in_any_case_are_made_at_the_same_time(way: str, most: int) -> None:
    """No more calls are made than one after the other; rows of a batch run beside each other already."""
    result: Any
    lm = null_lm(answers={"answer": "Paris"}, delay=0.05)
    running = peak = 0
    inner = lm._async_engine_spec.complete

    async def complete(request: Any) -> Any:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            return await inner(request)
        finally:
            running -= 1

    lm._async_engine_spec.complete = complete
    with Executor(lm=lm, plugins=["strategies"], environ={}, cache_enabled=False) as executor:
        executor.register_signature("Ask", Ask)
        options: dict[str, Any] = {"strategy": {"name": "majority", "n": 5}}
        budget = Budget(calls=3)
        if way == "single":
            result = asyncio.run(executor.aexecute_signature("Ask", {"question": "?"}, budget=budget, **options))
        elif way == "stream":
            result = list(executor.stream_signature("Ask", {"question": "?"}, budget=budget, **options))[-1]
            result = result.result
        elif way == "chain":
            chain = SignatureChain(inputs=["question"]).add("Ask")
            result = asyncio.run(executor.aexecute_chain(chain, {"question": "?"}, budget=budget, **options)).last
        elif way == "batch":
            rows = [{"question": "?"}]
            result = asyncio.run(executor.aexecute_batch("Ask", rows, budget=budget, on_error="raise", **options))[0]
        else:
            result = executor.execute_signature("Ask", {"question": "?"}, budget=budget, **options)
            peak = 1
        assert (result.usage.calls, result.extras["votes"]) == (3, [{"answer": {"answer": "Paris"}, "count": 3}])
        assert peak == most
        few = Budget(calls=2)
        with pytest.raises(BudgetExceeded):
            asyncio.run(executor.aexecute_signature("Ask", {"question": "?"}, budget=few, **options))
        assert few.spent.calls == 2
        with pytest.raises(DeadlineExceeded):
            asyncio.run(executor.aexecute_signature("Ask", {"question": "?"}, timeout=0.01, **options))


@awaited_or_not
def test_what_a_reward_quotes_of_a_sensitive_value_is_not_shown(awaited: bool) -> None:
    class Secret(Ask):
        question: str = InputField(sensitive=True)

    class Quotes:
        name, version = "quotes", "1"

        def __call__(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
            raise ValueError(f"cannot judge {inputs}")

    strategy = {"name": "best_of_n", "reward": Quotes()}
    with Executor(lm=null_lm(), plugins=["strategies"], environ={}) as executor:
        run = executor.aexecute_signature if awaited else executor.execute_signature
        with pytest.raises(PluginError, match="reward 'function quotes' raised ValueError; it is not shown") as caught:
            drive(run(Secret, {"question": "hunter2"}, strategy=strategy))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


@awaited_or_not
def test_an_error_of_an_execution_inside_a_tool_names_the_tool(run: Asking, awaited: bool) -> None:
    def nested(city: str) -> int:
        """Ask another signature."""
        raise OutputError("the answer does not fit Other", retryable=True)

    def spent(city: str) -> int:
        """Ask another signature."""
        raise BudgetExceeded("the budget is spent")

    for tool, error in ((nested, ToolError), (spent, BudgetExceeded)):
        strategy = {"name": "react", "tools": [FunctionTool(tool, version="1")], "max_iters": 2}
        answers = {"next_tool_name": tool.__name__, "next_tool_args": {"city": "Rome"}}
        with pytest.raises(error):
            run(strategy, "x", others=answers, awaited=awaited, retry_on_failure=True, max_retries=2)
        assert run.engine.calls == 1
