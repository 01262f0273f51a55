"""Cassettes: calls are recorded once, and replayed without a call; a miss says what differs; no secret is written."""

from __future__ import annotations

import asyncio
import json
import os
import random
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Message, RateLimitError, RefusalPart, Response, Usage

from hokusai_core import BaseSignature, Executor, InputField, ModelPolicy, OutputField, SignatureChain, cassette
from hokusai_core.errors import (
    AnswerCutOff,
    AnswerRefused,
    CassetteError,
    CassetteMiss,
    ConfigurationError,
    LanguageModelError,
    LanguageModelRefused,
    PromptTooLong,
    RateLimitedError,
)
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.lm import NullEngine, null_lm
from tests.warm_python import WarmPython

MakeExecutor = Callable[..., Executor]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "calls.json"


def dead() -> Any:
    """A language model that may not be called."""

    def fail(user: str) -> str:
        raise AssertionError("the language model was called")

    return null_lm(raw=fail)


def ask(executor: Executor, question: str = "Why?", **options: Any) -> Any:
    return executor.execute_signature("Answer", {"question": question}, **options)


def both(make_executor: MakeExecutor, path: Path, run: Callable[[Executor], Any], lm: Any, **options: Any) -> list[Any]:
    """Run something twice: recorded, then replayed with a language model that may not be called."""
    found = []
    for model in (lm, dead()):
        with cassette(path) as tape, make_executor(lm=model, cache_enabled=False, **options) as executor:
            found.append(run(executor))
        assert (tape.played == 0) == (model is lm)
    return found


def test_a_call_is_recorded_once_and_replayed(make_executor: MakeExecutor, path: Path) -> None:
    recorded, replayed = both(make_executor, path, ask, null_lm(answers={"answer": "Because.\nReally."}))
    assert recorded.outputs == replayed.outputs == {"answer": "Because.\nReally."}
    assert recorded.usage == replayed.usage
    assert recorded.cost == replayed.cost
    assert recorded.attempts[0].finish_reason == replayed.attempts[0].finish_reason == "stop"
    data = json.loads(path.read_text())
    assert data["hokusai_cassette"] == 1
    (interaction,) = data["interactions"]
    assert interaction["signature"] == "Answer"
    assert interaction["request"]["model"] == "null/model"
    assert interaction["response"]["answers"][0]["text"]["$lines"][1] == "Because."
    assert list(path.parent.iterdir()) == [path]  # no other file is left


def test_async_batches_and_streams(make_executor: MakeExecutor, path: Path) -> None:
    rows = [{"question": f"number {number}"} for number in range(20)]

    def run(executor: Executor) -> Any:
        batch = executor.execute_batch("Answer", rows, progress=False, max_workers=5)
        one = asyncio.run(executor.aexecute_signature("Answer", {"question": "async"}))
        many = sorted(row.outcome["answer"] for row in executor.iter_batch("Answer", rows[:3], progress=False))
        with executor.stream_signature("Answer", {"question": "streamed"}) as events:
            kinds: list[tuple[str, Any]] = [(event.kind, getattr(event, "text", None)) for event in events]
        text = "".join(text for kind, text in kinds if kind == "delta")
        return [one["answer"], [row["answer"] for row in batch], many, sorted({kind for kind, _ in kinds}), text]

    def answer(user: str) -> str:
        return "about " + user.partition("question ## ]]\n")[2].partition("\n")[0]

    lm = null_lm(answers={"answer": answer}, pieces=lambda text: [text[at : at + 3] for at in range(0, len(text), 3)])
    recorded, replayed = both(make_executor, path, run, lm)
    assert recorded == replayed
    assert recorded[-1] == "about streamed"
    assert len(json.loads(path.read_text())["interactions"]) == 25


def test_the_same_recordings_make_the_same_file(make_executor: MakeExecutor, tmp_path: Path) -> None:
    texts = []
    for workers, order in ((1, 1), (6, -1)):
        path = tmp_path / f"{workers}.json"
        rows = [{"question": f"number {number}"} for number in range(12)][::order]
        with cassette(path), make_executor() as executor:
            executor.execute_batch("Answer", rows, progress=False, max_workers=workers)
        texts.append(path.read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("strategy", ["chain_of_thought", "majority", "best_of_n", "refine"])
def test_strategies(make_executor: MakeExecutor, path: Path, strategy: str) -> None:
    options: dict[str, Any] = {"majority": {"n": 3}, "best_of_n": {"n": 2}, "refine": {"n": 2}}.get(strategy, {})
    count = iter(range(100))
    lm = null_lm(answers={"answer": lambda user: f"yes {next(count)}"})

    def run(executor: Executor) -> Any:
        how = {"name": strategy, **options}
        if strategy in ("best_of_n", "refine"):
            how |= {"reward": lambda inputs, outputs: float(len(outputs["answer"]) > 100), "threshold": 1.0}
        result = executor.execute_signature("Answer", {"question": "?"}, strategy=how)
        return result.outputs, result.extras, result.usage.calls

    recorded, replayed = both(make_executor, path, run, lm, plugins=["strategies"])
    assert recorded == replayed
    assert recorded[2] == lm.engine.calls


class TwoSteps(dspy.Module):
    """Asks twice, the second time with a language model of its own."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.draft, self.final = dspy.Predict("question -> draft"), dspy.Predict("draft -> answer")
        self.final.lm = other

    def forward(self, question: str) -> Any:
        return self.final(draft=self.draft(question=question).draft)


class MakesItsOwn(dspy.Module):
    """Makes a language model that nothing knows of before it is called."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other, self.step = other, dspy.Predict("question -> answer")

    def forward(self, question: str) -> Any:
        with dspy.context(lm=self.other):
            return self.step(question=question)


def test_programs(make_executor: MakeExecutor, path: Path) -> None:
    other = null_lm(answers={"answer": "final"}, model="null/other")

    def run(executor: Executor) -> Any:
        executor.register_signature("Program", TwoSteps(other), signature="question -> answer")
        result = executor.execute_signature("Program", {"question": "?"})
        return result["answer"], result.usage.calls

    assert both(make_executor, path, run, null_lm()) == [("final", 2), ("final", 2)]
    assert other.engine.calls == 1
    assert other.engine is not None


def test_a_model_that_a_program_makes_itself_is_refused(make_executor: MakeExecutor, path: Path) -> None:
    other = null_lm(model="null/other")
    with cassette(path), make_executor() as executor:
        executor.register_signature("Program", MakesItsOwn(other), signature="question -> answer")
        with pytest.raises(CassetteMiss, match="null/other"):
            executor.execute_signature("Program", {"question": "?"})
    assert other.engine.calls == 0


def test_chains(make_executor: MakeExecutor, path: Path) -> None:
    chain = SignatureChain().add("Answer", {"question": "topic"}).add("Many", {"question": "Answer.answer"})

    def run(executor: Executor) -> Any:
        return executor.execute_chain(chain, {"topic": "tea"}).outputs

    recorded, replayed = both(make_executor, path, run, null_lm(answers={"answer": "green tea", "answers": ["a", "b"]}))
    assert recorded == replayed


def test_a_policy_does_not_hide_a_miss(make_executor: MakeExecutor, path: Path) -> None:
    second = null_lm(model="null/second")
    with cassette(path), make_executor() as executor:
        ask(executor)
    with (
        cassette(path),
        make_executor(lm=ModelPolicy([null_lm(), second])) as executor,
        pytest.raises(CassetteMiss, match="field question"),
    ):
        ask(executor, "How?")
    assert second.engine.calls == 0


# -- the clients, and what providers answer ------------------------------------------------------------------------


def lm_of(client: str, url: str, model: str) -> Any:
    if client == "openai plugin":
        return f"{url}#{model}"
    engine = "litellm" if client == "litellm" else "auto"
    return dspy.LM(f"openai/{model}", api_base=url, api_key="sk-planted-0123456789", engine=engine, cache=False)


@pytest.mark.parametrize("client", ["dspy", "litellm", "openai plugin"])
@pytest.mark.parametrize("how", ["sync", "async", "stream"])
def test_clients(make_executor: MakeExecutor, path: Path, client: str, how: str) -> None:
    def run(executor: Executor) -> Any:
        if how == "sync":
            result = ask(executor)
        elif how == "async":
            result = asyncio.run(executor.aexecute_signature("Answer", {"question": "Why?"}))
        else:
            with executor.stream_signature("Answer", {"question": "Why?"}) as events:
                last: Any = list(events)[-1]
                result = last.result
        return result.outputs, result.usage, result.cost

    with ChatServer() as server:
        lm = lm_of(client, server.base_url, "ok")
        with cassette(path), make_executor(lm=lm, plugins=["openai"], cache_enabled=False) as executor:
            recorded = run(executor)
        assert len(server.received) == 1
        url = server.base_url
    with cassette(path), make_executor(lm=lm_of(client, url, "ok"), plugins=["openai"]) as executor:  # nothing serves
        assert run(executor) == recorded
    assert recorded[0] == {"answer": "Seven."}
    assert "sk-planted" not in path.read_text()


def failure_of(make_executor: MakeExecutor, path: Path, lm: Any, kind: type[Exception]) -> Exception:
    with cassette(path), make_executor(lm=lm, plugins=["openai"]) as executor, pytest.raises(kind) as caught:
        ask(executor)
    return caught.value


@pytest.mark.parametrize("client", ["dspy", "openai plugin"])
@pytest.mark.parametrize(
    ("behaviour", "kind", "facts"),
    [
        ("retry-after", RateLimitedError, {"retry_after": 7.0, "retryable": True}),
        ("status-500", LanguageModelError, {"retryable": True}),
        ("status-503", LanguageModelError, {"retryable": True}),
        ("status-400", LanguageModelError, {"retryable": False}),
        ("status-404", LanguageModelError, {"retryable": False}),
        ("echo-key", LanguageModelRefused, {"retryable": False}),
        ("context-length", PromptTooLong, {}),
        ("content-filter", AnswerRefused, {}),
        ("length", AnswerCutOff, {"retryable": True}),
    ],
)
def test_what_providers_answer(
    make_executor: MakeExecutor, path: Path, client: str, behaviour: str, kind: type[Exception], facts: dict[str, Any]
) -> None:
    with ChatServer() as server:
        url = server.base_url
        recorded = failure_of(make_executor, path, lm_of(client, url, behaviour), kind)
    replayed = failure_of(make_executor, path, lm_of(client, url, behaviour), kind)
    assert type(replayed) is type(recorded) is kind
    assert str(replayed) == str(recorded)
    for name, value in facts.items():
        assert getattr(replayed, name) == getattr(recorded, name) == value
    assert "sk-planted" not in path.read_text()


@pytest.mark.parametrize("behaviour", ["disconnect", "reset", "half-body"])
def test_a_lost_connection_is_not_recorded(make_executor: MakeExecutor, path: Path, behaviour: str) -> None:
    with ChatServer() as server:
        failure_of(make_executor, path, lm_of("openai plugin", server.base_url, behaviour), LanguageModelError)
    assert not path.exists()


def test_retries_are_replayed_in_their_order(make_executor: MakeExecutor, path: Path) -> None:
    def run(executor: Executor) -> Any:
        result = ask(executor)
        return result.outputs, [attempt.outcome for attempt in result.attempts]

    options = {"retry_on_failure": True, "max_retries": 3}
    recorded, replayed = both(make_executor, path, run, null_lm(fail_first=2), **options)
    assert recorded == replayed
    assert recorded[1] == ["failed", "failed", "ok"]


def test_a_stream_that_breaks_off(make_executor: MakeExecutor, path: Path) -> None:
    def run(executor: Executor) -> list[Any]:
        kinds = set()
        try:
            with executor.stream_signature("Answer", {"question": "?"}) as events:
                for event in events:
                    kinds.add(event.kind)
        except LanguageModelError as error:
            return [kinds, str(error)]
        raise AssertionError("the stream did not break off")

    with ChatServer() as server:
        url = server.base_url
        with cassette(path), make_executor(lm=lm_of("openai plugin", url, "stream-error"), plugins=["openai"]) as one:
            recorded = run(one)
    with cassette(path), make_executor(lm=lm_of("openai plugin", url, "stream-error"), plugins=["openai"]) as one:
        assert run(one) == recorded


class Own(dspy.BaseLM):
    """A language model with code of its own around the call."""

    def __init__(self) -> None:
        super().__init__("own/model")
        self.calls = 0

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        self.calls += 1
        return ["[[ ## answer ## ]]\nown\n\n[[ ## completed ## ]]"]


def test_a_class_of_the_hosts_own(make_executor: MakeExecutor, path: Path) -> None:
    lm = Own()
    for _ in range(2):
        with cassette(path), make_executor(lm=lm) as executor:
            assert ask(executor)["answer"] == "own"
    assert lm.calls == 1


# -- modes ----------------------------------------------------------------------------------------------------------


def test_modes(make_executor: MakeExecutor, path: Path) -> None:
    lm = null_lm()

    def run(mode: Any, *questions: str) -> int:
        before = lm.engine.calls
        with cassette(path, record_mode=mode), make_executor(lm=lm, cache_enabled=False) as executor:
            for question in questions:
                ask(executor, question)
        return int(lm.engine.calls - before)

    with pytest.raises(CassetteMiss, match="holds no call"):
        run("none", "a")
    assert run("once", "a", "b") == 2
    assert run("once", "a", "b") == 0
    with pytest.raises(CassetteMiss):
        run("once", "c")
    assert run("new_episodes", "a", "c") == 1
    assert run("none", "a", "b", "c") == 0
    assert run("all", "c") == 1
    assert len(json.loads(path.read_text())["interactions"]) == 1  # the others are gone
    with pytest.raises(CassetteMiss):
        run("none", "a")
    with pytest.raises(ConfigurationError, match="new_episodes"):
        run("sometimes", "a")


def test_a_request_that_is_made_more_often(make_executor: MakeExecutor, path: Path) -> None:
    with cassette(path), make_executor() as executor:
        ask(executor)
    with cassette(path), make_executor(cache_enabled=False) as executor:
        ask(executor)
        with pytest.raises(CassetteMiss, match="1 answer to this request, and it is made once more"):
            ask(executor)
    with cassette(path, allow_playback_repeats=True) as tape, make_executor(cache_enabled=False) as executor:
        for _ in range(3):
            ask(executor)
    assert tape.played == 3


def test_an_executor_of_its_own(make_executor: MakeExecutor, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = null_lm()
    with make_executor(lm=lm, cassette=path) as executor, make_executor(lm=lm) as other:
        ask(executor)
        ask(other)
    assert lm.engine.calls == 2
    assert len(json.loads(path.read_text())["interactions"]) == 1
    with make_executor(lm=dead(), cassette=cassette(path, record_mode="none")) as executor:
        assert ask(executor)["answer"] == "some answer"
    monkeypatch.setenv("HOKUSAI_CASSETTE", str(path))
    with make_executor(lm=dead()) as executor:
        assert ask(executor)["answer"] == "some answer"
    with pytest.raises(ConfigurationError, match="cassette"):
        make_executor(cassette=7)


def test_the_cache_comes_first(make_executor: MakeExecutor, path: Path) -> None:
    with cassette(path) as tape, make_executor() as executor:
        assert [ask(executor).cached for _ in range(3)] == [None, "memory", "memory"]
    assert tape.recorded == 1
    with cassette(path) as tape, make_executor() as executor:
        assert [ask(executor).cached for _ in range(3)] == [None, "memory", "memory"]
    assert tape.played == 1


def test_cassettes_of_tasks_and_threads(make_executor: MakeExecutor, tmp_path: Path) -> None:
    with make_executor(cache_enabled=False) as executor:

        async def one(name: str) -> None:
            with cassette(tmp_path / name):
                await executor.aexecute_signature("Answer", {"question": name})

        async def two() -> None:
            await asyncio.gather(one("a"), one("b"))

        asyncio.run(two())
        for name in ("a", "b"):
            text = (tmp_path / name).read_text()
            assert len(json.loads(text)["interactions"]) == 1
        with cassette(tmp_path / "c") as tape:
            thread = threading.Thread(target=ask, args=(executor,))
            thread.start()
            thread.join()
            assert tape.recorded == 1
        failures: list[Exception] = []

        def fail() -> None:
            try:
                ask(executor)
            except Exception as error:
                failures.append(error)

        with cassette(tmp_path / "d"), cassette(tmp_path / "e"):
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        assert isinstance(failures[0], ConfigurationError)
        assert "several cassettes" in str(failures[0])


# -- misses ---------------------------------------------------------------------------------------------------------


class Support(BaseSignature):
    """Answer the customer politely."""

    ticket: str = InputField(description="what the customer writes")
    language: str = InputField(default="English")
    reply: str = OutputField()
    urgent: bool = OutputField()


def miss(make_executor: MakeExecutor, path: Path, signature: Any, inputs: dict[str, Any], **options: Any) -> str:
    executor_options = {name: options.pop(name) for name in ("lm", "adapter", "plugins") if name in options}
    with cassette(path), make_executor(**executor_options) as executor, pytest.raises(CassetteMiss) as caught:
        executor.execute_signature(signature, inputs, **options)
    return str(caught.value)


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_a_miss_names_what_differs(make_executor: MakeExecutor, path: Path, adapter: str) -> None:
    demos = [{"ticket": "Hello", "language": "English", "reply": "Hi", "urgent": False}]
    taught = BaseSignature.from_dict({**Support.spec.to_dict(), "demos": demos})
    other = BaseSignature.from_dict({**Support.spec.to_dict(), "demos": [{**demos[0], "reply": "Good day"}]})
    ruder = BaseSignature.from_dict({**taught.spec.to_dict(), "instructions": "Answer the customer briefly."})
    inputs = {"ticket": "My parcel is late", "language": "English"}
    with cassette(path), make_executor(adapter=adapter) as executor:
        executor.execute_signature(taught, inputs, parameters={"temperature": 0.2})
        executor.execute_signature(taught, {"ticket": "something else entirely", "language": "French"})

    def told(signature: Any = taught, changed: Any = None, temperature: float = 0.2, **options: Any) -> list[str]:
        text = miss(
            make_executor, path, signature, {**inputs, **(changed or {})},
            adapter=adapter, parameters={"temperature": temperature}, **options,
        )  # fmt: skip
        return [line for line in text.splitlines() if line.startswith("- ")]

    assert told(changed={"ticket": "My parcel is lost"}) == [
        "- field ticket: recorded 'My parcel is late', asked 'My parcel is lost'"
    ]
    assert told(changed={"language": "German"}) == ["- field language: recorded 'English', asked 'German'"]
    assert told(temperature=0.9) == ["- parameter temperature: recorded '0.2', asked '0.9'"]
    assert told(lm=null_lm(model="null/newer")) == ["- model: recorded 'null/model', asked 'null/newer'"]
    (line,) = told(ruder)
    assert line == ("- instruction: recorded 'Answer the customer politely.', asked 'Answer the customer briefly.'")
    (line,) = told(other)
    assert line.startswith("- demo 1")
    assert "Hi" in line
    assert "Good day" in line
    assert len(told(temperature=0.9, changed={"language": "German"})) == 2


def test_a_miss_is_short(make_executor: MakeExecutor, path: Path) -> None:
    long = "word " * 50_000
    with cassette(path), make_executor() as executor:
        executor.execute_signature(Support, {"ticket": long + "late"})
    text = miss(make_executor, path, Support, {"ticket": long + "lost"})
    assert len(text) < 600
    assert "word late" in text
    assert "word lost" in text


# -- secrets and sensitive values -------------------------------------------------------------------------------------


class Patient(BaseSignature):
    """Write to the patient."""

    name: str = InputField(sensitive=True)
    record: dict[str, list[str]] = InputField(sensitive=True)
    age: int = InputField(sensitive=True)
    topic: str = InputField()
    letter: str = OutputField()
    kind: Literal["short", "long"] = OutputField()


class Password(BaseSignature):
    """Make a password."""

    site: str = InputField()
    hint: str = OutputField()
    password: str = OutputField(sensitive=True)
    pins: list[int] = OutputField(sensitive=True)


CANARIES = ("Ada-CANARY-1", 'quoted "CANARY-2"\nnext', "CANÄRY-3")
PATIENT = {"name": CANARIES[0], "record": {"secret-CANARY-4": [*CANARIES[1:]]}, "age": 8371, "topic": "flu"}


def leaks(path: Path) -> list[str]:
    text = "".join(one.read_text() for one in path.parent.iterdir())
    return [one for one in ("CANARY-1", "CANARY-2", "CANARY-3", "CANÄRY", "CANARY-4", "8371", "Ada") if one in text]


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@pytest.mark.parametrize("strategy", [None, "chain_of_thought"])
def test_sensitive_inputs(make_executor: MakeExecutor, path: Path, adapter: str, strategy: str | None) -> None:
    def letter(user: str) -> str:
        return f"Dear Ada-CANARY-1 (8371), about {CANARIES[1]} and canary-2, CANÄRY-3; and flu"

    lm = null_lm(answers={"letter": letter, "reasoning": "it is Ada-CANARY-1, CANARY 2"})

    def run(executor: Executor) -> Any:
        return executor.execute_signature(Patient, PATIENT, strategy=strategy).outputs

    recorded, replayed = both(make_executor, path, run, lm, adapter=adapter, plugins=["strategies"])
    assert leaks(path) == []
    assert recorded["letter"].lower() == replayed["letter"].lower()  # with the values that the caller has
    assert recorded["kind"] == replayed["kind"]
    text = miss(
        make_executor,
        path,
        Patient,
        {**PATIENT, "topic": "colds"},
        adapter=adapter,
        strategy=strategy,
        plugins=["strategies"],
    )
    assert "field topic: recorded 'flu', asked 'colds'" in text
    assert not [one for one in ("CANARY", "CANÄRY", "8371", "Ada") if one in text]


def test_other_sensitive_values_are_answered_with_the_same_words(make_executor: MakeExecutor, path: Path) -> None:
    lm = null_lm(answers={"letter": "Dear Ada-CANARY-1, well."})
    with cassette(path), make_executor(lm=lm) as executor:
        executor.execute_signature(Patient, PATIENT)
    with cassette(path), make_executor(lm=dead()) as executor:
        outputs = executor.execute_signature(Patient, {**PATIENT, "name": "Grace-1"}).outputs
    assert outputs["letter"] == "Dear Grace-1, well."


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@pytest.mark.parametrize("strategy", [None, "chain_of_thought", "best_of_n"])
def test_sensitive_outputs(make_executor: MakeExecutor, path: Path, adapter: str, strategy: str | None) -> None:
    lm = null_lm(
        answers={
            "hint": "not CANARY-1",
            "password": "CANARY-1",
            "pins": [837100, 837199],
            "reasoning": "837199 and CANARY-1",
        }
    )
    how: Any = strategy
    if strategy == "best_of_n":
        how = {"name": strategy, "n": 2, "reward": lambda inputs, outputs: 0.0, "threshold": 1.0}

    def run(executor: Executor) -> Any:
        return executor.execute_signature(Password, {"site": "example"}, strategy=how).outputs

    recorded, replayed = both(make_executor, path, run, lm, adapter=adapter, plugins=["strategies"])
    assert recorded["password"] == "CANARY-1"  # noqa: S105  # of a test
    assert leaks(path) == []
    assert replayed["password"] in ("Sample password", "[redacted]")  # the second one where its name gives it away
    assert all(isinstance(pin, int) for pin in replayed["pins"])
    assert replayed["hint"].startswith("not ")


def test_a_sensitive_value_that_is_handed_on(make_executor: MakeExecutor, path: Path) -> None:
    """A chain gives a sensitive value to a field that is not marked so."""
    lm = null_lm(answers={"password": "CANARY-1-0123"})
    chain = SignatureChain().add(Password, {"site": "site"}).add("Answer", {"question": "Password.password"})
    with (
        cassette(path),
        make_executor(lm=lm) as executor,
        pytest.raises(CassetteError, match=r"Password.*mark the field"),
    ):
        executor.execute_chain(chain, {"site": "example"})
    assert leaks(path) == []


def test_rows_that_may_not_be_recorded_stop_no_others(make_executor: MakeExecutor, path: Path) -> None:
    with cassette(path), make_executor(cache_enabled=False) as executor:
        executor.execute_signature(Patient, PATIENT)
        batch = executor.execute_batch(
            "Answer", [{"question": "Who?"}, {"question": "What of Ada-CANARY-1?"}], progress=False
        )
    assert [type(row.error) for row in batch.failed] == [CassetteError]
    assert leaks(path) == []


class Pick(BaseSignature):
    """Pick a patient."""

    patients: list[str] = InputField(sensitive=True)
    question: str = InputField()
    patient: str = OutputField(choices_from="patients")


@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_choices_from_a_sensitive_input(make_executor: MakeExecutor, path: Path, adapter: str) -> None:
    def run(executor: Executor) -> Any:
        inputs = {"patients": ["Ada-CANARY-1", "Bob-CANARY-2"], "question": "Who?"}
        return executor.execute_signature(Pick, inputs, parameters={"stop": ["Bob-CANARY-2"]})["patient"]

    assert both(make_executor, path, run, null_lm(), adapter=adapter) == ["Ada-CANARY-1", "Ada-CANARY-1"]
    assert leaks(path) == []


def test_an_answer_that_cannot_be_separated_is_withheld(make_executor: MakeExecutor, path: Path) -> None:
    lm = null_lm(raw="I think it is CANARY-1")
    for expected in ("could not be parsed|lacks|has no", "could not be separated"):
        with cassette(path), make_executor(lm=lm, plugins=[]) as executor, pytest.raises(Exception, match=expected):
            executor.execute_signature(Password, {"site": "example"})
    assert leaks(path) == []


def test_errors_of_providers_quote_nothing(make_executor: MakeExecutor, path: Path) -> None:
    class Quotes(NullEngine):
        def answer(self, number: int, request: Any) -> Response:
            raise RateLimitError(f"too many: {request.messages[-1].text} key sk-planted-0123456789", status=429)

    engine = Quotes()
    lm = dspy.LM("null/quotes", engine=engine, cache=False)
    for _ in range(2):
        with cassette(path), make_executor(lm=lm) as executor, pytest.raises(RateLimitedError):
            executor.execute_signature(Patient, PATIENT)
    assert engine.calls == 1
    assert leaks(path) == []
    assert "sk-planted" not in path.read_text()


def test_a_refusal_quotes_nothing(make_executor: MakeExecutor, path: Path) -> None:
    class Refuses(NullEngine):
        def answer(self, number: int, request: Any) -> Response:
            message = Message(role="assistant", parts=(RefusalPart("Not for Ada-CANARY-1 with CANARY-2."),))
            return Response(
                id=None, model=request.model, message=message, finish_reason="content_filter", usage=Usage()
            )

    lm = dspy.LM("null/refuses", engine=Refuses(), cache=False)
    for _ in range(2):
        with cassette(path), make_executor(lm=lm) as executor, pytest.raises(AnswerRefused):
            executor.execute_signature(Patient, PATIENT)
    assert lm._engine_spec.calls == 1
    assert leaks(path) == []


SECRETS = {
    "SERVICE_API_KEY": "planted-key-4711",
    "GITHUB_TOKEN": "ghp_plantedtoken0815",
    "DATABASE_URL": "postgres://admin:planted-password-1@db.example.com/x",
    "APP_SECRET": "planted secret with blanks 77",
}


def test_no_secret_is_written(make_executor: MakeExecutor, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    shown = [
        *SECRETS.values(), "https://me:planted-password-2@example.com/", "Bearer plantedbearer12345",
        "sk-planted-0123456789", "planted-header-55",
    ]  # fmt: skip

    class Echo(NullEngine):
        credentials = frozenset({"planted-header-55"})

    lm = dspy.LM("null/echo", engine=Echo(answers={"answer": " | ".join(shown)}), cache=False, max_tokens=77)
    question = "keys: " + ", ".join(shown)
    for _ in range(2):
        with cassette(path), make_executor(lm=lm) as executor:
            ask(executor, question)
    text = path.read_text()
    assert "planted" not in text.replace("[redacted]", "")
    assert '"max_tokens": 77' in text
    assert lm._engine_spec.calls == 1
    assert "planted" not in miss(make_executor, path, "Answer", {"question": question + " now"}, lm=lm)


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{ not json", "is damaged"),
        ("[]", "is no cassette"),
        ("{}", "is no cassette"),
        ('{"hokusai_cassette": 1}', "is no cassette"),
        ('{"hokusai_cassette": 2, "interactions": []}', "has format 2.*upgrade"),
        ('{"hokusai_cassette": 1, "interactions": [{}]}', "interaction 1 is damaged"),
        ('{"hokusai_cassette": 1, "interactions": [{"request": {"model": "x"}, "response": {}}]}', "interaction 1 is"),
    ],
)
def test_files_that_are_refused(path: Path, content: str, expected: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    for mode in ("once", "none", "new_episodes", "all"):
        with pytest.raises(CassetteError, match=expected):
            cassette(path, record_mode=mode)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_used_is_found_before_a_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CassetteError, match="a part of it is a file"):
        cassette(tmp_path / "file" / "calls.json")
    with pytest.raises(CassetteError, match="cannot be read"):
        cassette(tmp_path)


def _random_value(draw: random.Random, canary: Callable[[], str], depth: int = 0) -> Any:
    kind = draw.choice(["text", "lines", "number", "list", "dict"] if depth < 2 else ["text", "lines", "number"])
    if kind == "text":
        return draw.choice(["{}", "name {}", 'said "{}"', "a/{}/b", "{}&<x>", "é {} ü"]).format(canary())
    if kind == "lines":
        return "\n".join(f"line {number} {canary()}" for number in range(draw.randint(2, 4)))
    if kind == "number":
        return f"{draw.randint(10**9, 10**10)}{canary()}"
    if kind == "list":
        return [_random_value(draw, canary, depth + 1) for _ in range(draw.randint(1, 3))]
    return {canary(): _random_value(draw, canary, depth + 1) for _ in range(draw.randint(1, 2))}


class Record(BaseSignature):
    """Summarize the record."""

    record: dict[str, Any] = InputField(sensitive=True)
    note: str = InputField()
    summary: str = OutputField()
    words: list[str] = OutputField()
    code: str = OutputField(sensitive=True)


def _planted(make_executor: MakeExecutor, folder: Path, seed: int) -> None:
    """Plant random values in sensitive fields, and let the model quote parts of them in what is not sensitive."""
    draw = random.Random(seed)
    canaries: list[str] = []

    def canary() -> str:
        canaries.append(f"CNRY{draw.randrange(16**8):08x}")
        return canaries[-1]

    record = {"a": _random_value(draw, canary), canary(): _random_value(draw, canary)}
    code = canary()

    def quoting(user: str) -> str:
        words = [word for word in user.split() if "CNRY" in word] or ["none"]
        return " ".join(draw.choice(words).strip('",[]{}') for _ in range(3)) + draw.choice([f" {code}", "", " done"])

    lm = null_lm(
        answers={"summary": quoting, "words": lambda user: quoting(user).split(), "code": code, "reasoning": quoting}
    )
    strategy, adapter = draw.choice([None, "chain_of_thought"]), draw.choice(["chat", "json", "xml"])
    path = folder / f"{seed}.json"

    def run(executor: Executor) -> Any:
        return executor.execute_signature(Record, {"record": record, "note": "plain"}, strategy=strategy).outputs

    recorded, replayed = both(make_executor, path, run, lm, adapter=adapter, plugins=["strategies"])
    text = path.read_text()
    assert not [one for one in canaries if one in text or one[4:] in text], (seed, adapter, strategy)
    assert recorded["code"] == code
    assert replayed["code"] != code
    assert (
        recorded["summary"].replace(code, "").split()[:1] == replayed["summary"].replace("[redacted]", "").split()[:1]
    )


def test_planted_values_are_in_no_file(make_executor: MakeExecutor, tmp_path: Path) -> None:
    for seed in range(25):
        _planted(make_executor, tmp_path, seed)


@pytest.mark.soak
def test_planted_values_are_in_no_file_of_many(make_executor: MakeExecutor, tmp_path: Path) -> None:
    for seed in range(25, 1_025):
        _planted(make_executor, tmp_path, seed)


RECORDER = """
    import os, sys, time
    from hokusai_core import Executor, cassette
    from hokusai_core.testing.lm import null_lm

    path, name, count, mode, end, others = sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:7]
    lm = null_lm(answers={"answer": name})
    tape = cassette(path, record_mode=mode)
    print("open", flush=True)
    open(f"{path}-{name}", "w").close()
    while sum(os.path.exists(f"{path}-{other}") for other in others.split(",")) < len(others.split(",")):
        time.sleep(0.001)
    with tape, Executor(lm=lm, plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Answer", "question -> answer")
        for number in range(count):
            executor.execute_signature("Answer", {"question": f"{name} {number}"})
            executor.execute_signature("Answer", {"question": f"shared {number}"})
        if end == "kill":
            os._exit(9)
    print(lm.engine.calls)
"""


@pytest.fixture
def record(warm_python: WarmPython, path: Path) -> Callable[..., Any]:
    """Return a function that records in a process of its own, once each of ``others`` has opened the cassette."""

    def record(name: str, count: int, mode: str, end: str, *others: str) -> Any:
        waited_for = ",".join(others or [name])
        return warm_python.run(textwrap.dedent(RECORDER), str(path), name, str(count), mode, end, waited_for)

    return record


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["once", "new_episodes", "all"])
def test_processes_record_at_once(make_executor: MakeExecutor, record: Any, path: Path, mode: str) -> None:
    names = [f"process {number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda name: record(name, 10, mode, "end", *names), names))
    assert [one.stdout.split() for one in done] == [["open", "20"]] * 3
    for name in names:
        Path(f"{path}-{name}").unlink()
    data = json.loads(path.read_text())["interactions"]
    assert len(data) == 3 * 10 + 10  # of what all have asked, one answer stays
    assert list(path.parent.iterdir()) == [path]
    with cassette(path, record_mode="none"), make_executor(lm=dead(), cache_enabled=False) as executor:
        for number in range(3):
            assert ask(executor, f"process {number} 7")["answer"] == f"process {number}"
        ask(executor, "shared 7")


def test_a_killed_process_loses_nothing(record: Any, path: Path) -> None:
    assert record("x", 5, "once", "kill").returncode == 9
    assert not path.exists()
    with next(path.parent.glob(".*.part")).open("a") as part:
        part.write('{"signature": "Answer", "requ')  # what a kill leaves in the middle of a line
    second = record("x", 8, "once", "end")
    assert second.stdout.split() == ["open", "6"]  # only what the first has not recorded
    Path(f"{path}-x").unlink()
    assert len(json.loads(path.read_text())["interactions"]) == 16
    assert list(path.parent.iterdir()) == [path]


def test_it_works_in_a_child_process(make_executor: MakeExecutor, path: Path) -> None:
    with cassette(path), make_executor(cache_enabled=False) as executor:
        ask(executor, "parent")
        child = os.fork()
        if not child:
            ask(executor, "child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        ask(executor, "parent again")
    assert len(json.loads(path.read_text())["interactions"]) == 3
