"""Programs run like signatures: metered, isolated, awaited."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import dspy
import pytest

from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge import ModelCall, ProgramCall, make_call, spec_of_program
from hokusai_core.errors import BudgetExceeded, DeadlineExceeded, LanguageModelError, OutputError
from hokusai_core.testing.lm import null_lm


class TwoSteps(dspy.Module):  # type: ignore[misc]
    """Draft, then polish."""

    def __init__(self, own_lm: Any = None) -> None:
        super().__init__()
        self.first = dspy.Predict("topic -> draft")
        self.second = dspy.Predict("draft -> polished")
        self.second.lm = own_lm

    def forward(self, topic: str, times: int = 1) -> dspy.Prediction:
        draft = self.first(topic=topic).draft
        return dspy.Prediction(polished=self.second(draft=draft).polished, extra=[times])


class AsyncSteps(TwoSteps):
    async def aforward(self, topic: str, times: int = 1) -> dspy.Prediction:
        draft = (await self.first.acall(topic=topic)).draft
        return dspy.Prediction(polished=(await self.second.acall(draft=draft)).polished, extra=[times])


def call_of(program: Any, lm: Any, **options: Any) -> ProgramCall:
    return ProgramCall(spec_of_program(program, "Steps"), program, lm, **options)


@pytest.mark.parametrize(("kind", "asynchronous"), [(TwoSteps, False), (AsyncSteps, False), (AsyncSteps, True)])
def test_all_outputs_and_all_usage(kind: Any, asynchronous: bool) -> None:
    lm, meter = null_lm(), Meter()
    prepared = call_of(kind(), lm).prepare({"topic": "x", "times": 2}, recorder=meter)
    assert prepared.asynchronous is (kind is AsyncSteps)
    outputs = asyncio.run(prepared.arun()) if asynchronous else prepared.run()
    assert outputs == {"polished": "some polished", "extra": [2]}
    assert (meter.usage.calls, meter.usage.total_tokens) == (2, 30)
    assert lm.engine.calls == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_predictors_own_model_is_used_and_counted(asynchronous: bool) -> None:
    lm, own = null_lm(), null_lm(model="null/own")
    call, meter = call_of(AsyncSteps(own), lm), Meter()
    with dspy.track_usage() as host:
        if asynchronous:
            asyncio.run(call.prepare({"topic": "x"}, recorder=meter).arun())
        else:
            call.prepare({"topic": "x"}, recorder=meter).run()
    assert (lm.engine.calls, own.engine.calls) == (1, 1)
    assert [record.model for record in meter.calls] == ["null/model", "null/own"]
    assert meter.usage.total_tokens == 30
    assert {model: total["total_tokens"] for model, total in host.get_total_tokens().items()} == {
        "null/model": 15,
        "null/own": 15,
    }


def test_where_dspy_tracks_usage_the_prediction_has_it_and_so_have_we() -> None:
    class Keeping(TwoSteps):
        def forward(self, topic: str, times: int = 1) -> dspy.Prediction:
            self.prediction = super().forward(topic, times)
            return self.prediction

    program, meter = Keeping(null_lm(model="null/own")), Meter()
    with dspy.context(track_usage=True):
        call_of(program, null_lm()).prepare({"topic": "x"}, recorder=meter).run()
    assert set(program.prediction.get_lm_usage()) == {"null/model", "null/own"}
    assert meter.usage.total_tokens == 30


def test_a_dict_is_no_prediction_but_good_enough_and_text_is_not() -> None:
    class Returning(dspy.Module):  # type: ignore[misc]
        value: Any = None

        def __init__(self) -> None:
            super().__init__()
            self.never_called = dspy.Predict("a -> b")

        def forward(self, a: str) -> Any:
            return self.value

    program = Returning()
    program.value = {"b": 1, "c": 2}
    assert call_of(program, null_lm()).prepare({"a": "x"}).run() == {"b": 1, "c": 2}
    program.value = {}
    assert call_of(program, null_lm()).prepare({"a": "x"}).run() == {"b": None}
    program.value = "text"
    with pytest.raises(OutputError, match=r"returned str.*dspy\.Prediction") as caught:
        call_of(program, null_lm()).prepare({"a": "x"}).run()
    assert not caught.value.retryable


def test_failures_are_translated_and_gates_heard() -> None:
    class Gate:
        left = 1

        def before(self, estimate: Any) -> None:
            if not self.left:
                raise BudgetExceeded("spent")
            self.left -= 1

        async def abefore(self, estimate: Any) -> None:
            self.before(estimate)

        def reserve(self, estimate: Any) -> None:
            self.before(estimate)

    with pytest.raises(LanguageModelError, match="Steps"):
        call_of(TwoSteps(), null_lm(fail_first=1)).prepare({"topic": "x"}).run()
    lm, gate = null_lm(), Gate()
    guard: Any = gate
    with pytest.raises(BudgetExceeded, match=r"^spent$"):
        call_of(TwoSteps(), lm).prepare({"topic": "x"}, gate=guard).run()
    assert lm.engine.calls == 1


def test_nothing_is_left_behind() -> None:
    program, lm = TwoSteps(), null_lm()
    call_of(program, lm).prepare({"topic": "x"}).run()
    assert (lm.history, program.history, program.first.history) == ([], [], [])
    assert program.first.lm is None


def test_a_registered_signature_is_called_and_a_registered_program_run() -> None:
    program = TwoSteps()
    spec = spec_of_program(program, "Steps")
    assert type(make_call(spec, program, null_lm())) is ProgramCall
    assert type(make_call(spec, None, null_lm())) is ModelCall


def test_an_abandoned_program_makes_no_more_calls() -> None:
    deadline = time.monotonic() + 0.5

    def draft(_: str) -> str:
        time.sleep(max(0.0, deadline - time.monotonic()))
        return "draft"

    lm = null_lm(answers={"draft": draft})
    with pytest.raises(DeadlineExceeded):
        call_of(TwoSteps(), lm).prepare({"topic": "x"}, deadline=deadline).run()
    assert lm.engine.calls == 1
