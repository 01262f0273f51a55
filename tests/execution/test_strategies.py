"""A signature, a call, a step and a batch say by which strategy they are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import (
    BaseSignature,
    Component,
    Executor,
    FunctionTool,
    InputField,
    LanguageModel,
    OutputField,
    Settings,
    SignatureChain,
    hookimpl,
)
from hokusai_core.errors import (
    ComponentNotFoundError,
    CompositionError,
    ConfigurationError,
    InputError,
    JournalError,
    OutputError,
    PluginError,
    SignatureDefinitionError,
)
from hokusai_core.plugin_api import (
    PredictorState,
    SignatureRunner,
    SignatureSpec,
    StrategyChoice,
    StrategyTask,
    predictor_states,
)
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache


class Aloud:
    """A strategy that thinks ``rounds`` times before it answers."""

    version = "1"

    def __init__(self, rounds: int = 1, tools: Mapping[str, Any] | None = None) -> None:
        self.rounds, self.tools = rounds, tools

    def build(self, task: StrategyTask) -> Any:
        return _Thinking(task.signature, self.rounds)


class _Thinking(dspy.Module):  # type: ignore[misc]  # DSPy: Any
    def __init__(self, signature: Any, rounds: int) -> None:
        super().__init__()
        self.think = dspy.Predict("question -> thought")
        self.answer = dspy.Predict(signature)
        self.rounds = rounds

    def forward(self, **inputs: Any) -> Any:
        thoughts = [self.think(question=inputs["question"]).thought for _ in range(self.rounds)]
        return dspy.Prediction(thoughts=thoughts, **self.answer(**inputs))


class Offers:
    def __init__(self, target: Any = Aloud, tool_version: str = "1") -> None:
        self._target, self._tool_version = target, tool_version

    @hookimpl
    def provide_strategies(self) -> list[Component]:
        return [Component(name="aloud", target=self._target), Component(name="quietly", target=self._target)]

    @hookimpl
    def provide_tools(self) -> list[Component]:
        return [Component(name="look_up", target=lambda: FunctionTool(look_up, version=self._tool_version))]


def look_up(word: str) -> str:
    """Look a word up."""
    return word


class Ask(BaseSignature):
    """Answer the question."""

    question: str = InputField()
    answer: str = OutputField()


class AskAloud(Ask):
    strategy = "aloud"


MakeExecutor = Callable[..., Executor]


@pytest.fixture
def make() -> Iterator[MakeExecutor]:
    """Return a function that makes executors with the strategies of this file."""
    made: list[Executor] = []

    def executor(offers: Any = None, **options: Any) -> Executor:
        chosen = {"lm": null_lm(), "plugins": [], "extra_plugins": [("test", offers or Offers())], "environ": {}}
        made.append(Executor(**{**chosen, **options}))
        made[-1].register_signature("Ask", Ask)
        return made[-1]

    yield executor
    for one in made:
        one.close()


QUESTION = {"question": "Why?"}


# -- where it is said -----------------------------------------------------------------------------------------------


def test_a_signature_declares_it(make: MakeExecutor) -> None:
    executor = make()
    result = executor.execute_signature(AskAloud, QUESTION)
    assert (result.strategy, dict(result.extras), list(result)) == ("aloud", {"thoughts": ["some thought"]}, ["answer"])
    assert executor.execute_signature("Ask", QUESTION).strategy == ""


def test_a_registration_says_it(make: MakeExecutor) -> None:
    executor = make()
    executor.register_signature("Twice", Ask, strategy={"name": "aloud", "rounds": 2})
    executor.register_signature("Text", "question -> answer", strategy="aloud")
    assert len(executor.execute_signature("Twice", QUESTION).extras["thoughts"]) == 2
    assert executor.execute_signature("Text", QUESTION).strategy == "aloud"
    assert Ask.spec.strategy is None


def test_a_call_says_it(make: MakeExecutor) -> None:
    executor = make()
    asked = {"name": "aloud", "rounds": 3}
    assert len(executor.execute_signature("Ask", QUESTION, strategy=asked).extras["thoughts"]) == 3
    awaited = asyncio.run(executor.aexecute_signature("Ask", {"question": "?"}, strategy="aloud"))
    assert awaited.strategy == "aloud"
    assert executor.execute_async("Ask", QUESTION, strategy="aloud").result().strategy == "aloud"
    assert executor.execute_signature(AskAloud, QUESTION, strategy="quietly").strategy == "quietly"


def test_a_call_changes_options_of_the_declared_one(make: MakeExecutor) -> None:
    executor = make()
    executor.register_signature("Twice", Ask, strategy={"name": "aloud", "rounds": 2, "tools": ["look_up"]})
    for asked in ({"rounds": 1}, {"name": "aloud", "rounds": 1}):
        found = executor.strategy("Twice", strategy=asked)
        assert found is not None
        assert dict(found.choice.options) == {"rounds": 1, "tools": ["look_up"]}
    with pytest.raises(ConfigurationError, match="declares no strategy"):
        executor.execute_signature("Ask", QUESTION, strategy={"rounds": 1})


def test_a_batch_says_it(make: MakeExecutor) -> None:
    result = make().execute_batch("Ask", [QUESTION, {"question": "How?"}], strategy="aloud")
    assert [row.strategy for row in result.succeeded] == ["aloud", "aloud"]


def test_a_step_says_it_before_the_call(make: MakeExecutor) -> None:
    executor = make()
    chain = SignatureChain(inputs=["question"])
    chain.add("Ask", name="First", strategy={"name": "aloud", "rounds": 2}).add(
        Ask, {"question": "First.answer"}, name="Second"
    )
    plain = executor.execute_chain(chain, QUESTION).steps
    assert [plain[name].strategy for name in plain] == ["aloud", ""]
    asked = executor.execute_chain(chain, QUESTION, strategy="quietly").steps
    assert [asked[name].strategy for name in asked] == ["aloud", "quietly"]
    awaited = asyncio.run(executor.aexecute_chain(chain, {"question": "?"})).steps
    assert [awaited[name].strategy for name in awaited] == ["aloud", ""]


@pytest.mark.parametrize("text", ['strategy = "aloud"', 'strategy = { name = "aloud", rounds = 2 }'])
def test_a_file_of_a_chain_says_it(make: MakeExecutor, tmp_path: Path, text: str) -> None:
    file = tmp_path / "chain.toml"
    file.write_text(f'inputs = ["question"]\n\n[[steps]]\nsignature = "Ask"\n{text}\n')
    steps = make().execute_chain(SignatureChain.from_file(file), QUESTION).steps
    assert steps["Ask"].strategy == "aloud"


def test_a_chain_is_checked_before_the_first_call(make: MakeExecutor) -> None:
    lm = null_lm()
    executor = make(lm=lm)
    chain = SignatureChain(inputs=["question"]).add("Ask").add("Ask", name="Again", strategy="alowd")
    with pytest.raises(CompositionError, match=r"step 'Again': there is no strategy 'alowd'; did you mean 'aloud'"):
        executor.execute_chain(chain, QUESTION)
    with pytest.raises(CompositionError, match=r"step 'Ask': strategy: expected the name"):
        SignatureChain().add("Ask", strategy=7)
    with pytest.raises(CompositionError, match="a strategy is for a signature"):
        SignatureChain().add(SignatureChain().add("Ask"), name="Inner", strategy="aloud")
    assert lm.engine.calls == 0


# -- errors ---------------------------------------------------------------------------------------------------------


def test_an_unknown_strategy_is_named_with_those_that_there_are(make: MakeExecutor) -> None:
    executor = make()
    for call in (
        lambda: executor.execute_signature("Ask", QUESTION, strategy="loud"),
        lambda: executor.register_signature("Other", Ask, strategy="loud"),
        lambda: executor.execute_batch("Ask", [QUESTION], strategy="loud"),
    ):
        with pytest.raises(ComponentNotFoundError, match=r"no strategy 'loud'.*Installed: test/aloud, test/quietly"):
            call()


def test_testing_mode_checks_it_too(make: MakeExecutor) -> None:
    executor = make(mode="testing")
    assert executor.execute_signature("Ask", QUESTION, strategy="aloud")["answer"] == "Sample answer"
    with pytest.raises(ComponentNotFoundError):
        executor.execute_signature("Ask", QUESTION, strategy="loud")


@pytest.mark.parametrize("value", [7, "", {}, {"name": 3}, ["aloud"], {3: 4}])
def test_what_is_no_strategy_is_refused(make: MakeExecutor, value: Any) -> None:
    executor = make()
    with pytest.raises(ConfigurationError, match="expected the name of a strategy"):
        executor.execute_signature("Ask", QUESTION, strategy=value)
    with pytest.raises(SignatureDefinitionError, match="expected the name of a strategy"):
        executor.register_signature("Other", Ask, strategy=value)


def test_unknown_options_are_refused(make: MakeExecutor) -> None:
    with pytest.raises(ConfigurationError, match=r"'test/aloud'.*'round'; did you mean 'rounds'"):
        make().execute_signature("Ask", QUESTION, strategy={"name": "aloud", "round": 1})


def test_a_program_has_none(make: MakeExecutor) -> None:
    executor = make()
    executor.register_signature("Program", dspy.Predict("question -> answer"))
    with pytest.raises(ConfigurationError, match="answers in its own way"):
        executor.execute_signature("Program", QUESTION, strategy="aloud")
    with pytest.raises(SignatureDefinitionError, match="answers in its own way"):
        executor.register_signature("Other", dspy.Predict("question -> answer"), strategy="aloud")


def test_a_class_with_a_wrong_strategy_says_so(make: MakeExecutor) -> None:
    class Wrong(Ask):
        strategy = 7  # type: ignore[assignment]  # what is tested

    with pytest.raises(SignatureDefinitionError, match="strategy: expected the name"):
        make().execute_signature(Wrong, QUESTION)


def _returns(value: Any) -> Any:
    class Module(dspy.Module):  # type: ignore[misc]  # DSPy: Any
        def forward(self, **inputs: Any) -> Any:
            return value

    class Strategy:
        version = "1"

        def build(self, task: StrategyTask) -> Any:
            return Module()

    return Strategy


class NoModule(Aloud):
    def build(self, task: StrategyTask) -> Any:
        return "a module"


class NoBuild(Aloud):
    def build(self, task: StrategyTask) -> Any:
        raise KeyError("x")


class NoVersion(Aloud):
    version = ""


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (_returns(None), PluginError, "returned NoneType"),
        (_returns("answer"), PluginError, "returned str"),
        (_returns(dspy.Prediction(thought="x")), OutputError, "gave no answer"),
        (NoModule, PluginError, "returned str, no dspy.Module"),
        (NoBuild, PluginError, "cannot answer 'Ask': KeyError"),
        (NoVersion, PluginError, "'version' must be a text"),
        (object, PluginError, "no method build"),
    ],
)
def test_a_broken_strategy_is_named(make: MakeExecutor, target: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Offers(target)).execute_signature("Ask", QUESTION, strategy="aloud")


# -- identity -------------------------------------------------------------------------------------------------------


def test_a_declared_strategy_is_part_of_the_fingerprint(make: MakeExecutor) -> None:
    class Newer(Aloud):
        version = "2"

    def fingerprint(offers: Any, strategy: Any) -> str:
        executor = make(offers)
        executor.register_signature("It", Ask, strategy=strategy)
        result = executor.execute_signature("It", QUESTION)
        assert result.fingerprint == executor.signature("It").spec.fingerprint
        return result.fingerprint

    with_tool = {"name": "aloud", "tools": ["look_up"]}
    found = [
        fingerprint(Offers(), None),
        fingerprint(Offers(), "aloud"),
        fingerprint(Offers(), "quietly"),
        fingerprint(Offers(), {"name": "aloud", "rounds": 2}),
        fingerprint(Offers(Newer), "aloud"),
        fingerprint(Offers(), with_tool),
        fingerprint(Offers(tool_version="2"), with_tool),
    ]
    assert len(set(found)) == len(found)
    assert fingerprint(Offers(), "aloud") == found[1]


def test_the_strategy_of_a_call_is_part_of_the_key_and_not_of_the_fingerprint(make: MakeExecutor) -> None:
    lm = null_lm()
    executor = make(lm=lm)
    asked: list[Any] = [None, "aloud", {"name": "aloud", "rounds": 2}, "quietly"]
    results = [executor.execute_signature("Ask", QUESTION, strategy=one) for one in asked]
    assert [result.cached for result in results] == [None] * 4
    assert len({result.fingerprint for result in results}) == 1
    assert all(executor.execute_signature("Ask", QUESTION, strategy=one).cached == "memory" for one in asked)
    assert executor.explain("Ask", QUESTION, strategy="aloud").hit == "memory"
    assert executor.explain("Ask", {"question": "?"}, strategy="aloud").hit is None


def test_a_batch_does_not_mix_strategies_in_one_journal(make: MakeExecutor, tmp_path: Path) -> None:
    executor, journal = make(), tmp_path / "rows.journal"
    first = executor.execute_batch("Ask", [QUESTION], journal=journal, strategy="aloud")
    again = executor.execute_batch("Ask", [QUESTION], journal=journal, strategy="aloud")
    assert [row.cached for row in again.succeeded] == ["journal"]
    assert dict(again.succeeded[0].extras) == dict(first.succeeded[0].extras) == {"thoughts": ["some thought"]}
    assert again.succeeded[0].strategy == "aloud"
    for other in (None, "quietly", {"name": "aloud", "rounds": 2}):
        with pytest.raises(JournalError, match="must not be mixed"):
            executor.execute_batch("Ask", [QUESTION], journal=journal, strategy=other)


def test_it_is_written_with_the_signature_and_read_back(make: MakeExecutor) -> None:
    executor = make()
    executor.register_signature("It", Ask, strategy={"name": "aloud", "rounds": 2, "tools": ["look_up"]})
    spec = executor.signature("It").spec
    read = SignatureSpec.from_dict(spec.to_dict())
    assert read.fingerprint == spec.fingerprint
    assert executor.execute_signature(BaseSignature.from_spec(read), QUESTION).fingerprint == spec.fingerprint
    with pytest.raises(ConfigurationError, match=r"tool test/look_up 1, and installed is .*tool test/look_up 2"):
        make(Offers(tool_version="2")).execute_signature(BaseSignature.from_spec(read), QUESTION)


def test_a_function_among_the_options_cannot_be_written(make: MakeExecutor) -> None:
    executor = make()
    executor.register_signature("It", Ask, strategy={"name": "aloud", "tools": [FunctionTool(look_up, version="1")]})
    with pytest.raises(SignatureDefinitionError, match="an option cannot be written as JSON"):
        executor.signature("It").spec.to_dict()


def test_a_derived_signature_keeps_it(make: MakeExecutor) -> None:
    class More(AskAloud):
        answer: str = OutputField()
        detail: str = OutputField()

    assert make().execute_signature(More, QUESTION).strategy == "aloud"


# -- what an optimizer sets -----------------------------------------------------------------------------------------


def test_predictors_take_what_an_optimizer_found(make: MakeExecutor) -> None:
    lm = null_lm(keep_requests=True)
    executor = make(lm=lm)
    found = executor.strategy("Ask", strategy="aloud")
    module = SignatureRunner(Ask.spec, executor.language_model(), found).module
    states = predictor_states(module)
    assert set(states) == {"think", "answer"}
    better = PredictorState("Think hard.", [{"question": "6 * 7?", "thought": "forty-two"}], states["think"].fields)
    spec = Ask.spec.evolve(strategy=StrategyChoice("aloud"), predictors={**states, "think": better})
    executor.register_signature("Better", BaseSignature.from_spec(spec))
    executor.execute_signature("Better", QUESTION)
    think, answer = lm.engine.requests
    assert "Think hard." in think.system
    assert "forty-two" in "".join(message.text for message in think.messages)
    assert "forty-two" not in "".join(message.text for message in answer.messages)
    spec = executor.signature("Better").spec
    assert SignatureSpec.from_dict(spec.to_dict()).fingerprint == spec.fingerprint != Ask.spec.fingerprint


def test_demos_of_the_signature_go_to_the_predictor_that_has_its_fields(make: MakeExecutor) -> None:
    lm = null_lm(keep_requests=True)
    executor = make(lm=lm)
    spec = Ask.spec.evolve(demos=[{"question": "6 * 7?", "answer": "forty-two"}])
    executor.register_signature("Demos", BaseSignature.from_spec(spec), strategy="aloud")
    executor.execute_signature("Demos", QUESTION)
    think, answer = lm.engine.requests
    assert "forty-two" not in "".join(message.text for message in think.messages)
    assert "forty-two" in "".join(message.text for message in answer.messages)


def test_choices_of_an_output_reach_the_module(make: MakeExecutor) -> None:
    class Classify(BaseSignature):
        """Classify."""

        question: str = InputField()
        labels: list[str] = InputField()
        label: str = OutputField(choices_from="labels")

    executor = make()
    for labels in (["a", "b"], ["c", "d"]):
        result = executor.execute_signature(Classify, {"question": "?", "labels": labels}, strategy="aloud")
        assert result["label"] == labels[0]


# -- tracking and sensitive fields ----------------------------------------------------------------------------------


def test_trackers_are_told(make: MakeExecutor) -> None:
    tracker = ListeningTracker()
    make(trackers={"ear": tracker}).execute_signature("Ask", QUESTION, strategy={"name": "aloud", "rounds": 2})
    (event,) = tracker.executions
    assert event.strategy is not None
    assert (event.strategy["name"], event.strategy["version"]) == ("aloud", "1")
    assert event.strategy["options"] == {"rounds": 2}
    assert event.extras == {"thoughts": ["some thought", "some thought"]}


@pytest.mark.filterwarnings("ignore:.*has sensitive outputs:UserWarning")
@pytest.mark.parametrize("where", ["input", "output"])
def test_thoughts_about_sensitive_fields_stay_in_memory(make: MakeExecutor, tmp_path: Path, where: str) -> None:
    class Secret(Ask):
        question: str = InputField(sensitive=where == "input")
        answer: str = OutputField(sensitive=where == "output")

    tracker = ListeningTracker(wants_exchanges=True)
    lm = null_lm(answers={"thought": "hunter2", "answer": "fine"})
    cache, journal = DiskCache(tmp_path / "cache"), tmp_path / "rows.journal"
    executor = make(lm=lm, trackers={"ear": tracker}, cache=cache)
    result = executor.execute_signature(Secret, QUESTION, strategy="aloud")
    assert result.extras == {"thoughts": ["hunter2"]}
    assert executor.execute_signature(Secret, QUESTION, strategy="aloud").extras == result.extras
    executor.execute_batch(Secret, [QUESTION], strategy="aloud", journal=journal)
    assert all(not event.extras for event in tracker.executions)
    assert "hunter2" not in repr(tracker.executions)
    assert b"hunter2" not in journal.read_bytes()
    executor.close()
    for file in (tmp_path / "cache").rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()


def test_thoughts_come_back_from_a_persistent_cache(make: MakeExecutor, tmp_path: Path) -> None:
    for cached in (None, "disk"):
        executor = make(cache=DiskCache(tmp_path))
        result = executor.execute_signature("Ask", QUESTION, strategy="aloud")
        assert result.cached == cached
        assert result.extras == {"thoughts": ["some thought"]}
        executor.close()


@pytest.mark.parametrize("way", ["single", "async", "batch", "async batch"])
def test_calls_after_the_first_one_wait_for_the_rate_limit(make: MakeExecutor, way: str) -> None:
    lm = null_lm()
    executor = make(lm=lm, requests_per_minute=2, cache_enabled=False)
    limits = executor.services.pipeline._attempts._limits
    assert limits is not None
    window = limits._of("null/model").calls
    assert window is not None
    window.seconds = 0.2  # a minute would take the test too long
    rows = [{"question": "one"}, {"question": "two"}]
    strategy = {"name": "aloud", "rounds": 3}
    if way == "single":
        results = [executor.execute_signature("Ask", row, strategy=strategy) for row in rows]
    elif way == "async":

        async def both() -> Any:
            return await asyncio.gather(*(executor.aexecute_signature("Ask", row, strategy=strategy) for row in rows))

        results = list(asyncio.run(both()))
    elif way == "batch":
        results = executor.execute_batch("Ask", rows, strategy=strategy, on_error="raise").succeeded
    else:
        results = asyncio.run(executor.aexecute_batch("Ask", rows, strategy=strategy, on_error="raise")).succeeded
    assert [result.usage.calls for result in results] == [4, 4]
    assert lm.engine.calls == 8  # nothing was paid twice


def test_lines_of_a_batch_have_what_a_strategy_adds(make: MakeExecutor, tmp_path: Path) -> None:
    executor = make(lm=null_lm(answers={"thought": "hm", "answer": "fine"}))
    results = executor.execute_batch("Ask", [QUESTION], strategy="aloud")
    results.to_jsonl(tmp_path / "rows.jsonl")
    record = json.loads((tmp_path / "rows.jsonl").read_text())
    assert (record["strategy"], record["extras"]) == ("aloud", {"thoughts": ["hm"]})
    frame = results.to_pandas()
    assert list(frame["extras"]) == [{"thoughts": ["hm"]}]
    plain = executor.execute_batch("Ask", [QUESTION])
    plain.to_jsonl(tmp_path / "plain.jsonl")
    assert not {"strategy", "extras"} & json.loads((tmp_path / "plain.jsonl").read_text()).keys()


@pytest.mark.parametrize("where", ["input", "output"])
def test_lines_of_a_batch_hide_thoughts_about_sensitive_fields(make: MakeExecutor, where: str) -> None:
    class Secret(Ask):
        question: str = InputField(sensitive=where == "input")
        answer: str = OutputField(sensitive=where == "output")

    executor = make(lm=null_lm(answers={"thought": "hunter2", "answer": "fine"}))
    with executor.iter_batch(Secret, [QUESTION], strategy="aloud") as rows:
        (row,) = rows
    assert b"hunter2" not in row.to_json()
    assert row.to_dict()["extras"] == {}
    assert row.to_dict(sensitive=True)["extras"] == {"thoughts": ["hunter2"]}


class Show(BaseSignature):
    """Describe the picture."""

    picture: dspy.Image = InputField()
    caption: str = OutputField()


def test_a_runner_works_as_the_executor_is_set() -> None:
    lm = null_lm(keep_requests=True)
    settings = Settings(media_urls=True, parameters={"temperature": 0.3, "max_tokens": 70})
    model, picture = LanguageModel(lm), {"picture": "https://example.com/a.png"}
    with pytest.raises(InputError, match="media_urls"):
        SignatureRunner(Show.spec, model).run(picture)
    SignatureRunner(Show.spec.evolve(parameters={"max_tokens": 50}), model, settings=settings).run(picture)
    seen = [lm.engine.requests[-1].config.temperature, lm.engine.requests[-1].config.max_tokens]
    assert seen == [0.3, 50]
