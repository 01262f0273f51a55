"""Answers that can be trusted: what enters a key, what a check may do, what an error shows, what a ceiling holds."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import ServerError

from hokusai_core import Budget, Component, Executor, hookimpl
from hokusai_core.dspy_bridge.error_map import scrub
from hokusai_core.errors import BudgetExceeded, ConfigurationError, ExecutionError, PluginError
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache

MakeExecutor = Callable[..., Executor]


def key_with(folder: Path, **parameters: Any) -> Any:
    """Return the key of an execution with these parameters, and what is told of its parts."""
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
    ],
)
def test_another_credential_has_the_same_key(credentials: Any, tmp_path: Path) -> None:
    before, after = credentials
    assert key_with(tmp_path, **before) == key_with(tmp_path, **after)


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
