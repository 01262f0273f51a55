"""The facade: it looks like the language model, counts every call, and takes whatever a host may have."""

from __future__ import annotations

import asyncio
import copy
import logging
import warnings
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from dspy.utils import DummyLM

from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge import MeteredLM, ModelCall
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec
from hokusai_core.testing.lm import NullEngine, null_lm

QA = SignatureSpec("Answer", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))
TEXT = "[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]"


class Forwarding(dspy.BaseLM):  # type: ignore[misc]
    """A language model of the old kind."""

    def __init__(self) -> None:
        super().__init__("old/forward")
        self.calls = 0

    def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        self.calls += 1
        from types import SimpleNamespace as Record

        choice = Record(message=Record(content=TEXT), finish_reason="stop")
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return Record(choices=[choice], usage=usage, model="old/forward", _hidden_params={"response_cost": 0.25})


class AsyncForwarding(Forwarding):
    async def aforward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        return self.forward(prompt, messages, **kwargs)


class Overriding(dspy.LM):  # type: ignore[misc]
    """A host's own subclass that must not be passed by."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return super().__call__(*args, **kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return await super().acall(*args, **kwargs)


class OverridingForward(dspy.LM):  # type: ignore[misc]
    seen = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.seen += 1
        return super().forward(*args, **kwargs)


def both_ways(lm: Any) -> list[Meter]:
    meters = [Meter(), Meter()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ModelCall(QA, lm).prepare({"question": "?"}, recorder=meters[0]).run() == {"answer": "four"}
        answer = asyncio.run(ModelCall(QA, lm).prepare({"question": "?"}, recorder=meters[1]).arun())
        assert answer == {"answer": "four"}
    return meters


@pytest.mark.parametrize("kind", [Forwarding, AsyncForwarding])
def test_models_that_only_have_forward(kind: Any) -> None:
    lm = kind()
    for meter in both_ways(lm):
        assert (meter.usage.input_tokens, meter.usage.output_tokens, meter.cost) == (3, 2, 0.25)
    assert lm.calls == 2


def test_dummy_lm() -> None:
    both_ways(DummyLM([{"answer": "four"}] * 2))


@pytest.mark.parametrize("kind", [Overriding, OverridingForward])
def test_what_a_subclass_overrides_is_called(kind: Any) -> None:
    engine = NullEngine(raw=TEXT)
    from hokusai_core.testing.lm import AsyncNullEngine

    lm = kind("own/lm", engine=engine, async_engine=AsyncNullEngine(engine), cache=False)
    for meter in both_ways(lm):
        assert meter.usage.total_tokens == 15
    assert lm.seen == 2
    assert engine.calls == 2


def test_it_looks_like_the_language_model() -> None:
    lm = null_lm()
    lm.kwargs["temperature"] = 0.3
    metered = MeteredLM(lm, Meter())
    assert isinstance(metered, dspy.BaseLM)
    assert (metered.model, metered.kwargs, metered.engine, metered.model_type) == (
        lm.model,
        lm.kwargs,
        lm.engine,
        "chat",
    )
    assert metered.supported_params == lm.supported_params
    assert metered.supports_response_schema is False
    assert metered.dump_state.__self__ is lm
    assert copy.deepcopy(metered) is metered
    assert metered.wrapped is lm
    with pytest.raises(AttributeError):
        metered.no_such_attribute  # noqa: B018


def test_its_copies_are_metered_by_the_same_recorder() -> None:
    lm, meter = null_lm(), Meter()
    copied = MeteredLM(lm, meter).copy(temperature=0.8)
    dspy.Predict("question -> answer")(question="?", lm=copied)
    assert len(meter.calls) == 1
    assert copied.kwargs["temperature"] == 0.8
    assert lm.kwargs["temperature"] is None


def test_plain_text_and_explicit_requests() -> None:
    meter = Meter(keep_exchanges=True)
    lm = MeteredLM(null_lm(raw="hello"), meter)
    assert lm("hi") == ["hello"]
    assert asyncio.run(lm.acall("hi")) == ["hello"]
    request = Request(model="null/model", messages=(Message.user("hi"),))
    assert lm(request).text == "hello"
    assert len(meter.calls) == 3
    assert meter.exchanges[0].messages[0]["content"] == "hi"


def test_several_candidates_are_counted() -> None:
    lm, meter = null_lm(raw="x", keep_requests=True), Meter()
    assert MeteredLM(lm, meter)("hi", n=3) == ["x", "x", "x"]
    assert meter.usage.calls == 3
    assert meter.usage.total_tokens == 45


def test_history_is_the_models_own_where_the_host_keeps_one() -> None:
    lm = null_lm(raw="x")
    MeteredLM(lm, Meter())("hi")
    assert [entry["prompt"] for entry in lm.history] == ["hi"]


def test_dspys_cache_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dspy, "cache", None)  # to ask it would be an error
    lm, meter = null_lm(raw="x"), Meter()
    lm.cache = True
    metered = MeteredLM(lm, meter)
    assert metered("hi", rollout_id=1, temperature=1.0) == metered("hi") == ["x"]
    assert lm.engine.calls == 2
    assert [record.usage.calls for record in meter.calls] == [1, 1]


def test_a_truncated_answer_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    class Short(NullEngine):
        def complete(self, request: Request) -> Response:
            message = Message.assistant([TextPart("half an ans")])
            return Response(id=None, model="m", message=message, finish_reason="length", usage=Usage())

    meter = Meter()
    with caplog.at_level(logging.WARNING, logger="hokusai_core"):
        MeteredLM(dspy.LM("null/short", engine=Short(), cache=False), meter)("hi")
    assert meter.calls[0].finish_reason == "length"
    assert "cut off at its token limit" in caplog.text


def test_an_engine_that_gives_no_response_is_an_error() -> None:
    class Wrong(NullEngine):
        def complete(self, request: Request) -> Any:
            return "text"

    meter = Meter()
    with pytest.raises(dspy.LMUnexpectedError, match="must return"):
        MeteredLM(dspy.LM("null/wrong", engine=Wrong(), cache=False), meter)("hi")
    assert [record.outcome for record in meter.calls] == ["failed"]
    assert isinstance(meter.calls[0].error, dspy.LMUnexpectedError)


def test_an_interrupt_passes_through() -> None:
    class Interrupted(NullEngine):
        def complete(self, request: Request) -> Response:
            raise KeyboardInterrupt

    meter = Meter()
    with pytest.raises(KeyboardInterrupt):
        MeteredLM(dspy.LM("null/x", engine=Interrupted(), cache=False), meter)("hi")
    assert [record.outcome for record in meter.calls] == ["cancelled"]


def test_instrumentation_that_wraps_the_call_is_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = dspy.LM.__call__

    def instrumented(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(dspy.LM, "__call__", instrumented)
    meter = Meter()
    assert MeteredLM(null_lm(raw="x"), meter)("hi") == ["x"]
    assert len(calls) == 1
    assert meter.usage.total_tokens == 15
