"""What is served from the cache, and what is not."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Component, Executor, InputField, OutputField, Problem, hookimpl
from hokusai_core.caching import MemoryCache
from hokusai_core.errors import ExecutionError
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Typed(BaseSignature):
    """Say something."""

    data: dict[str, Any] = InputField()
    names: list[str] = OutputField()
    mood: Mood = OutputField()
    sure: float = OutputField()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def execute(executor: Executor, name: Any = "Answer", inputs: Any = None, **arguments: Any) -> Any:
        inputs = {"question": "?"} if inputs is None else inputs
        if request.param:
            return asyncio.run(executor.aexecute_signature(name, inputs, **arguments))
        return executor.execute_signature(name, inputs, **arguments)

    return execute


def counting(**options: Any) -> Any:
    """Return a language model whose every answer is another."""
    numbers = iter(range(1, 1000))
    return null_lm(answers={"answer": lambda _user: f"answer {next(numbers)}"}, **options)


def test_use_refresh_and_off(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor(lm=counting())
    steps = [("use", "answer 1", None), ("use", "answer 1", "memory"), ("off", "answer 2", None),
             ("use", "answer 1", "memory"), ("refresh", "answer 3", None), ("use", "answer 3", "memory")]  # fmt: skip
    for cache, answer, cached in steps:
        result = run(executor, cache=cache)
        assert (result["answer"], result.cached) == (answer, cached)


def test_turned_off_for_the_executor(make_executor: MakeExecutor, run: Any) -> None:
    lm = counting()
    executor = make_executor(lm=lm, cache_enabled=False)
    assert [run(executor, cache=cache)["answer"] for cache in ("use", "refresh", "use")] == [
        "answer 1", "answer 2", "answer 3"
    ]  # fmt: skip
    assert executor.stats()["cache"] is None


class Clock:
    """A clock that a test sets forward. It replaces ``time.time``, from which ages of answers are computed."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return REAL() + self.ahead


REAL = time.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def test_the_call_goes_before_the_signature_and_that_before_the_executor(
    make_executor: MakeExecutor, clock: Clock
) -> None:
    class Brief(BaseSignature):
        """Answer."""

        cache_ttl = 100
        question: str = InputField()
        answer: str = OutputField()

    executor = make_executor(lm=counting(), cache_ttl=1000)
    executor.register_signature("Brief", Brief)
    brief: dict[str, Any] = {"cache_ttl": 10}
    for name, arguments, lives in (("Brief", brief, 10), ("Brief", {}, 100), ("Answer", {}, 1000)):
        inputs = {"question": f"{name} {lives}"}
        clock.ahead = 0.0
        first = executor.execute_signature(name, inputs, **arguments)
        clock.ahead = lives - 1
        assert executor.execute_signature(name, inputs, **arguments)["answer"] == first["answer"]
        clock.ahead = lives + 1
        assert executor.execute_signature(name, inputs, **arguments).cached is None


def test_a_reader_may_want_a_fresher_answer_than_was_stored(make_executor: MakeExecutor, clock: Clock) -> None:
    executor = make_executor(lm=counting())
    executor.execute_signature("Answer", {"question": "?"})
    clock.ahead = 60
    assert executor.execute_signature("Answer", {"question": "?"}, cache_ttl=90).cached == "memory"
    assert executor.execute_signature("Answer", {"question": "?"}, cache_ttl=30).cached is None
    clock.ahead = 85
    assert executor.execute_signature("Answer", {"question": "?"}, cache_ttl=30).cached == "memory"


def test_the_executor_that_stores_for_ever_may_be_told_otherwise(make_executor: MakeExecutor, clock: Clock) -> None:
    executor = make_executor(cache_ttl=10)
    executor.execute_signature("Answer", {"question": "?"}, cache_ttl=None)
    clock.ahead = 10**9
    assert executor.execute_signature("Answer", {"question": "?"}, cache_ttl=None).cached == "memory"


def test_whatever_changes_the_answer_misses(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor()

    def signature(instructions: str = "Answer.", kind: str = "str", demos: Any = ()) -> type[BaseSignature]:
        made = dspy.Signature(f"question -> answer: {kind}", instructions)
        executor.register_signature("Changing", made, replace=True)
        spec = executor.signatures.resolve("Changing").spec.evolve(demos=demos)
        return BaseSignature.from_spec(spec)

    def cached(cls: Any, **arguments: Any) -> str | None:
        executor.register_signature("Changing", cls, replace=True)
        return str(run(executor, "Changing", **arguments).cached)

    original = signature()
    assert [cached(original), cached(original)] == ["None", "memory"]
    changed = [
        signature(instructions="Answer politely."),
        signature(kind="int"),
        signature(demos=({"question": "1+1?", "answer": "2"},)),
    ]
    assert [cached(cls) for cls in changed] == ["None"] * 3
    assert [cached(cls) for cls in changed] == ["memory"] * 3
    assert cached(original) == "memory"
    lm = null_lm()
    assert cached(original, lm=lm) == "memory", "the same model with the same parameters is the same"
    for changed_lm in (null_lm(model="null/other"), lm.copy(temperature=0.7), lm.copy(max_tokens=5)):
        assert [cached(original, lm=changed_lm) for _ in range(2)] == ["None", "memory"]
    with dspy.context(adapter=dspy.ChatAdapter()):
        assert [cached(original) for _ in range(2)] == ["None", "memory"]


def test_a_parameter_that_is_changed_in_place_misses(make_executor: MakeExecutor, run: Any) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    run(executor)
    lm.kwargs["temperature"] = 0.9
    assert run(executor).cached is None
    lm.kwargs.pop("temperature")
    assert run(executor).cached == "memory"


def test_neither_credentials_nor_versions_and_tags_matter(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    keys = {executor.explain("Answer", {"question": "?"}, lm=dspy.LM("openai/x", api_key=key)).key for key in "ab"}
    assert len(keys) == 1


def test_what_a_scripted_model_answers_is_part_of_the_key(make_executor: MakeExecutor) -> None:
    """It is no parameter of the model, and decides everything."""
    from dspy.utils import DummyLM

    store = MemoryCache()
    store.close = lambda: None  # type: ignore[method-assign]  # every executor is given it

    def ask(lm: Any) -> tuple[str, bool]:
        result = make_executor(cache=store).execute_signature("Answer", {"question": "?"}, lm=lm)
        return result["answer"], result.cached is not None

    blue = DummyLM([{"answer": "blue"}, {"answer": "green"}])
    assert [ask(blue), ask(DummyLM([{"answer": "red"}]))] == [("blue", False), ("red", False)]
    assert ask(blue) == ("blue", True), "how far it has come does not matter"
    assert ask(DummyLM([{"answer": "blue"}, {"answer": "green"}])) == ("blue", True)
    table = DummyLM({"?": {"answer": "one"}})
    assert [ask(table), ask(DummyLM({"?": {"answer": "two"}}))] == [("one", False), ("two", False)]
    table.answers["?"] = {"answer": "three"}
    assert ask(table) == ("three", False)


def test_state_that_a_model_shows_is_part_of_the_key(make_executor: MakeExecutor) -> None:
    class Persona(dspy.BaseLM):  # type: ignore[misc]
        def __init__(self, persona: str, token: str = "t", **options: Any) -> None:  # noqa: S107  # made up
            super().__init__("persona", **options)
            self.persona, self.token = persona, token

        def dump_state(self) -> dict[str, Any]:
            return {**super().dump_state(), "persona": self.persona, "api_token": self.token}

    executor = make_executor()

    def key(*arguments: Any, **options: Any) -> str | None:
        return executor.explain("Answer", {"question": "?"}, lm=Persona(*arguments, **options)).key

    assert key("kind") != key("rude")
    assert key("kind") == key("kind") == key("kind", "another") == key("kind", num_retries=7, cache=False)


def openai(**parameters: Any) -> Any:
    return dspy.LM("openai/gpt-5-mini", temperature=1.0, max_tokens=16_000, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [{"stop_token_ids": [7]}, {"keywords": "x"}, {"token_budget": 1}, {"api_base": "https://other/v1"}],
    ids=str,
)
def test_parameters_whose_names_remind_of_credentials_count(make_executor: MakeExecutor, parameters: Any) -> None:
    executor = make_executor()
    keys = {
        executor.explain("Answer", {"question": "?"}, lm=openai(**more)).key for more in (dict[str, Any](), parameters)
    }
    assert len(keys) == 2


CREDENTIALS = (
    "api_key", "apiKey", "aws_secret_access_key", "session_token", "authToken", "azure_ad_token_provider", "X-Auth",
    "token", "accesskey", "clientSecret", "OPENAI_API_KEY",
)  # fmt: skip


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_of_any_name_stay_out(make_executor: MakeExecutor, name: str) -> None:
    executor = make_executor()
    lm = openai(**{name: "canary-1"})
    keys = [executor.explain("Answer", {"question": "?"}, lm=model).key for model in (lm, openai(**{name: "canary-2"}))]
    assert keys[0] == keys[1]
    assert "canary" not in str(executor.services.plans.plan("Answer", lm).model_parameters)


def test_credentials_in_addresses_stay_out(make_executor: MakeExecutor) -> None:
    lm = openai(api_base="https://me:canary-1@example.com/v1?key=canary-2&api-version=3")
    parameters = make_executor().services.plans.plan("Answer", lm).model_parameters
    assert "canary" not in str(parameters)
    assert "api-version=3" in parameters["api_base"]


def test_namespaces_are_kept_apart(make_executor: MakeExecutor) -> None:
    keys = {make_executor(namespace=name).explain("Answer", {"question": "?"}).key for name in ("a", "b", "a")}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": [1, 2.0]}, {"a": [1.0, 2]}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": None}, {"a": "None"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": 10**30}, {"a": 10**30 + 1}, False),
    ],
)
def test_equal_inputs_have_one_key(make_executor: MakeExecutor, first: Any, second: Any, same: bool) -> None:
    executor = make_executor(lm=null_lm(answers={"mood": "good"}))
    executor.register_signature("Typed", Typed)
    keys = [executor.explain("Typed", {"data": data}).key for data in (first, second)]
    assert (keys[0] == keys[1]) is same
    executor.execute_signature("Typed", {"data": first}, cache="refresh")
    assert (executor.execute_signature("Typed", {"data": second}).cached == "memory") is same


def test_an_alias_and_a_default_are_the_same_inputs(make_executor: MakeExecutor) -> None:
    class Aliased(BaseSignature):
        """Do."""

        text: str = InputField(aliases=("document",))
        tone: str = InputField(default="plain")
        out: str = OutputField()

    executor = make_executor()
    executor.register_signature("Aliased", Aliased)
    executor.execute_signature("Aliased", {"text": "x"})
    assert executor.execute_signature("Aliased", {"document": "x", "tone": "plain"}).cached == "memory"


def test_changing_a_result_changes_no_later_one(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor()
    first = run(executor, "Many")
    first["answers"].append("mine")
    for _ in range(2):
        hit = run(executor, "Many")
        assert (hit["answers"], hit.cached) == (["some answers"], "memory")
        hit["answers"].clear()


def test_hits_have_the_types_of_the_signature(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor(lm=null_lm(answers={"mood": "good"}))
    executor.register_signature("Typed", Typed)
    fresh, hit = (run(executor, "Typed", {"data": {"a": 1}}) for _ in range(2))
    assert fresh == hit == {"names": ["some names"], "mood": Mood.GOOD, "sure": 0.5}
    assert hit.cached == "memory"


def test_only_answers_that_pass_every_check_are_stored(make_executor: MakeExecutor, run: Any) -> None:
    class Picky:
        def validate_inputs(self, signature: Any, inputs: Any) -> list[Problem]:
            return []

        def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Problem]:
            return [Problem("answer", "rude", "is rude")] if outputs["answer"] == "answer 1" else []

    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component("picky", Picky)]

    executor = make_executor(lm=counting(), extra_plugins=[Plugin()])
    with pytest.raises(ExecutionError, match="answer: is rude"):
        run(executor)
    assert executor.stats()["cache"]["memory"]["entries"] == 0
    assert run(executor)["answer"] == "answer 2"
    assert run(executor).cached == "memory"


def wants(word: str, asked: list[str]) -> object:
    """Return a plugin whose validator wants a word in the answer, and notes what it is asked."""

    class Validator:
        def validate_inputs(self, signature: Any, inputs: Any) -> list[Problem]:
            return []

        def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Problem]:
            asked.append(outputs["answer"])
            return [] if word in outputs["answer"] else [Problem("answer", "word", f"lacks {word}")]

    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component("strict", Validator)]

    return Plugin()


def test_an_answer_that_others_let_pass_is_checked_by_the_readers_validators(
    make_executor: MakeExecutor, run: Any
) -> None:
    store = MemoryCache()
    store.close = lambda: None  # type: ignore[method-assign]  # every executor is given it
    assert run(make_executor(cache=store, lm=null_lm(answers={"answer": "a rude one"})))["answer"] == "a rude one"
    asked: list[str] = []
    kind = make_executor(
        cache=store, lm=null_lm(answers={"answer": "a kind one"}), extra_plugins=[wants("kind", asked)]
    )
    explained = kind.explain("Answer", {"question": "?"})
    assert (explained.hit, explained.tiers["memory"]) == (None, "refused by a validator")
    assert "a validator objects to" in explained.reason
    first = run(kind)
    assert (first["answer"], first.cached) == ("a kind one", None)
    asked.clear()
    assert (run(kind)["answer"], asked) == ("a kind one", []), "what the memory tier holds has passed them"
    other = make_executor(cache=store, extra_plugins=[wants("kind", asked)])
    assert (run(other)["answer"], asked) == ("a kind one", ["a kind one"]), "the good answer took the other's place"


def test_a_failure_is_not_stored(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor(lm=null_lm(fail_first=1))
    with pytest.raises(ExecutionError):
        run(executor)
    assert run(executor).cached is None


def test_the_memory_tier_is_bounded(make_executor: MakeExecutor) -> None:
    executor = make_executor(cache_entries=3)
    for number in range(5):
        executor.execute_signature("Answer", {"question": str(number)})
    assert executor.stats()["cache"]["memory"]["entries"] == 3
    assert executor.execute_signature("Answer", {"question": "4"}).cached == "memory"
    assert executor.execute_signature("Answer", {"question": "0"}).cached is None


def test_an_answer_without_a_json_form_is_given_and_not_stored(make_executor: MakeExecutor, run: Any) -> None:
    class Odd(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            return dspy.Prediction(answer="x", extra=object())

    heard: list[Any] = []

    class Observer:
        @hookimpl
        def on_execution_finished(self, event: Any) -> None:
            heard.append(event.outputs)

    executor = make_executor(extra_plugins=[Observer()])
    executor.register_signature("Odd", Odd())
    for _ in range(2):
        result = run(executor, "Odd")
        assert (result["answer"], type(result["extra"]), result.cached) == ("x", object, None)
    assert heard == [{"answer": "x", "extra": "<object>"}] * 2


def test_an_input_that_makes_no_key_is_not_looked_up(make_executor: MakeExecutor, run: Any) -> None:
    executor = make_executor(lm=null_lm(answers={"mood": "good"}))
    executor.register_signature("Typed", Typed)
    with pytest.raises(ExecutionError, match="digits"):  # nor can it be written into a prompt
        run(executor, "Typed", {"data": {"a": 10**5000}})


def test_explain_tells_hits_and_misses_without_a_call(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    assert executor.explain("Answer", {"question": "?"}).hit is None
    executor.execute_signature("Answer", {"question": "?"})
    explained = executor.explain("Answer", {"question": "?"})
    assert (explained.hit, explained.tiers) == ("memory", {"memory": "hit"})
    assert lm.engine.calls == 1


def test_a_miss_is_explained_without_a_persistent_cache_too(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    assert executor.explain("Answer", {"question": "?"}).reason == "miss: no answer of this signature is stored"
    executor.execute_signature("Answer", {"question": "?"})
    explained = executor.explain("Answer", {"question": "what?"})
    assert explained.differs == ("input:question",)
    executor.execute_signature("Answer", {"question": "brief"}, cache_ttl=0.001)
    time.sleep(0.002)
    assert executor.explain("Answer", {"question": "brief"}).hit is None


def test_inputs_that_make_no_key_are_explained(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.register_signature("Typed", Typed)
    explained = executor.explain("Typed", {"data": {"a": 10**5000}})
    assert explained.key is None
    assert "make no key" in explained.reason


def test_the_memory_tier_takes_what_it_says(make_executor: MakeExecutor) -> None:
    """A text that orjson wrote holds on to its buffer of 4 KB."""
    import gc
    import tracemalloc

    executor = make_executor()
    for number in range(20):
        executor.execute_signature("Answer", {"question": f"warm {number}"})
    gc.collect()
    tracemalloc.start()
    counted, before = executor.stats()["cache"]["memory"]["bytes"], tracemalloc.get_traced_memory()[0]
    for number in range(300):
        executor.execute_signature("Answer", {"question": str(number)})
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < 1.5 * (executor.stats()["cache"]["memory"]["bytes"] - counted)


def test_what_lives_for_a_while_is_not_served_when_the_clock_was_set_back(
    make_executor: MakeExecutor, clock: Clock
) -> None:
    executor = make_executor(lm=counting())
    executor.execute_signature("Answer", {"question": "brief"}, cache_ttl=100)
    executor.execute_signature("Answer", {"question": "for ever"})
    clock.ahead = -50
    assert executor.execute_signature("Answer", {"question": "brief"}).cached is None
    assert executor.execute_signature("Answer", {"question": "for ever"}).cached == "memory"
    assert executor.execute_signature("Answer", {"question": "for ever"}, cache_ttl=100).cached is None
    clock.ahead = -51  # such as a server that keeps the time sets it
    assert executor.execute_signature("Answer", {"question": "brief"}).cached == "memory"


def test_another_model_that_reads_the_answers_is_another_key(make_executor: MakeExecutor) -> None:
    cached = []
    cache = MemoryCache()
    cache.close = lambda: None  # type: ignore[method-assign]  # every executor is given it
    for model in ("null/one", "null/one", "null/two"):
        executor = make_executor(lm=null_lm(), adapter=dspy.TwoStepAdapter(null_lm(model=model)), cache=cache)
        cached.append(executor.execute_signature("Answer", {"question": "?"}).cached is not None)
    assert cached == [False, True, False]
