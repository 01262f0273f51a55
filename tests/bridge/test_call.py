"""One attempt: outputs, isolation from the host, demos, choices, errors, async."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import dspy
import pytest
from dspy import lm15
from dspy.clients import base_lm
from dspy.utils.callback import BaseCallback

from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge import FastChatAdapter, ModelCall
from hokusai_core.errors import DeadlineExceeded, LanguageModelError, OutputError
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec
from hokusai_core.testing.lm import null_lm

QA = SignatureSpec("Answer", "Answer the question.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def snapshot() -> Any:
    return dict(dspy.settings.config), len(base_lm.GLOBAL_HISTORY), len(dspy.settings.trace)


@pytest.fixture(autouse=True)
def _host_is_untouched() -> Iterator[None]:
    before = snapshot()
    yield
    assert snapshot() == before


def test_outputs_usage_and_model() -> None:
    meter = Meter()
    prepared = ModelCall(QA, null_lm(answers={"answer": "four"})).prepare({"question": "how many?"}, recorder=meter)
    assert prepared.run() == {"answer": "four"}
    assert (meter.usage.input_tokens, meter.usage.output_tokens, meter.usage.calls) == (10, 5, 1)
    assert [record.model for record in meter.calls] == ["null/model"]
    assert meter.exchanges == ()


def test_typed_outputs_both_ways() -> None:
    spec = SignatureSpec(
        "Typed",
        "Do.",
        (
            FieldSpec("text", "input"),
            FieldSpec("names", "output", list[str]),
            FieldSpec("mood", "output", Mood),
            FieldSpec("level", "output", Literal[1, 2]),
            FieldSpec("sure", "output", float),
            FieldSpec("note", "output", str | None),
        ),
    )
    lm = null_lm(answers={"names": ["a", "b"], "mood": "bad", "level": "2", "sure": "0.25", "note": "None"})
    expected = {"names": ["a", "b"], "mood": Mood.BAD, "level": 2, "sure": 0.25, "note": None}
    call = ModelCall(spec, lm)
    assert call.prepare({"text": "x"}).run() == expected
    assert asyncio.run(call.prepare({"text": "x"}).arun()) == expected


@pytest.mark.parametrize(
    "adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), FastChatAdapter()], ids=lambda a: type(a).__name__
)
def test_any_adapter(adapter: Any) -> None:
    lm = null_lm(answers={"answer": "four"})
    assert ModelCall(QA, lm, adapter).prepare({"question": "?"}).run() == {"answer": "four"}
    assert asyncio.run(ModelCall(QA, lm, adapter).prepare({"question": "?"}).arun()) == {"answer": "four"}
    assert lm.engine.calls == 2


def test_the_prompt_is_that_of_a_predictor() -> None:
    lm = null_lm(keep_requests=True)
    ModelCall(QA, lm).prepare({"question": "how?"}).run()
    with dspy.context(adapter=dspy.ChatAdapter(), trace=None, disable_history=True):
        dspy.Predict(dspy.Signature("question -> answer", "Answer the question."))(question="how?", lm=lm)
    ours, theirs = lm.engine.requests
    assert ours == theirs


def test_unsafe_field_names_reach_the_model_and_come_back() -> None:
    spec = SignatureSpec(
        "Odd",
        "Do.",
        tuple(FieldSpec(name, "input") for name in ("self", "lm", "config", "schema", "demos"))
        + tuple(FieldSpec(name, "output") for name in ("copy", "items", "_private", "signature")),
        demos=({"self": "s", "lm": "l", "config": "c", "schema": "x", "demos": "d", "copy": "1", "items": "2",
                "_private": "3", "signature": "4"},),
    )  # fmt: skip
    lm = null_lm(keep_requests=True)
    inputs = {"self": "a", "lm": "b", "config": "c", "schema": "d", "demos": "e"}
    outputs = ModelCall(spec, lm).prepare(inputs).run()
    assert list(outputs) == ["copy", "items", "_private", "signature"]
    assert outputs["items"] == "some items_"
    request = lm.engine.requests[0]
    assert all(f"\n{value}\n" in request.messages[-1].text for value in inputs.values())
    assert len(request.messages) == 3  # the demo is there, under the names that DSPy knows


def test_choices_narrow_an_output() -> None:
    spec = SignatureSpec(
        "Classify",
        "Pick one.",
        (
            FieldSpec("text", "input"),
            FieldSpec("categories", "input", list[str]),
            FieldSpec("label", "output", choices_from="categories"),
        ),
    )
    lm = null_lm(raw='[[ ## label ## ]]\n"it\'s b"\n\n[[ ## completed ## ]]', keep_requests=True)
    answer = ModelCall(spec, lm).prepare({"text": "x", "categories": ["a", "it's b"]}).run()
    assert answer == {"label": "it's b"}
    assert "must exactly match" in lm.engine.requests[0].system
    with pytest.raises(OutputError):
        ModelCall(spec, lm).prepare({"text": "x", "categories": ["c"]}).run()


def test_an_optional_input_that_is_not_given_leaves_no_trace_in_the_message() -> None:
    spec = SignatureSpec(
        "S", "Do.", (FieldSpec("a", "input"), FieldSpec("tone", "input", required=False), FieldSpec("b", "output"))
    )
    lm = null_lm(keep_requests=True)
    ModelCall(spec, lm).prepare({"a": "x", "tone": None}).run()
    assert "tone" not in lm.engine.requests[0].messages[-1].text


def test_attrs_models_go_in_and_come_out() -> None:
    @attrs.define
    class Person:
        name: str
        age: int = 0

    spec = SignatureSpec(
        "People", "Do.", (FieldSpec("boss", "input", Person), FieldSpec("staff", "output", list[Person]))
    )
    lm = null_lm(answers={"staff": [{"name": "Ann", "age": 3}]}, keep_requests=True)
    answer = ModelCall(spec, lm).prepare({"boss": Person("Bob", 50)}).run()
    assert answer == {"staff": [Person("Ann", 3)]}
    assert '{"name": "Bob", "age": 50}' in lm.engine.requests[0].messages[-1].text


def test_demos_of_the_signature() -> None:
    spec = QA.evolve(demos=({"question": "1?", "answer": "one"},))
    lm = null_lm(keep_requests=True)
    ModelCall(spec, lm).prepare({"question": "2?"}).run()
    assert len(lm.engine.requests[0].messages) == 3


def test_options_reach_the_engine_and_the_given_mapping_stays_as_it_is() -> None:
    lm = null_lm(keep_requests=True)
    config = {"temperature": 0.9, "rollout_id": 3}
    ModelCall(QA, lm).prepare({"question": "?"}, config=config).run()
    assert lm.engine.requests[0].config.temperature == 0.9
    assert config == {"temperature": 0.9, "rollout_id": 3}


@pytest.mark.parametrize("raw", ["gibberish", "", "[[ ## other ## ]]\nx"])
def test_an_unparsable_answer_costs_one_call(raw: str) -> None:
    lm, meter = null_lm(raw=raw), Meter()
    with pytest.raises(OutputError, match=r"Answer.*null/model") as caught:
        ModelCall(QA, lm).prepare({"question": "?"}, recorder=meter).run()
    assert caught.value.retryable
    assert lm.engine.calls == 1
    assert meter.usage.total_tokens == 15  # what a failed attempt has used is known as well


def test_dspys_retries_are_off_whatever_the_host_has_set() -> None:
    lm = null_lm(fail_first=1)
    lm.num_retries = 3
    prepared = ModelCall(QA, lm).prepare({"question": "?"})
    for run in (prepared.run, lambda: asyncio.run(prepared.arun())):
        lm.engine.calls = 0
        with pytest.raises(LanguageModelError) as caught:
            run()
        assert caught.value.retryable
        assert lm.engine.calls == 1
    assert lm.num_retries == 3


def test_nothing_is_cached_whatever_the_host_has_set() -> None:
    lm = null_lm()
    lm.cache = True
    for _ in range(2):
        ModelCall(QA, lm).prepare({"question": "?"}).run()
    assert lm.engine.calls == 2


def test_sensitive_values_are_in_no_error() -> None:
    spec = QA.evolve(fields=(FieldSpec("question", "input", sensitive=True), FieldSpec("answer", "output", int)))
    with pytest.raises(OutputError) as caught:
        ModelCall(spec, null_lm(answers={"answer": "TOP-SECRET"})).prepare({"question": "TOP-SECRET"}).run()
    assert "TOP-SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


class Recorder(BaseCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        self.seen.append(("module", type(instance).__name__))

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        self.seen.append(("format", type(instance).__name__))

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        self.seen.append(("parse", type(instance).__name__))

    def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        self.seen.append(("lm", instance))
        self.messages = inputs["messages"]

    def on_lm_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        self.seen.append(("end", outputs if exception is None else type(exception).__name__))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_callbacks_of_the_host_fire_once_each_with_the_hosts_own_model(asynchronous: bool) -> None:
    lm, callback = null_lm(answers={"answer": "four"}), Recorder()
    with dspy.context(callbacks=[callback]):
        call = ModelCall(QA, lm)
        asyncio.run(call.prepare({"question": "?"}).arun()) if asynchronous else call.prepare({"question": "?"}).run()
    assert [kind for kind, _ in callback.seen] == ["module", "format", "lm", "end", "parse"]
    assert callback.seen[2] == ("lm", lm)
    assert callback.seen[3][1] == ["[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]"]
    assert callback.messages[-1]["role"] == "user"


def test_callbacks_of_the_model_and_of_the_adapter_fire() -> None:
    lm, of_lm, of_adapter = null_lm(), Recorder(), Recorder()
    lm.callbacks.append(of_lm)
    ModelCall(QA, lm, FastChatAdapter(callbacks=[of_adapter])).prepare({"question": "?"}).run()
    assert [kind for kind, _ in of_lm.seen] == ["lm", "end"]
    assert [kind for kind, _ in of_adapter.seen] == ["format", "parse"]


def test_callbacks_of_the_host_see_nothing_of_a_signature_with_sensitive_fields() -> None:
    callback = Recorder()
    fields = tuple(attrs.evolve(item, sensitive=item.name == "question") for item in QA.fields)
    with dspy.context(callbacks=[callback]):
        ModelCall(QA.evolve(fields=fields), null_lm()).prepare({"question": "the pin"}).run()
    assert callback.seen == []


def test_a_failing_call_is_shown_to_callbacks() -> None:
    callback = Recorder()
    with dspy.context(callbacks=[callback]), pytest.raises(LanguageModelError):
        ModelCall(QA, null_lm(fail_first=1)).prepare({"question": "?"}).run()
    assert ("end", "LMServerError") in callback.seen


def test_usage_trackers_of_the_host_hear_of_it() -> None:
    lm = null_lm()
    with dspy.track_usage() as used:
        ModelCall(QA, lm).prepare({"question": "?"}).run()
        asyncio.run(ModelCall(QA, lm).prepare({"question": "?"}).arun())
    assert used.get_total_tokens()["null/model"]["total_tokens"] == 30


def test_the_engine_sees_deadline_and_context() -> None:
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)
    seen = []

    def look(_: str) -> str:
        seen.append((dspy.settings.get("hokusai_deadline"), number.get()))
        return "x"

    number.set(7)
    deadline = time.monotonic() + 60
    for asynchronous in (True, False):
        call = ModelCall(QA, null_lm(answers={"answer": look}, asynchronous=asynchronous))
        call.prepare({"question": "?"}, deadline=deadline).run()
        asyncio.run(call.prepare({"question": "?"}, deadline=deadline).arun())
    assert seen == [(deadline, 7)] * 4


def test_exchanges_are_kept_where_asked() -> None:
    meter = Meter(keep_exchanges=True)
    ModelCall(QA, null_lm(raw="[[ ## answer ## ]] four")).prepare({"question": "how?"}, recorder=meter).run()
    (exchange,) = meter.exchanges
    assert [message["role"] for message in exchange.messages] == ["system", "user"]
    assert exchange.completions == ("[[ ## answer ## ]] four",)


def test_a_model_without_an_async_engine_can_be_awaited_many_at_once() -> None:
    # Passes only when all are under way at once, which are more than asyncio's own pool has threads for.
    barrier = threading.Barrier(40)

    def together(_: str) -> str:
        barrier.wait(timeout=60)
        return "x"

    lm = null_lm(asynchronous=False, answers={"answer": together})
    call = ModelCall(QA, lm)
    assert not call.asynchronous

    async def many() -> None:
        await asyncio.gather(*(call.prepare({"question": "?"}).arun() for _ in range(40)))

    asyncio.run(many())
    assert lm.engine.calls == 40


def test_cancelling_stops_an_asynchronous_engine_and_abandons_a_blocking_one() -> None:
    async def cancelled(call: ModelCall, meter: Meter) -> None:
        task = asyncio.create_task(call.prepare({"question": "?"}, recorder=meter).arun())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for asynchronous, outcome in ((True, "cancelled"), (False, "abandoned")):
        meter = Meter()
        asyncio.run(cancelled(ModelCall(QA, null_lm(asynchronous=asynchronous, delay=0.3)), meter))
        assert [record.outcome for record in meter.calls] == [outcome]


def test_many_threads_share_one_call() -> None:
    lm = null_lm(answers={"answer": lambda user: user.partition("## ]]\n")[2].partition("\n")[0]})
    call, results = ModelCall(QA, lm), {}

    def work(number: int) -> None:
        for turn in range(20):
            question = f"{number}-{turn}"
            results[question] = call.prepare({"question": question}).run()["answer"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
    assert all(question == answer for question, answer in results.items())


def test_a_gate_can_forbid_or_delay_a_call() -> None:
    class Gate:
        def __init__(self) -> None:
            self.estimates: list[Any] = []

        def before(self, estimate: Any) -> None:
            self.estimates.append(estimate)
            if len(self.estimates) > 1:
                raise OutputError("no more", retryable=False)

        async def abefore(self, estimate: Any) -> None:
            await asyncio.sleep(0)
            self.before(estimate)

        def reserve(self, estimate: Any) -> None:
            self.before(estimate)

    lm, gate = null_lm(), Gate()
    guard: Any = gate
    lm.kwargs["max_tokens"] = 77
    call = ModelCall(QA, lm)
    asyncio.run(call.prepare({"question": "?"}, gate=guard).arun())
    with pytest.raises(OutputError, match=r"^no more$"):
        call.prepare({"question": "?"}, gate=guard).run()
    assert lm.engine.calls == 1
    assert gate.estimates[0].model == "null/model"
    assert gate.estimates[0].max_tokens == 77
    assert gate.estimates[0].input_tokens > 50


def test_no_call_begins_after_the_deadline() -> None:
    lm = null_lm()
    with pytest.raises(DeadlineExceeded):
        ModelCall(QA, lm).prepare({"question": "?"}, deadline=time.monotonic() - 1).run()
    assert lm.engine.calls == 0


def test_an_attempt_can_be_prepared_and_made_later() -> None:
    meter = Meter()
    prepared = ModelCall(QA, null_lm()).prepare({"question": "?"}, recorder=meter, attempt=2)
    assert meter.calls == []
    assert prepared.run() == {"answer": "some answer"}
    assert prepared.asynchronous
    assert asyncio.run(prepared.arun()) == {"answer": "some answer"}
    assert len(meter.calls) == 2
    assert prepared.keeps_deadline is False
    blocking = null_lm(asynchronous=False)
    blocking.engine.keeps_deadline = True
    prepared = ModelCall(QA, blocking).prepare({"question": "?"}, recorder=meter, deadline=time.monotonic() + 9)
    assert not prepared.asynchronous
    assert prepared.keeps_deadline
    assert prepared.stops


def test_a_timeout_after_the_deadline_is_that_of_the_execution() -> None:
    def stop(_user: str) -> str:
        time.sleep(0.03)
        raise lm15.TimeoutError("stopped")

    call = ModelCall(QA, null_lm(raw=stop))
    with pytest.raises(DeadlineExceeded, match="the deadline passed before the answer was there"):
        call.prepare({"question": "?"}, deadline=time.monotonic() + 0.02).run()
    with pytest.raises(LanguageModelError, match="did not answer in time"):
        call.prepare({"question": "?"}, deadline=time.monotonic() + 30).run()
