"""Model policies: who is asked next, who answers under which name, and what a circuit keeps executions from."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import exceptions as raised

from hokusai_core import Budget, Component, Executor, LanguageModel, ModelPolicy, SignatureChain, hookimpl
from hokusai_core.batch.journal import JournalWarning
from hokusai_core.errors import (
    AnswerRefused,
    BudgetExceeded,
    ConfigurationError,
    DeadlineExceeded,
    InputError,
    LanguageModelError,
    LanguageModelUnavailable,
)
from hokusai_core.execution.circuit import Circuit
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm
from hokusai_core.types import StreamFinished

NAMES = ("own/first", "own/second", "own/third")


class Engine:
    """Answers with the name of its model, or fails as the test says."""

    def __init__(self, name: str) -> None:
        self.name, self.calls = name, 0
        self.failure: Callable[[Any], Any] | None = None
        self._answering = null_lm(answers={"answer": name})._engine_spec

    def complete(self, request: Any) -> Any:
        self.calls += 1
        if self.failure is not None:
            answer = self.failure(request)
            if answer is not None:
                return answer
        return self._answering.complete(request)


def raising(kind: type[Exception], *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    def fail(request: Any) -> Any:
        raise kind(*args, **kwargs)

    return fail


def unreadable(request: Any) -> Any:
    answer = null_lm()._engine_spec.complete(request)
    part = dspy.lm15.TextPart("no field at all")
    return dspy.lm15.Response(
        id="1",
        model=request.model,
        message=dspy.lm15.Message("assistant", (part,)),
        finish_reason="stop",
        usage=answer.usage,
    )


#: The ways in which a model fails, and the class of the error that its attempt shows.
FAILURES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "connection": (raising(raised.LMTransportError, "reset"), "LanguageModelError"),
    "timeout of the provider": (raising(raised.LMTimeoutError, "slow"), "LanguageModelError"),
    "server": (raising(raised.LMServerError, "500"), "LanguageModelError"),
    "rate limit": (raising(raised.LMRateLimitError, "429"), "RateLimitedError"),
    "credentials": (raising(raised.LMAuthError, "401"), "LanguageModelRefused"),
    "unknown model": (raising(raised.LMUnsupportedModelError, "404"), "LanguageModelUnavailable"),
    "prompt too long": (raising(raised.ContextWindowExceededError, model="own", message="too long"), "PromptTooLong"),
    "unreadable answer": (unreadable, "OutputError"),
}


@pytest.fixture
def engines() -> list[Engine]:
    return [Engine(name) for name in NAMES]


@pytest.fixture
def models(engines: list[Engine]) -> list[Any]:
    return [dspy.LM(engine.name, engine=engine) for engine in engines]


@pytest.fixture
def tracker() -> ListeningTracker:
    return ListeningTracker()


@pytest.fixture
def executor(tracker: ListeningTracker) -> Iterator[Executor]:
    with Executor(plugins=[], trackers={"own": tracker}, environ={}, timeout=20) as made:
        made.register_signature("Ask", "question -> answer")
        yield made


@pytest.mark.parametrize("answering", [0, 1, 2])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("mode", ["single", "async", "batch", "async batch", "chain"])
def test_the_right_model_answers_under_its_own_name(
    executor: Executor,
    tracker: ListeningTracker,
    engines: list[Engine],
    models: list[Any],
    failure: str,
    answering: int,
    mode: str,
) -> None:
    fail, shown = FAILURES[failure]
    for engine in engines[:answering]:
        engine.failure = fail
    policy, budget, inputs = ModelPolicy(models, failures=None), Budget(calls=9), {"question": "Who?"}

    def run(lm: Any, **options: Any) -> Any:
        if mode == "single":
            return executor.execute_signature("Ask", inputs, lm=lm, **options)
        if mode == "async":
            return asyncio.run(executor.aexecute_signature("Ask", inputs, lm=lm, **options))
        if mode == "batch":
            return executor.execute_batch("Ask", [inputs], lm=lm, progress=False, **options)[0]
        if mode == "async batch":
            return asyncio.run(executor.aexecute_batch("Ask", [inputs], lm=lm, progress=False, **options))[0]
        chain = SignatureChain().add("Ask", {"question": "question"})
        return executor.execute_chain(chain, inputs, lm=lm, **options).last

    result = run(policy, budget=budget)
    assert result["answer"] == result.model == NAMES[answering]
    # Each attempt is charged, and shown with the model that made it.
    assert [attempt.model for attempt in result.attempts] == list(NAMES[: answering + 1])
    assert [attempt.number for attempt in result.attempts] == list(range(1, answering + 2))
    assert all((attempt.error or "").startswith(shown) for attempt in result.attempts[:-1])
    assert result.usage.calls == budget.spent.calls == answering + 1
    assert [engine.calls for engine in engines] == [1] * (answering + 1) + [0] * (2 - answering)
    event = tracker.executions[-1]
    assert (event.model, [attempt.model for attempt in event.attempts]) == (result.model, list(NAMES[: answering + 1]))

    # The answer is stored as that of the model that gave it ...
    again = run(models[answering])
    assert (again.cached, again.model, again["answer"]) == ("memory", NAMES[answering], NAMES[answering])
    for engine in engines:
        engine.failure = None
    # ... and never served as that of another: the models before it are asked anew.
    first = run(policy)
    assert first["answer"] == first.model == NAMES[0]
    assert first.cached == ("memory" if answering == 0 else None)


def test_inputs_budgets_and_refusals_end_an_execution(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    policy = ModelPolicy(models)
    with pytest.raises(InputError):
        executor.execute_signature("Ask", {"wrong": 1}, lm=policy)
    budget = Budget(calls=1)
    engines[0].failure = raising(raised.LMServerError, "500")
    with pytest.raises(BudgetExceeded):
        executor.execute_signature("Ask", {"question": "a"}, lm=policy, budget=budget)
    assert [engine.calls for engine in engines] == [1, 0, 0]

    refused = raising(AnswerRefused, "the model refused")
    engines[0].failure = refused
    with pytest.raises(AnswerRefused):
        executor.execute_signature("Ask", {"question": "b"}, lm=policy)
    asked = ModelPolicy(models, move_on=["LanguageModelError", AnswerRefused])
    assert executor.execute_signature("Ask", {"question": "b"}, lm=asked).model == NAMES[1]
    engines[0].failure = unreadable  # which this policy does not move on after
    with pytest.raises(ValueError, match="could not be parsed"):
        executor.execute_signature("Ask", {"question": "c"}, lm=asked)


def test_retries_come_first(
    executor: Executor, engines: list[Engine], models: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hokusai_core.execution.state.random.uniform", lambda low, high: 0.0)
    engines[0].failure = raising(raised.LMServerError, "500")
    result = executor.execute_signature(
        "Ask", {"question": "a"}, lm=ModelPolicy(models), retry_on_failure=True, max_retries=2
    )
    assert [attempt.model for attempt in result.attempts] == [NAMES[0]] * 3 + [NAMES[1]]


@pytest.mark.parametrize("mode", ["single", "async", "batch"])
def test_a_model_has_a_time_of_its_own(executor: Executor, engines: list[Engine], models: list[Any], mode: str) -> None:
    free = threading.Event()

    def hang(request: Any) -> None:
        free.wait(20)

    engines[0].failure = hang
    policy = ModelPolicy([{"lm": models[0], "timeout": 0.05}, models[1]])
    try:
        if mode == "single":
            result = executor.execute_signature("Ask", {"question": "a"}, lm=policy)
        elif mode == "async":
            result = asyncio.run(executor.aexecute_signature("Ask", {"question": "a"}, lm=policy))
        else:
            result = executor.execute_batch("Ask", [{"question": "a"}], lm=policy, progress=False).succeeded[0]
        assert (result.model, result.attempts[0].outcome) == (NAMES[1], "abandoned")
        with pytest.raises(DeadlineExceeded):  # where the whole execution has no more time, no other model is asked
            executor.execute_signature("Ask", {"question": "b"}, lm=ModelPolicy(models), timeout=0.05)
        assert engines[1].calls == 1
    finally:
        free.set()


def test_where_all_fail_the_last_error_names_all(
    executor: Executor, engines: list[Engine], models: list[Any], tracker: ListeningTracker
) -> None:
    for engine in engines:
        engine.failure = raising(raised.LMServerError, "500")
    with pytest.raises(LanguageModelError, match=NAMES[2]) as caught:
        executor.execute_signature("Ask", {"question": "a"}, lm=ModelPolicy(models))
    assert [attempt.model for attempt in caught.value.attempts] == list(NAMES)
    assert all(name in caught.value.__notes__[0] for name in NAMES)
    assert tracker.executions[-1].status == "failed"


def test_a_model_that_keeps_failing_is_passed_over(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    policy = ModelPolicy(models[:2], failures=2, reset_after=1000)
    executor.execute_signature("Ask", {"question": "stored"}, lm=policy)  # by the first
    engines[0].failure = raising(raised.LMServerError, "500")
    for number in range(4):
        executor.execute_signature("Ask", {"question": str(number)}, lm=policy)
    assert [engine.calls for engine in engines[:2]] == [3, 4]  # the circuit of the first is open after two failures
    # Its stored answers are passed over with it.
    assert executor.execute_signature("Ask", {"question": "stored"}, lm=policy).model == NAMES[1]
    engines[1].failure = raising(raised.LMServerError, "500")
    for _ in range(2):
        with pytest.raises(LanguageModelError):
            executor.execute_signature("Ask", {"question": "new"}, lm=policy)
    with pytest.raises(LanguageModelUnavailable, match=r"own/first failed before .*; own/second") as caught:
        executor.execute_signature("Ask", {"question": "new"}, lm=policy)
    assert 0 < (caught.value.retry_after or 0) <= 1000


def test_a_model_that_recovers_is_asked_first_again(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    policy = ModelPolicy(models[:2], failures=1, reset_after=0.01)
    engines[0].failure = raising(raised.LMServerError, "500")
    executor.execute_signature("Ask", {"question": "a"}, lm=policy)
    while policy.circuits[0].seconds_left:
        pass
    engines[0].failure = None
    assert executor.execute_signature("Ask", {"question": "b"}, lm=policy).model == NAMES[0]


def test_a_model_that_cannot_be_loaded_is_shown(executor: Executor, models: list[Any]) -> None:
    result = executor.execute_signature("Ask", {"question": "a"}, lm=ModelPolicy(["nonsense", models[0]]))
    assert (result.model, result.attempts[0].model, result.attempts[0].usage.calls) == (NAMES[0], "nonsense", 0)
    assert "nonsense" in (result.attempts[0].error or "")
    named = asyncio.run(executor.aexecute_signature("Ask", {"question": "b"}, lm=ModelPolicy(["nonsense", models[0]])))
    assert named.model == NAMES[0]


def test_a_model_in_the_middle_that_cannot_be_loaded_is_shown(
    executor: Executor, engines: list[Engine], models: list[Any], tracker: ListeningTracker
) -> None:
    engines[0].failure = raising(raised.LMServerError, "500")
    policy = ModelPolicy([models[0], "nonsense", models[1]])
    result = executor.execute_signature("Ask", {"question": "a"}, lm=policy)
    assert [(attempt.number, attempt.model) for attempt in result.attempts] == [
        (1, NAMES[0]),
        (2, "nonsense"),
        (3, NAMES[1]),
    ]
    # Each attempt belongs to one stage, by which tracing finds its time.
    assert sum(stage.name == "language_model" for stage in tracker.executions[-1].stages) == 3
    with pytest.raises(LanguageModelUnavailable) as caught:
        executor.execute_signature("Ask", {"question": "a"}, lm=ModelPolicy(["nonsense", "nothing"]))
    assert [attempt.model for attempt in caught.value.attempts] == ["nonsense", "nothing"]


def test_a_stream_ends_with_the_answer_of_the_model_that_gave_it(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    engines[0].failure = unreadable
    with executor.stream_signature("Ask", {"question": "a"}, lm=ModelPolicy(models)) as events:
        last = list(events)[-1]
    assert isinstance(last, StreamFinished)
    assert last.result.model == NAMES[1]


def test_parameters_of_a_model_are_its_own(executor: Executor, engines: list[Engine], models: list[Any]) -> None:
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.append((request.config.temperature, request.config.max_tokens))

    engines[0].failure = look
    policy = ModelPolicy([{"lm": models[0], "parameters": {"temperature": 0.1, "max_tokens": 5}}])
    executor.execute_signature("Ask", {"question": "a"}, lm=policy, parameters={"temperature": 0.9})
    assert seen == [(0.9, 5)]
    assert executor.execute_signature("Ask", {"question": "a"}, lm=policy).cached is None


def test_equal_rows_share_the_calls_of_every_model(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    engines[0].failure = raising(raised.LMServerError, "500")
    rows = [{"question": str(number % 3)} for number in range(60)]
    result = executor.execute_batch("Ask", rows, lm=ModelPolicy(models, failures=None), progress=False)
    assert {outcome.model for outcome in result.succeeded} == {NAMES[1]}
    assert len(result.succeeded) == 60
    assert engines[1].calls == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelPolicy([]), "no model"),
        (lambda: ModelPolicy("openai/x"), "expected a list"),
        (lambda: ModelPolicy([{"model": "a/b"}]), "has lm, parameters and timeout"),
        (lambda: ModelPolicy([{"lm": "a/b", "parameters": {"n": 2}}]), "a/b: parameters: n: cannot be set"),
        (lambda: ModelPolicy([{"lm": "a/b", "timeout": -1}]), "a/b: timeout"),
        (lambda: ModelPolicy([ModelPolicy(["a/b"])]), "is a name, a dspy.LM"),
        (lambda: ModelPolicy(["a/b"], move_on=["RateLimitError"]), "did you mean 'RateLimitedError'"),
        (lambda: ModelPolicy(["a/b"], move_on=[BudgetExceeded]), "always ends an execution"),
        (lambda: ModelPolicy(["a/b"], failures=0), "failures=0"),
        (lambda: ModelPolicy(["a/b"], reset_after=0), "reset_after=0"),
    ],
)
def test_policies_that_cannot_work_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


# -- the circuit ----------------------------------------------------------------------------------------------------


def test_a_circuit_opens_and_lets_one_probe_through() -> None:
    now = [100.0]
    circuit = Circuit(2, 10.0, lambda: now[0])
    circuit.failed()
    assert circuit.admit()
    circuit.succeeded()  # failures count in a row
    circuit.failed()
    assert circuit.admit()
    circuit.failed()
    assert (circuit.admit(), circuit.seconds_left) == (False, 10.0)
    now[0] += 10
    assert [circuit.admit(), circuit.admit()] == [True, False]  # one probes, the others wait for what it finds
    circuit.failed()
    assert (circuit.admit(), circuit.seconds_left) == (False, 10.0)
    now[0] += 10
    assert circuit.admit()
    circuit.released()  # it was cancelled, and found nothing
    assert circuit.admit()
    circuit.succeeded()
    assert (circuit.admit(), circuit.admit(), circuit.seconds_left) == (True, True, 0.0)


def test_a_probe_that_never_ends_is_given_up() -> None:
    now = [0.5]
    circuit = Circuit(1, 10.0, lambda: now[0])
    circuit.failed()
    now[0] += 10
    assert circuit.admit()
    now[0] += 9
    assert not circuit.admit()
    now[0] += 1
    assert circuit.admit()


# -- names and the project file -------------------------------------------------------------------------------------

PROJECT = """
lm = "robust"

[models.fast]
model = "own/fast"
api_base = "http://127.0.0.1:9"
parameters = { temperature = 0.2 }
timeout = 3

[models.robust]
models = ["fast", "own/other"]
failures = 5
reset_after = 30

[prices."own/fast"]
input = 1
output = 2
"""


def test_a_project_file_names_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hokusai.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    with Executor(plugins=[]) as executor:
        policy = executor.models.choose()
        assert isinstance(policy, ModelPolicy)
        assert [model.name for model in policy.models] == ["own/fast", "own/other"]
        assert (policy.models[0].parameters, policy.models[0].timeout) == ({"temperature": 0.2}, 3)
        assert policy.models[0].lm.kwargs["api_base"] == "http://127.0.0.1:9"
        assert executor.models.choose("robust") is policy  # its circuits are kept
        assert executor.models.choose("fast").models[0].name == "own/fast"
        assert executor.config["prices"].source == "file hokusai.toml"
        assert executor.config["lm"].source == "project file"
    monkeypatch.setenv("HOKUSAI_LM", "own/variable")
    with Executor(plugins=[]) as executor:
        assert executor.models.choose() == "own/variable"
    with Executor(plugins=[], lm="fast") as executor:
        assert executor.models.choose().models[0].name == "own/fast"
    with Executor(plugins=[], environ={}) as executor:  # a host decides alone
        assert executor.models.choose() is None
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with Executor(plugins=[], environ={"HOKUSAI_CONFIG": str(tmp_path / "hokusai.toml")}) as executor:
        assert executor.models.choose("fast").models[0].name == "own/fast"
    (elsewhere / "pyproject.toml").write_text('[tool.hokusai]\nlm = "own/tool"\n')
    monkeypatch.delenv("HOKUSAI_LM")
    with Executor(plugins=[]) as executor:
        assert executor.models.choose() == "own/tool"


@pytest.mark.parametrize(
    "table",
    [
        '[tool.hokusai]\nlm = "own/tool"',
        ' [ "tool" . \'hokusai\' ]\nlm = "own/tool"',
        '[tool]\nhokusai = {lm = "own/tool"}',
        'tool.hokusai.lm = "own/tool"',
        'tool = {hokusai = {lm = "own/tool"}}',
        '[project.entry-points.x]\nhokusai = "y"\n[tool.hokusai]\nlm = "own/tool"',
    ],
)
def test_the_table_of_a_project_may_be_written_in_every_way_of_toml(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOKUSAI_LM", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(table + "\n")
    with Executor(plugins=[]) as executor:
        assert executor.models.choose() == "own/tool"


def test_a_key_comes_from_the_environment() -> None:
    table = {"model": "own/x", "api_key_env": "OWN_KEY"}
    with Executor(plugins=[], models={"mine": table}, environ={"OWN_KEY": "sk-1234567890"}) as executor:
        assert executor.models.choose("mine").models[0].lm.kwargs["api_key"] == "sk-1234567890"
    with (
        Executor(plugins=[], models={"mine": table}, environ={}) as executor,
        pytest.raises(ConfigurationError, match="the environment variable OWN_KEY is not set"),
    ):
        executor.models.choose("mine")


@pytest.mark.parametrize(
    ("tables", "name", "message"),
    [
        ({"a": {"model": "x/y", "api_key": "sk-1"}}, "a", "there is no 'api_key'; did you mean 'api_key_env'"),
        ({"a": {"parameters": {}}}, "a", "models.a: model: expected a name"),
        ({"a": {"model": "x/y", "options": {"api_key": "sk-1"}}}, "a", "credentials stay in the environment"),
        ({"a": {"models": ["b"]}, "b": {"models": ["x/y"]}}, "a", "b is a policy"),
        ({"a": {"models": "x/y"}}, "a", "expected a list of names"),
        ({"a": {"models": ["x/y"], "timeout": 3}}, "a", "there is no 'timeout'"),
        ({"a": {"models": ["x/y", ""]}}, "a", "models.a: lm='': a model of a policy is a name"),
        ({"a": {"model": "x/y", "api_base": 5}}, "a", "models.a: api_base: expected an address"),
    ],
)
def test_tables_that_cannot_work_are_refused(tables: Any, name: str, message: str) -> None:
    with Executor(plugins=[], models=tables, environ={}) as executor:
        with pytest.raises(ConfigurationError, match=message) as caught:
            executor.models.choose(name)
        assert "sk-1" not in str(caught.value)


def test_a_project_file_with_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hokusai.toml").write_text("model = 3\n")
    with pytest.raises(ConfigurationError, match=r"hokusai.toml: there is no setting 'model'; did you mean 'models'"):
        Executor(plugins=[])
    (tmp_path / "hokusai.toml").write_text("lm = \n")
    with pytest.raises(ConfigurationError, match=r"hokusai.toml cannot be read"):
        Executor(plugins=[])
    with pytest.raises(ConfigurationError, match=r"the file none\.toml does not exist"):
        Executor(plugins=[], environ={"HOKUSAI_CONFIG": "none.toml"})


def test_a_table_may_have_the_name_of_its_model(executor: Executor, models: list[Any]) -> None:
    tables = {"own/first": {"model": "own/first", "parameters": {"temperature": 0}}, "both": {"models": ["own/first"]}}
    with Executor(plugins=[], models=tables, environ={}) as made:
        for name in tables:
            found = made.language_model(name).lm
            assert (found.model, found.kwargs["temperature"]) == ("own/first", 0)


def test_a_policy_takes_all_settings_of_the_tables_that_it_names(engines: list[Engine], models: list[Any]) -> None:
    class Offers:
        @hookimpl
        def provide_language_models(self) -> list[Component]:
            return [Component(name="own", target=lambda: Provider())]

    class Provider:
        def available(self) -> None:
            return None

        def load(self, name: str) -> LanguageModel:
            return LanguageModel(models[int(name)])

        def close(self) -> None:
            pass

    tables = {
        "slow": {"model": "own/0", "timeout": 0.2, "parameters": {"temperature": 0.5, "seed": 7}},
        "several": {"models": ["own/0", "own/1"]},
    }
    seen: list[Any] = []

    def hang(request: Any) -> None:
        seen.append(request.config)
        threading.Event().wait(1)

    engines[0].failure = hang
    with Executor(plugins=[], extra_plugins=[("own", Offers())], models=tables, environ={}, timeout=20) as executor:
        executor.register_signature("Ask", "question -> answer")
        policy = ModelPolicy([{"lm": "slow", "parameters": {"temperature": 1.5}}, "own/1"])
        result = executor.execute_signature("Ask", {"question": "?"}, lm=policy)
        assert result.model == "own/second"
        assert "timeout of 0.2 s" in str(result.attempts[0].error)
        assert (seen[0].temperature, seen[0].seed) == (1.5, 7)
        assert executor.language_model(policy).lm.kwargs["seed"] == 7
        with pytest.raises(ConfigurationError, match="several is a policy, and a policy consists of single models"):
            executor.execute_signature("Ask", {"question": "?"}, lm=ModelPolicy(["several", "own/1"]))


@pytest.mark.parametrize("mode", ["batch", "async batch", "iterated"])
def test_a_batch_begins_though_the_first_model_cannot_be_loaded(
    executor: Executor, models: list[Any], mode: str, tmp_path: Path
) -> None:
    policy = ModelPolicy(["http://127.0.0.1:9/v1#nothing", models[1]])  # no plugin here takes an address
    rows = [{"question": "?"}, {"question": "!"}]
    journal = tmp_path / "journal"
    if mode == "batch":
        results = list(executor.execute_batch("Ask", rows, lm=policy, journal=journal))
    elif mode == "async batch":
        results = list(asyncio.run(executor.aexecute_batch("Ask", rows, lm=policy, journal=journal)))
    else:
        results = [row.outcome for row in executor.iter_batch("Ask", rows, lm=policy, journal=journal)]
    assert [getattr(result, "model", result) for result in results] == ["own/second"] * 2


def test_a_journal_continues_under_the_same_policy_without_a_word(
    executor: Executor, engines: list[Engine], models: list[Any], tmp_path: Path
) -> None:
    engines[0].failure = FAILURES["server"][0]
    policy, journal = ModelPolicy(models[:2]), tmp_path / "journal"
    rows = [{"question": "?"}, {"question": "!"}]
    executor.execute_batch("Ask", rows, lm=policy, journal=journal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = executor.execute_batch("Ask", rows, lm=policy, journal=journal)
    assert [(result.model, result.cached) for result in again.succeeded] == [("own/second", "journal")] * 2
    with pytest.warns(JournalWarning, match="2 of its rows were answered by own/second and are kept; for answers of "
                      "own/first and own/third give another path"):  # fmt: skip
        executor.execute_batch("Ask", rows, lm=ModelPolicy([models[0], models[2]]), journal=journal)


def test_the_cache_is_explained_for_the_model_that_would_be_asked(
    executor: Executor, engines: list[Engine], models: list[Any]
) -> None:
    engines[0].failure = FAILURES["server"][0]
    policy = ModelPolicy(models[:2], failures=1)
    assert executor.explain("Ask", {"question": "?"}, lm=policy).hit is None
    executor.execute_signature("Ask", {"question": "?"}, lm=policy)
    found = executor.explain("Ask", {"question": "?"}, lm=policy)
    assert found.hit == "memory"
    assert found.stored is not None
    assert found.stored.model == "own/second"
    assert executor.execute_signature("Ask", {"question": "?"}, lm=policy).cached == "memory"
