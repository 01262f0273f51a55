"""Modes: testing runs offline, development keeps a trace, production keeps quiet."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from hokusai_core import BaseSignature, Component, Executor, InputField, OutputField, Problem, hookimpl
from hokusai_core.errors import ConfigurationError, InputError, OutputError
from hokusai_core.settings import ExecutionMode
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Sort(BaseSignature):
    """Sort."""

    examples = (
        {"inputs": {"text": "It broke", "labels": ["repair", "refund"]},
         "outputs": {"label": "repair", "notes": ["urgent"], "level": "high"}},
    )  # fmt: skip
    text: str = InputField(aliases=("document",))
    labels: list[str] = InputField()
    label: str = OutputField(choices_from="labels")
    notes: list[str] = OutputField()
    level: Literal["low", "high"] = OutputField()


def test_testing_needs_no_language_model(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(mode="testing", lm=lm)
    executor.register_signature("Sort", Sort)
    inputs = {"text": "Something else", "labels": ["a", "b"]}
    first, second = (executor.execute_signature("Sort", inputs) for _ in range(2))
    third = asyncio.run(executor.aexecute_signature("Sort", inputs))
    assert first == second == third
    assert (first["label"], type(first["notes"]), first["level"], first.model) == ("a", list, "low", "")
    assert first.cached is None
    assert lm.engine.calls == 0


def test_testing_answers_with_the_example_that_fits(make_executor: MakeExecutor) -> None:
    executor = make_executor(mode="testing", lm=None)
    executor.register_signature("Sort", Sort)
    expected = {"label": "repair", "notes": ["urgent"], "level": "high"}
    for inputs in ({"text": "It broke", "labels": ["repair", "refund"]},
                   {"document": "It broke", "labels": "repair, refund"}):  # fmt: skip
        result = executor.execute_signature("Sort", inputs)
        assert result == expected
        result["notes"].append("mine")  # the next one is not changed by it
    assert executor.execute_signature("Sort", {"text": "It", "labels": ["repair", "refund"]}) != expected


def test_testing_answers_are_the_same_in_every_process() -> None:
    program = (
        "from hokusai_core import Executor\n"
        "with Executor(mode='testing', plugins=[]) as e:\n"
        "    e.register_signature('S', 'q -> a, b: int, c: list[float], d: bool, e: dict[str, int]')\n"
        "    print(dict(e.execute_signature('S', {'q': 'x'})))"
    )
    outputs = {
        subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


def test_testing_still_checks_inputs(make_executor: MakeExecutor) -> None:
    class Strict:
        def validate_inputs(self, signature: Any, inputs: Mapping[str, Any]) -> list[Problem]:
            return [Problem("question", "rude", "is rude")] if inputs["question"] == "rude" else []

        def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Problem]:
            return []

    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component("strict", Strict)]

    executor = make_executor(mode="testing", extra_plugins=[Plugin()])
    with pytest.raises(InputError, match="is no input"):
        executor.execute_signature("Answer", {"question": "?", "other": 1})
    with pytest.raises(InputError, match="is rude"):
        executor.execute_signature("Answer", {"question": "rude"})


def test_testing_stores_nothing_and_tracks_nothing(make_executor: MakeExecutor) -> None:
    class Tracker(ListeningTracker):
        def record(self, event: Any) -> None:
            raise AssertionError("testing mode calls no tracker")

    executor = make_executor(mode="testing", trackers={"t": Tracker()})
    executor.execute_signature("Answer", {"question": "?"})
    stats = executor.stats()
    assert stats["tracker_failures"] == {}
    assert stats["cache"]["memory"]["entries"] == 0
    assert stats["executions"] == 1


def test_development_keeps_prompt_answer_and_timings(make_executor: MakeExecutor) -> None:
    executor = make_executor(mode="development", lm=null_lm(fail_first=1))
    result = executor.execute_signature("Answer", {"question": "how so?"}, retry_on_failure=True)
    trace = result.trace
    assert trace is not None
    assert "how so?" in trace.exchanges[-1].messages[-1]["content"]
    assert "some answer" in trace.exchanges[-1].completions[0]
    names = [stage.name for stage in trace.stages]
    assert names == ["prepare", "bind", "validate_inputs", "language_model", "language_model", "validate_outputs"]
    prepared, bound = trace.stages[:2]
    assert bound.started == prepared.duration  # what is done the first time is not counted as binding
    assert all(stage.duration >= 0 and stage.started >= 0 for stage in trace.stages)
    hit = executor.execute_signature("Answer", {"question": "how so?"})
    assert hit.trace is not None
    assert [stage.name for stage in hit.trace.stages] == ["bind", "validate_inputs", "cache_lookup"]


def test_production_keeps_none(make_executor: MakeExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    result = make_executor().execute_signature("Answer", {"question": "?"})
    assert result.trace is None
    assert capfd.readouterr() == ("", "")


def test_modes_can_be_switched(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    assert executor.mode is ExecutionMode.PRODUCTION
    calls = []
    for mode in ("testing", ExecutionMode.DEVELOPMENT, "production", "TESTING"):
        executor.set_mode(mode)
        executor.execute_signature("Answer", {"question": "?"}, cache="off")
        calls.append(lm.engine.calls)
    assert calls == [0, 1, 2, 2]
    assert executor.config.value("mode") is ExecutionMode.TESTING
    with pytest.raises(ConfigurationError, match="production, development, testing"):
        executor.set_mode("staging")
    assert executor.mode is ExecutionMode.TESTING  # type: ignore[comparison-overlap]


def test_a_tracker_that_asks_for_them_gets_prompts_and_raw_answers(make_executor: MakeExecutor) -> None:
    asks, other = ListeningTracker(wants_exchanges=True), ListeningTracker()
    executor = make_executor(trackers={"asks": asks}, lm=null_lm(fail_first=1), cache_enabled=False)
    result = executor.execute_signature("Answer", {"question": "how so?"}, retry_on_failure=True)
    assert result.trace is None
    (event,) = asks.executions
    first, second = event.exchanges
    assert (first.attempt, first.completions) == (1, ())
    assert (second.attempt, second.finish_reason) == (2, "stop")
    assert "how so?" in second.messages[-1]["content"]
    assert "some answer" in second.completions[0]
    assert 0 < second.latency < event.latency
    assert [stage.name for stage in event.stages].count("language_model") == len(event.attempts) == 2
    make_executor(trackers={"other": other}).execute_signature("Answer", {"question": "?"})
    assert other.executions[0].exchanges == ()


def test_an_answer_that_does_not_fit_is_one_stage_and_one_exchange(make_executor: MakeExecutor) -> None:
    class Score(BaseSignature):
        """Score it."""

        text = InputField()
        score: int = OutputField(ge=0, le=10)

    tracker = ListeningTracker(wants_exchanges=True)
    executor = make_executor(trackers={"t": tracker}, lm=null_lm(answers={"score": 99}))
    with pytest.raises(OutputError):
        executor.execute_signature(Score, {"text": "t"})
    (event,) = tracker.executions
    assert [stage.name for stage in event.stages].count("language_model") == len(event.attempts)
    assert "99" in event.exchanges[0].completions[0]


def test_a_tracker_sees_no_text_of_a_signature_with_sensitive_fields(make_executor: MakeExecutor) -> None:
    class Secret(BaseSignature):
        """Answer."""

        question = InputField(sensitive=True)
        answer = OutputField()

    tracker = ListeningTracker(wants_exchanges=True)
    make_executor(trackers={"t": tracker}).execute_signature(Secret, {"question": "Canary"})
    assert "Canary" not in repr(tracker.events)
    assert len(tracker.executions[0].exchanges) == 1
