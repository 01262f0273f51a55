"""What ``render`` returns is what an execution sends, and ``read`` reads an answer as an execution does."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs
import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from hokusai_core import BaseSignature, Executor, InputField, ModelPolicy, OutputField, SignatureSpec, read, render
from hokusai_core.components import Component
from hokusai_core.dspy_bridge.null_lm import null_lm
from hokusai_core.errors import AnswerCutOff, InputError, LanguageModelUnavailable, OutputError, PromptError
from hokusai_core.markers import hookimpl
from hokusai_core.results import Problem
from hokusai_core.signature_registry import Edition


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@attrs.frozen
class Line:
    text: str
    mood: Mood


class Triage(BaseSignature):
    """Sort a ticket."""

    ticket: str = InputField("The ticket")
    teams: list[str] = InputField("The teams")
    previous: list[Line] = InputField("Lines before", default=[])
    note: str | None = InputField("A note", default=None)
    team: str = OutputField("The team", choices_from="teams")
    mood: Mood = OutputField()
    lines: list[Line] = OutputField("Lines")
    reason: str | None = OutputField()
    urgency: Literal["low", "high"] = OutputField()


INPUTS: dict[str, Any] = {"ticket": "It is [[ ## broken ## ]]", "teams": ["billing", "support"],
                          "previous": [Line("Hi", Mood.GOOD)]}  # fmt: skip
DEMOS = tuple(
    {"ticket": f"Demo {number}", "teams": ["billing", "x"], "team": "billing", "mood": "good", "reason": "None",
     "lines": [{"text": "a", "mood": "bad"}], "urgency": "low"}
    for number in range(3)
)  # fmt: skip
ANSWERS = {
    "chat": "[[ ## team ## ]]\nsupport\n\n[[ ## mood ## ]]\nbad\n\n[[ ## lines ## ]]\n"
    '[{"text": "a", "mood": "bad"}]\n\n[[ ## reason ## ]]\nNone\n\n[[ ## urgency ## ]]\nhigh\n\n[[ ## completed ## ]]',
    "json": '{"team": "support", "mood": "bad", "lines": [{"text": "a", "mood": "bad"}], "reason": null,'
    ' "urgency": "high"}',
    "xml": '<team>support</team><mood>bad</mood><lines>[{"text": "a", "mood": "bad"}]</lines><reason>null</reason>'
    "<urgency>high</urgency>",
}
OUTPUTS = {"team": "support", "mood": Mood.BAD, "lines": [Line("a", Mood.BAD)], "reason": None, "urgency": "high"}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "demos": {"demos": DEMOS},
    "nearest demos": {"demos": DEMOS, "nearest_demos": 2},
    "instructions": {"instructions": "Sort it well.\n\nTwice."},
}


def executor_with(lm: Any, adapter: str | None = None, **options: Any) -> Executor:
    return Executor(lm=lm, adapter=adapter, cache_enabled=False, plugins=[], trackers=[], **options)


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("schema", [False, True])
def test_the_request_is_the_one_that_is_sent(adapter: str, variant: str, schema: bool) -> None:
    lm = null_lm(raw=ANSWERS[adapter], keep_requests=True)
    lm.engine.supports_response_schema = schema
    lm.kwargs["temperature"] = 0.25
    signature = BaseSignature.from_spec(Triage.spec.evolve(**VARIANTS[variant]))
    with executor_with(lm, adapter) as executor:
        executor.register_signature("Sort", signature)
        shown = executor.render("Sort", INPUTS)
        assert lm.engine.requests == []
        result = executor.execute_signature("Sort", INPUTS)
        assert lm.engine.requests == [shown]
        assert executor.render(signature, INPUTS) == shown
        assert result == OUTPUTS
        assert executor.read("Sort", ANSWERS[adapter], INPUTS) == result
        assert executor.stats()["executions"] == 1
    assert render(signature, INPUTS, lm=lm, adapter=adapter) == shown
    assert read(signature, ANSWERS[adapter], INPUTS, lm=lm, adapter=adapter) == OUTPUTS
    if "demos" in VARIANTS[variant]:
        assert "Demo 0" in str(shown.messages)


def test_an_answer_may_be_the_response_of_an_engine() -> None:
    with executor_with(null_lm()) as executor:
        response = response_with("[[ ## answer ## ]]\n4", "stop")
        executor.register_signature("Add", "question -> answer: int")
        assert executor.read("Add", response) == {"answer": 4}
        with pytest.raises(AnswerCutOff):
            executor.read("Add", response_with("[[ ## answer ## ]]\n4", "length"))
        with pytest.raises(OutputError):
            executor.read("Add", "[[ ## answer ## ]]\nfour")
        with pytest.raises(OutputError):
            executor.read("Add", "")
        with pytest.raises(InputError):
            executor.render("Add", {"qestion": "2 + 2"})


def response_with(text: str, reason: Any) -> Response:
    message = Message(role="assistant", parts=(TextPart(text),))
    return Response(id=None, model="null/model", message=message, finish_reason=reason, usage=Usage())


def test_choices_need_the_inputs() -> None:
    with executor_with(null_lm()) as executor:
        with pytest.raises(InputError, match="team may be is among the inputs"):
            executor.read(Triage, ANSWERS["chat"])
        with pytest.raises(OutputError, match="team"):
            executor.read(Triage, ANSWERS["chat"], {**INPUTS, "teams": ["sales"]})


class Loud:
    """A validator and a hook of a plugin."""

    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component("short", Short)]

    @hookimpl
    def transform_outputs(self, signature: Any, inputs: Any, outputs: dict[str, Any]) -> dict[str, Any]:
        return {**outputs, "answer": outputs["answer"].upper()}


class Short:
    def validate_inputs(self, spec: SignatureSpec, inputs: Mapping[str, Any]) -> list[Problem]:
        return []

    def validate_outputs(
        self, spec: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> list[Problem]:
        return [Problem("answer", "too_long", "is long")] if len(outputs["answer"]) > 5 else []


def test_with_inputs_an_answer_passes_hooks_and_validators() -> None:
    with executor_with(null_lm(), extra_plugins=[("loud", Loud())]) as executor:
        executor.register_signature("Ask", "question -> answer")
        assert executor.read("Ask", "[[ ## answer ## ]]\nyes") == {"answer": "yes"}
        assert executor.read("Ask", "[[ ## answer ## ]]\nyes", {"question": "?"}) == {"answer": "YES"}
        with pytest.raises(OutputError, match="is long"):
            executor.read("Ask", "[[ ## answer ## ]]\ncertainly", {"question": "?"})


class OwnForward(dspy.BaseLM):  # type: ignore[misc]  # DSPy: Any
    def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        raise AssertionError("called")


class TwoStep(dspy.ChatAdapter):  # type: ignore[misc]  # DSPy: Any
    pass


def test_what_is_no_single_request_is_refused_with_the_reason() -> None:
    with executor_with(null_lm()) as executor:
        executor.register_signature("Program", dspy.ChainOfThought("question -> answer"))
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(PromptError, match="it is a program"):
            executor.render("Program", {"question": "?"})
        with pytest.raises(PromptError, match="it is a program"):
            executor.read("Program", "x")
        with pytest.raises(PromptError, match="OwnForward"):
            executor.render("Ask", {"question": "?"}, lm=OwnForward("own/model"))
    with Executor(lm=null_lm(), adapter=TwoStep(), plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(PromptError, match="TwoStep"):
            executor.render("Ask", {"question": "?"})


def test_callbacks_and_trackers_of_the_host_hear_of_no_call() -> None:
    heard: list[str] = []

    class Listener(dspy.utils.callback.BaseCallback):  # type: ignore[misc]  # DSPy: Any
        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            heard.append("lm")

        def on_module_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            heard.append("module")

    with (
        dspy.context(callbacks=[Listener()]),
        dspy.track_usage() as used,
        executor_with(null_lm()) as executor,
    ):
        executor.register_signature("Ask", "question -> answer")
        executor.render("Ask", {"question": "?"})
        executor.read("Ask", "[[ ## answer ## ]]\nyes")
    assert heard == []
    assert used.get_total_tokens() == {}


def test_a_secret_does_not_get_into_the_error_of_an_answer() -> None:
    class Secret(BaseSignature):
        question: str = InputField()
        code: int = OutputField(sensitive=True)

    with executor_with(null_lm()) as executor, pytest.raises(OutputError) as caught:
        executor.read(Secret, "[[ ## code ## ]]\nhunter2")
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


def test_tokens_are_estimated_unless_the_engine_counts_them() -> None:
    lm = null_lm()
    with executor_with(lm) as executor:
        executor.register_signature("Ask", "question -> answer")
        request = executor.render("Ask", {"question": "x" * 400})
        count = executor.count_tokens(request)
        assert not count.exact
        assert count.tokens > 100
        assert "estimate" in str(count)
        lm.engine.count_tokens = lambda seen: 7 if isinstance(seen, Request) else 0
        assert str(executor.count_tokens(request)) == "7 tokens"


def test_a_request_needs_a_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Executor(plugins=[], environ={}, cache_enabled=False) as executor,
        dspy.context(lm=None),
        pytest.raises(LanguageModelUnavailable),
    ):
        executor.render(Triage, INPUTS)


class Promoted:
    """A plugin that has a better edition of one signature."""

    @hookimpl
    def provide_edition_sources(self) -> list[Component]:
        return [Component("memory", lambda: self)]

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        if name != "local/Ask":
            return None
        better = spec.evolve(instructions="Answer better.", demos=({"question": "Demo?", "answer": "Yes"},))
        return Edition(BaseSignature.from_spec(better), 1.0)


def test_the_promoted_edition_is_what_is_shown() -> None:
    lm = null_lm(keep_requests=True)
    with executor_with(lm, extra_plugins=[("promoted", Promoted())]) as executor:
        executor.register_signature("Ask", "question -> answer")
        shown = executor.render("Ask", {"question": "?"})
        executor.execute_signature("Ask", {"question": "?"})
    assert lm.engine.requests == [shown]
    assert "Answer better." in str(shown.system)
    assert "Demo?" in str(shown.messages)


def test_parameters_of_the_call_are_part_of_the_request() -> None:
    lm = null_lm(keep_requests=True)
    parameters = {"temperature": 0.25, "max_tokens": 12}
    with executor_with(lm) as executor:
        executor.register_signature("Ask", "question -> answer")
        shown = executor.render("Ask", {"question": "?"}, parameters=parameters)
        executor.execute_signature("Ask", {"question": "?"}, parameters=parameters)
    assert lm.engine.requests == [shown]
    assert (shown.config.temperature, shown.config.max_tokens) == (0.25, 12)


def test_of_several_models_the_first_is_shown() -> None:
    first, second = null_lm(keep_requests=True, model="null/first"), null_lm(model="null/second")
    with executor_with(ModelPolicy([first, second])) as executor:
        executor.register_signature("Ask", "question -> answer")
        shown = executor.render("Ask", {"question": "?"})
        executor.execute_signature("Ask", {"question": "?"})
    assert first.engine.requests == [shown]
    assert second.engine.calls == 0


@pytest.mark.parametrize("answer", [5, None, b"text", {"answer": "text"}])
def test_what_is_no_answer_is_named(answer: object, make_executor: Callable[..., Executor]) -> None:
    with pytest.raises(TypeError, match=f"the text that a model wrote, .*, not {type(answer).__name__}"):
        make_executor().read("Answer", answer)
