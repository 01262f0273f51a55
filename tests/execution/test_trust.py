"""Answers that can be trusted: what enters a key, what a check may do, what an error shows, what a ceiling holds."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
import traceback
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import dspy
import numpy
import pytest
from dspy.lm15 import ServerError

from hokusai_core import Budget, Component, Executor, hookimpl
from hokusai_core.caching import MemoryCache
from hokusai_core.dspy_bridge.answer_reader import AnswerReader
from hokusai_core.errors import (
    BatchError,
    BudgetExceeded,
    CacheWarning,
    ConfigurationError,
    ExecutionError,
    HokusaiError,
    InputError,
    LanguageModelError,
    PluginError,
)
from hokusai_core.redaction import scrub
from hokusai_core.results import Usage
from hokusai_core.signatures.input_binder import InputBinder
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache

MakeExecutor = Callable[..., Executor]


def key_with(folder: Path, **parameters: Any) -> Any:
    """Return the key of an execution with these parameters, and the explanation of its parts."""
    lm = null_lm()
    lm.kwargs.update(parameters)
    with Executor(lm=lm, plugins=[], cache=DiskCache(folder)) as executor:
        executor.register_signature("Answer", "question -> answer")
        explanation = executor.explain("Answer", {"question": "?"})
        return explanation.key, str(explanation.parts)


@pytest.mark.parametrize(
    "parameters",
    [
        {"extra_headers": {"X-Tenant": "2"}},
        {"organization": "b"},
        {"project": "p"},
        {"knowledge_key": "kb"},
        {"sig_style": "casual"},
        {"extra_body": {"knowledge_key": "kb"}},
        {"api_base": "http://127.0.0.1/v1?sig_style=casual"},
        {"stop_token": "casual"},
        {"cookies": "tenant=casual"},
        {"eos_token": "casual"},
        {"secret_word": "casual"},
        {"authorization_level": 2},
        {"extra_headers": {"Cookie": "tenant=casual"}},
        {"extra_body": {"options": {"pad_token": "casual"}}},
    ],
)
def test_each_parameter_is_part_of_the_key_and_none_is_stored_in_clear(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    key, parts = key_with(tmp_path, **parameters)
    assert key != key_with(tmp_path)[0]
    assert key == key_with(tmp_path, **parameters)[0]
    assert key != key_with(tmp_path / "other", **parameters)[0], "it enters with the secret of the store"
    assert "casual" not in parts
    assert "X-Tenant" not in parts


@pytest.mark.parametrize(
    "credentials",
    [
        ({"api_key": "one"}, {"api_key": "two"}),
        ({"extra_headers": {"Authorization": "Bearer 1"}}, {"extra_headers": {"Authorization": "Bearer 2"}}),
        ({"azure_ad_token": "one"}, {"azure_ad_token": "two"}),
        ({"aws_session_token": "one"}, {"aws_session_token": "two"}),
        ({"client_secret": "one"}, {"client_secret": "two"}),
        ({"extra_headers": {"x-api-key": "one"}}, {"extra_headers": {"x-api-key": "two"}}),
    ],
)
def test_another_credential_has_the_same_key(credentials: Any, tmp_path: Path) -> None:
    before, after = credentials
    assert key_with(tmp_path, **before) == key_with(tmp_path, **after)


class Effort(StrEnum):
    LOW = "low"
    HIGH = "high"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Effort.LOW, Effort.HIGH),
        (numpy.str_("a"), numpy.str_("b")),
        ({"a"}, {"b"}),
        (b"a", b"b"),
        (("a", "b"), ("ab",)),
    ],
)
def test_values_of_every_type_tell_parameters_apart(one: Any, other: Any, tmp_path: Path) -> None:
    assert key_with(tmp_path, effort=one)[0] != key_with(tmp_path, effort=other)[0]


class Styled(dspy.ChatAdapter):
    """An adapter with a setting of its own."""

    def __init__(self, style: Any) -> None:
        super().__init__()
        self.style = style


@pytest.mark.parametrize(
    ("one", "other"), [({"s": "a"}, {"s": "b"}), (("a",), ("b",)), (Effort.LOW, Effort.HIGH), (["a", "b"], ["b", "a"])]
)
def test_settings_of_an_adapter_are_part_of_the_key(one: Any, other: Any, make_executor: MakeExecutor) -> None:
    keys = {make_executor(adapter=Styled(style)).explain("Answer", {"question": "?"}).key for style in (one, other)}
    assert len(keys) == 2


def test_the_role_of_instructions_is_part_of_the_key(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    before = executor.explain("Answer", {"question": "?"}).key
    lm.use_developer_role = True
    assert executor.explain("Answer", {"question": "?"}).key != before


@pytest.mark.parametrize(("one", "other"), [("a", " a"), ("a", "a "), ("a", "A")])
def test_namespaces_are_told_apart_as_they_are_written(
    one: str, other: str, tmp_path: Path, make_executor: MakeExecutor
) -> None:
    results = [
        make_executor(namespace=name, cache=DiskCache(tmp_path)).execute_signature("Answer", {"question": "?"})
        for name in (one, other)
    ]
    assert [result.cached for result in results] == [None, None]


class Rewrites:
    def validate_inputs(self, signature: Any, inputs: Any) -> list[Any]:
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Any]:
        outputs["answers"].append("smuggled in")
        return []


class Rebinds(Rewrites):
    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Any]:
        outputs["answers"] = object()
        return []


class Plugin:
    def __init__(self, validator: Any = None, change: Any = None) -> None:
        self.validator, self.change = validator, change

    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [] if self.validator is None else [Component("rewrites", self.validator)]

    @hookimpl
    def transform_outputs(self, outputs: Any) -> Any:
        return None if self.change is None else self.change(outputs)


def many(make_executor: MakeExecutor, plugin: Plugin, **arguments: Any) -> Any:
    lm = null_lm(answers={"answers": ["a"]})
    executor = make_executor(lm=lm, extra_plugins=[("p", plugin)], **arguments)
    return executor.execute_signature("Many", {"question": "?"})


def test_a_validator_changes_nothing(make_executor: MakeExecutor) -> None:
    assert many(make_executor, Plugin(Rewrites))["answers"] == ["a"]
    with pytest.raises(PluginError, match="rewrites"):
        many(make_executor, Plugin(Rebinds))


def test_a_hook_changes_outputs_before_they_are_stored(make_executor: MakeExecutor) -> None:
    plugin = Plugin(change=lambda outputs: {"answers": [*outputs["answers"], "b"]})
    executor = make_executor(lm=null_lm(answers={"answers": ["a"]}), extra_plugins=[("p", plugin)])
    results = [executor.execute_signature("Many", {"question": "?"}) for _ in range(2)]
    assert [(result["answers"], result.cached) for result in results] == [(["a", "b"], None), (["a", "b"], "memory")]


def test_changed_outputs_are_checked_again(make_executor: MakeExecutor) -> None:
    for change in (lambda _: {"answers": 7}, lambda _: {}, lambda _: {"answers": [], "more": 1}, lambda _: 1 / 0):
        with pytest.raises(PluginError, match="transform_outputs of plugin 'p"):
            many(make_executor, Plugin(change=change))


def test_who_changes_outputs_is_part_of_the_key(tmp_path: Path, make_executor: MakeExecutor) -> None:
    plain = make_executor(lm=null_lm(answers={"answers": ["a"]}), cache=DiskCache(tmp_path))
    assert plain.execute_signature("Many", {"question": "?"})["answers"] == ["a"]
    plugin = Plugin(change=lambda _: {"answers": ["redacted"]})
    assert many(make_executor, plugin, cache=DiskCache(tmp_path))["answers"] == ["redacted"]


KEY = "canarykey" + "ABCDEFG123456"


class RawEngine:
    supports_function_calling = supports_reasoning = supports_response_schema = False
    supported_params: frozenset[str] = frozenset()

    def __init__(self, error: Exception | None = None) -> None:
        self.calls, self.error = 0, error

    def complete(self, request: Any) -> Any:
        self.calls += 1
        try:
            raise ConnectionError(f"POST failed, headers: Authorization: Bearer {KEY}")
        except ConnectionError as cause:
            raise self.error or ServerError(f"upstream: Bearer {KEY}", status=500) from cause


def raw_lm(engine: RawEngine) -> Any:
    return dspy.LM("raw/one", engine=engine, cache=False, num_retries=0)


def test_no_traceback_shows_a_credential(make_executor: MakeExecutor) -> None:
    with pytest.raises(ExecutionError) as caught:
        make_executor(lm=raw_lm(RawEngine())).execute_signature("Answer", {"question": "?"})
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told
    assert "ConnectionError: POST failed" in told


def raise_note() -> None:
    error = ServerError("failed", status=500)
    error.add_note(f"sent Authorization: Bearer {KEY}")
    raise error


def raise_group() -> None:
    inner = ConnectionError("inner")
    inner.__cause__ = ValueError(f"api_key={KEY}")
    raise ExceptionGroup("many", [ExceptionGroup("within", [inner])])


def raise_from_group() -> None:
    inner = ConnectionError("inner")
    inner.add_note(f"Bearer {KEY}")
    raise ServerError("failed", status=500) from ExceptionGroup("many", [inner])


def raise_own() -> None:
    raise LanguageModelError(f"the server refused Bearer {KEY}") from ConnectionError(f"sk-{KEY}")


def raise_own_in_context() -> None:
    try:
        raise KeyError(f"token={KEY}")
    except KeyError:
        raise LanguageModelError("the server refused") from ConnectionError(f"Bearer {KEY}")


@pytest.mark.parametrize("fail", [raise_note, raise_group, raise_from_group, raise_own, raise_own_in_context])
def test_no_note_group_or_error_of_an_engine_shows_a_credential(
    fail: Callable[[], None], make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(RawEngine):
        def complete(self, request: Any) -> Any:
            fail()

    executor = make_executor(lm=raw_lm(Failing()))
    with caplog.at_level("DEBUG"), pytest.raises(ExecutionError) as caught:
        executor.execute_signature("Answer", {"question": "?"}, retry_on_failure=True, max_retries=1, timeout=20)
    with pytest.raises(BatchError) as batch:
        executor.execute_batch("Answer", [{"question": "a"}, {"question": "b"}], progress=False, on_error="raise")
    told = [*traceback.format_exception(caught.value), *traceback.format_exception(batch.value)]
    assert KEY not in "".join([*told, caplog.text, str(caught.value.attempts), str(executor.stats())])


def test_no_error_quotes_a_whole_request(make_executor: MakeExecutor) -> None:
    engine = RawEngine(ServerError("cannot read: " + "confidential " * 500, status=500))
    with pytest.raises(ExecutionError) as caught:
        make_executor(lm=raw_lm(engine)).execute_signature("Answer", {"question": "?"})
    assert "".join(traceback.format_exception(caught.value)).count("confidential") < 80


def test_a_ceiling_on_cost_refuses_what_has_no_price(make_executor: MakeExecutor) -> None:
    engine = RawEngine()
    executor = make_executor(lm=raw_lm(engine))
    with pytest.raises(BudgetExceeded, match="no price of raw/one is known"):
        executor.execute_signature("Answer", {"question": "?"}, budget=Budget(cost=1))
    assert engine.calls == 0
    with pytest.raises(ExecutionError):
        executor.execute_signature("Answer", {"question": "?"}, budget=Budget(cost=1, unpriced="allow"))
    assert engine.calls == 1
    with pytest.raises(ConfigurationError, match="unpriced"):
        Budget(cost=1, unpriced="perhaps")  # type: ignore[arg-type]


def test_a_null_language_model_costs_nothing(make_executor: MakeExecutor) -> None:
    budget = Budget(cost=0.01)
    result = make_executor().execute_signature("Answer", {"question": "?"}, budget=budget)
    assert (result.cost, budget.spent_cost) == (0.0, 0.0)


def scrubbing_steps(size: int, unit: str) -> int:
    """Return how many times the pattern engine looks at a character, measured by doubling: see the test below."""
    import time

    text, best = unit * size, float("inf")
    for _ in range(3):
        began = time.process_time()
        scrub(text)
        best = min(best, time.process_time() - began)
    return int(best * 1e6)


@pytest.mark.parametrize("unit", ["a-", "token ", "token=", "bearer ", "http://a:", "sk-", "\"'", "  ", "secret = '"])
def test_scrubbing_takes_linear_time(unit: str) -> None:
    """Sixteen times the text takes about sixteen times as long; a quadratic pattern takes 256 times as long."""
    small, large = scrubbing_steps(4_000, unit), scrubbing_steps(64_000, unit)
    assert large < 64 * max(small, 300)


class Leaking:
    """Every kind of component at once; what it raises quotes a credential."""

    tier, secret = "leaking", b"s" * 32

    def _leak(self, *_arguments: Any, **_options: Any) -> Any:
        try:
            raise OSError(f"https://user:{KEY}@example.com/ failed")
        except OSError as error:
            raise ConnectionError(f"Authorization: Bearer {KEY}") from error

    get = put = load = record = flush = status = validate_outputs = _leak

    def available(self) -> None:
        return None

    def validate_inputs(self, signature: Any, inputs: Any) -> list[Any]:
        return []

    async def aget(self, key: str) -> Any:
        self._leak()

    async def aput(self, entry: Any) -> None:
        self._leak()

    async def aflush(self, timeout: float | None = None) -> bool:
        return bool(self._leak())

    def close(self) -> None:
        return None


def never_made() -> Any:
    Leaking()._leak()


class LeakingPlugin:
    def __init__(self, kind: str, target: Any) -> None:
        self.kind, self.target = kind, target

    def _offer(self, kind: str) -> list[Component]:
        return [Component("leaking", self.target)] if kind == self.kind else []

    @hookimpl
    def provide_language_models(self) -> list[Component]:
        return self._offer("lm")

    @hookimpl
    def provide_caches(self) -> list[Component]:
        return self._offer("cache")

    @hookimpl
    def provide_trackers(self) -> list[Component]:
        return self._offer("trackers")

    @hookimpl
    def provide_validators(self) -> list[Component]:
        return self._offer("validator")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [Leaking, never_made], ids=["used", "made"])
@pytest.mark.parametrize("kind", ["lm", "cache", "trackers", "validator"])
def test_no_error_or_warning_about_a_component_shows_a_credential(
    kind: str, target: Any, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {} if kind == "validator" else {kind: ["leaking"] if kind == "trackers" else "leaking"}
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught, caplog.at_level("DEBUG"):
        warnings.simplefilter("always")
        try:
            plugins = [("p", LeakingPlugin(kind, target))]
            with Executor(**{"lm": null_lm(), **options}, plugins=[], extra_plugins=plugins, environ={}) as executor:
                executor.register_signature("Answer", "question -> answer")
                executor.execute_signature("Answer", {"question": "?"})
                told.append(str(executor.stats()))
        except HokusaiError as error:
            told += traceback.format_exception(error)
        told += [str(warning.message) for warning in caught]
    assert "ConnectionError" in "".join(told) or kind == "cache"
    assert "[redacted]" in "".join(told)
    assert KEY not in "".join([*told, caplog.text])


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -5.0])
def test_a_price_that_is_none_closes_a_ceiling_on_cost(cost: float) -> None:
    budget = Budget(cost=1)
    budget.charge(Usage(1, 1, 1), cost, "odd/model")
    assert budget.spent_cost == 0
    with pytest.raises(BudgetExceeded, match="no price of odd/model is known"):
        budget.reserve()


class Refusal(Exception):
    """What a gate of a host raises."""


class OddRefusal(Exception):
    def __str__(self) -> str:
        return f"api_key={KEY}"


def gate_raising(error: Exception, cause: Exception | None = None) -> Any:
    class Gate:
        @hookimpl
        def check_execution(self) -> None:
            raise error from cause

    return Gate()


def test_a_refusal_of_a_gate_shows_no_credential(make_executor: MakeExecutor) -> None:
    for error, cause in (
        (Refusal(f"policy server says api_key={KEY} is blocked"), None),
        (Refusal("blocked"), OSError(f"token={KEY}")),
        (OddRefusal(), None),
    ):
        executor = make_executor(extra_plugins=[("gate", gate_raising(error, cause))])
        with pytest.raises(Exception) as caught:  # noqa: PT011  # its class is looked at below
            executor.execute_signature("Answer", {"question": "?"})
        told = "".join(traceback.format_exception(caught.value))
        assert KEY not in told
        assert "refused by check_execution of plugin 'gate'" in told
        assert isinstance(caught.value, Refusal) or isinstance(error, OddRefusal)


def test_a_plain_refusal_of_a_gate_stays_itself(make_executor: MakeExecutor) -> None:
    error, cause = Refusal("not on Sundays"), KeyError("calendar")
    executor = make_executor(extra_plugins=[("gate", gate_raising(error, cause))])
    with pytest.raises(Refusal, match="not on Sundays") as caught:
        executor.execute_signature("Answer", {"question": "?"})
    assert caught.value is error
    assert caught.value.__cause__ is cause


class Secretless(MemoryCache):
    """A persistent cache whose secret anyone can guess."""

    tier = "odd"

    def __init__(self, secret: Any) -> None:
        super().__init__()
        self.secret = secret


def late(secret: Any) -> Any:
    """Return a cache that has such a secret, and finds it only when it is asked."""
    kind = type("Late", (MemoryCache,), {"tier": "odd", "secret": property(lambda self: secret, lambda *_: None)})
    return kind()


@pytest.mark.parametrize("secret", [None, "text", b"", bytearray(b"0123456789abcdef")])
def test_a_cache_without_a_secret_hashes_nothing(secret: Any, make_executor: MakeExecutor) -> None:
    with pytest.raises(ConfigurationError, match="its secret "):
        make_executor(cache=Secretless(secret))
    executor = make_executor(cache=late(secret))
    with pytest.warns(CacheWarning, match="its secret "):
        executor.execute_signature("Answer", {"question": "?"})


def test_the_message_about_very_many_inputs_is_short(make_executor: MakeExecutor) -> None:
    inputs = {f"no_such_{number}": 1 for number in range(20_000)}
    with pytest.raises(InputError, match="and 19951 more problems") as caught:
        make_executor().execute_signature("Answer", inputs)
    assert len(str(caught.value)) < 10_000
    assert len(caught.value.problems) == 20_001


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_a_prompt_shows_the_whole_utc_offset(adapter: str, make_executor: MakeExecutor) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1, seconds=30))
    moment = datetime.datetime(2020, 1, 2, tzinfo=zone)
    lm = null_lm(keep_requests=True)
    executor = make_executor(lm=lm, adapter=adapter)
    executor.register_signature("When", "at: datetime, all: list[datetime], by_name: dict[str, time] -> answer")
    inputs = {"at": moment, "all": [moment], "by_name": {"x": moment.timetz()}}
    with contextlib.suppress(ExecutionError):  # the null language model speaks the chat format
        executor.execute_signature("When", inputs)
    assert str(lm.engine.requests[-1]).count("+01:00:30") == 3


def test_the_state_of_an_asynchronous_engine_is_part_of_the_key(make_executor: MakeExecutor) -> None:
    class Engine(RawEngine):
        def __init__(self, state: str) -> None:
            super().__init__()
            self.state = state

        def dump_state(self) -> dict[str, str]:
            return {"state": self.state}

    class AsyncEngine(Engine):
        async def complete(self, request: Any) -> Any:
            return super().complete(request)

    keys = []
    for state in ("one", "other"):
        lm = dspy.LM("raw/one", engine=Engine("same"), async_engine=AsyncEngine(state))
        keys.append(make_executor(lm=lm).explain("Answer", {"question": "?"}).key)
    assert len(set(keys)) == 2


def test_a_huge_answer_is_read_beside_the_event_loop(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    read = AnswerReader.read

    def noted(reader: AnswerReader, answer: str) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return read(reader, answer)

    monkeypatch.setattr(AnswerReader, "read", noted)
    for size in (100, 300_000):
        executor = make_executor(lm=null_lm(answers={"answer": "word " * (size // 5) + "end"}))
        result = asyncio.run(executor.aexecute_signature("Answer", {"question": "?"}))
        assert result["answer"].endswith("end")
    assert threads == [True, False]


def test_huge_inputs_are_bound_beside_the_event_loop(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    bind = InputBinder.bind

    def noted(binder: InputBinder, *arguments: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return bind(binder, *arguments)

    monkeypatch.setattr(InputBinder, "bind", noted)
    executor = make_executor(lm=null_lm())
    executor.register_signature("Count", "words: list[str], number: int -> answer")
    for size in (10, 100_000):
        words = ", ".join(["word"] * size)
        result = asyncio.run(executor.aexecute_signature("Count", {"words": words, "number": 1}))
        assert result["answer"]
    assert threads == [True, False]
    with pytest.raises(InputError, match="number"):
        asyncio.run(executor.aexecute_signature("Count", {"words": words, "number": "many"}))
