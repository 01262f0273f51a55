"""What an execution gives back."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pydantic
import pytest

from hokusai_core import BaseSignature, ChainResult, ExecutionResult, Executor, InputField, OutputField, Usage
from hokusai_core.errors import InputError, SignatureNotFoundError
from hokusai_core.plugin_api import jsonable
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Sort(BaseSignature):
    """Sort a ticket."""

    ticket: str = InputField(aliases=("text",))
    labels: list[str] = InputField()
    age: int = InputField(default=3)
    label: str = OutputField(choices_from="labels")
    level: Literal["low", "high"] = OutputField()
    sure: float = OutputField(ge=0, le=1)


def test_it_is_a_read_only_mapping_of_the_outputs(make_executor: MakeExecutor) -> None:
    result = make_executor().execute_signature("Answer", {"question": "?"})
    assert isinstance(result, Mapping)
    assert (dict(result), list(result), len(result)) == ({"answer": "some answer"}, ["answer"], 1)
    assert result["execution_id"] == result.execution_id
    assert len(result.execution_id) == 32
    assert result == {"answer": "some answer"}
    assert "execution_id" not in set(result)
    with pytest.raises(TypeError):
        result["answer"] = "x"  # type: ignore[index]  # results are read-only, to the type checker too
    with pytest.raises(AttributeError):
        result.model = "x"  # type: ignore[misc]
    with pytest.raises(KeyError, match="'answr' is no output of local/Answer; it has answer"):
        result["answr"]


def test_attributes_tell_how_it_came_about(make_executor: MakeExecutor) -> None:
    result = make_executor().execute_signature("Answer", {"question": "?"})
    assert (result.signature, result.signature_version, result.model) == ("local/Answer", "1.0.0", "null/model")
    assert (result.usage, result.cached, result.cache_age, result.trace) == (Usage(10, 5, 1), None, None, None)
    assert [(attempt.number, attempt.outcome, attempt.usage) for attempt in result.attempts] == [
        (1, "ok", Usage(10, 5, 1))
    ]
    assert 0 < result.attempts[0].latency <= result.latency < 10
    assert len(result.fingerprint) == 32


def test_a_hit_tells_what_the_stored_answer_took(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=null_lm(delay=0.02))
    fresh = executor.execute_signature("Answer", {"question": "?"})
    hit = executor.execute_signature("Answer", {"question": "?"})
    assert hit == fresh
    assert hit.execution_id != fresh.execution_id
    assert (hit.cached, hit.usage, hit.cost, hit.attempts) == ("memory", Usage(), 0.0, ())
    assert hit.original_latency is not None
    assert hit.original_latency >= 0.02
    assert 0 <= (hit.cache_age or 0.0) < 10


def test_a_repr_shows_no_values(make_executor: MakeExecutor) -> None:
    result = make_executor(lm=null_lm(answers={"answer": "canary"})).execute_signature("Answer", {"question": "?"})
    assert "canary" not in repr(result)
    assert "local/Answer" in repr(result)


def test_outputs_are_typed_and_choices_hold(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.register_signature("Sort", Sort)
    result = executor.execute_signature("Sort", {"text": "It broke.", "labels": "refund, broken"})
    assert dict(result) == {"label": "refund", "level": "low", "sure": 0.5}


@pytest.mark.parametrize("cached", [True, False])
def test_fresh_and_stored_answers_are_the_same(make_executor: MakeExecutor, cached: bool) -> None:
    executor = make_executor(cache_enabled=cached, lm=null_lm(answers={"sure": 1}))
    executor.register_signature("Sort", Sort)
    first, second = (executor.execute_signature("Sort", {"text": "x", "labels": ["a"]}) for _ in range(2))
    assert first == second
    assert [type(value) for value in first.values()] == [type(value) for value in second.values()] == [str, str, float]


def test_a_class_can_be_run_without_being_registered(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    inputs = {"ticket": "x", "labels": ["a"]}
    first = executor.execute_signature(Sort, inputs)
    assert (first.signature, first["label"]) == ("local/Sort", "a")
    assert executor.execute_signature(Sort, inputs).cached == "memory"
    assert executor.check_inputs(Sort, inputs)["age"] == 3
    executor.register_signature("Triage", Sort)
    assert executor.execute_signature(Sort, inputs).signature == "local/Triage"


@pytest.mark.parametrize("name", [None, 5, ["Answer"], {"a": 1}, object()])
@pytest.mark.parametrize("mode", ["production", "testing"])
def test_what_names_no_signature(make_executor: MakeExecutor, name: Any, mode: str) -> None:
    executor = make_executor(mode=mode)
    with pytest.raises(SignatureNotFoundError, match="by its name or as a class"):
        executor.execute_signature(name, {"question": "?"})


def test_an_unknown_name_suggests_another(make_executor: MakeExecutor) -> None:
    with pytest.raises(LookupError, match="did you mean 'Answer'"):
        make_executor().execute_signature("Anwser", {"question": "?"})


def test_every_input_problem_is_told_before_anything_is_called(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("Sort", Sort)
    with pytest.raises(InputError) as caught:
        executor.execute_signature("Sort", {"tiket": "x", "labels": [], "age": "old"})
    found = {(problem.field, problem.code) for problem in caught.value.problems}
    assert found == {("tiket", "unknown"), ("ticket", "missing"), ("labels", "empty"), ("age", "wrong_type")}
    assert isinstance(caught.value, ValueError)
    assert lm.engine.calls == 0


@pytest.mark.parametrize("inputs", [None, [], "text", 5, [("question", "?")]])
def test_inputs_that_are_no_mapping(make_executor: MakeExecutor, inputs: Any) -> None:
    with pytest.raises(InputError, match="mapping"):
        make_executor().execute_signature("Answer", inputs)


def test_inputs_are_left_as_they_were(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.register_signature("Sort", Sort)
    inputs = {"text": "x", "labels": ["a", "b"]}
    executor.execute_signature("Sort", inputs)
    assert inputs == {"text": "x", "labels": ["a", "b"]}


def test_figures_add_up(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=null_lm(fail_first=1))
    with pytest.raises(RuntimeError):
        executor.execute_signature("Answer", {"question": "?"})
    for _ in range(3):
        executor.execute_signature("Answer", {"question": "?"})
    stats = executor.stats()
    assert (stats["executions"], stats["succeeded"], stats["failed"]) == (4, 3, 1)
    assert stats["errors"] == {"LanguageModelError": 1}
    assert stats["cache_hits"] == {"memory": 2}
    assert (stats["language_model_calls"], stats["input_tokens"], stats["output_tokens"]) == (2, 10, 5)
    assert stats["success_rate"] == 0.75


def test_outputs_are_read_by_attribute_and_by_key() -> None:
    result = ExecutionResult({"team": "billing", "stars": [1]}, "e1", "pack/Route")
    outputs: Any = result.outputs
    assert (outputs.team, outputs["team"], dict(outputs)) == ("billing", "billing", {"team": "billing", "stars": [1]})
    assert {"team", "stars"} <= set(dir(outputs))
    assert "billing" not in repr(outputs)
    assert json.loads(json.dumps(outputs)) == {"team": "billing", "stars": [1]}
    with pytest.raises(AttributeError, match="pack/Route has no output 'tean'; did you mean 'team'"):
        _ = outputs.tean
    outputs["team"] = "other"
    assert result["team"] == "billing"


def test_no_output_is_hidden_by_a_method() -> None:
    values = {name: name.upper() for name in ("items", "keys", "get", "values", "pop", "copy", "update", "outputs")}
    result = ExecutionResult(values, "e1", "pack/Route")
    outputs: Any = result.outputs
    for name, value in values.items():
        assert getattr(outputs, name) == outputs[name] == result[name] == value
    assert dict(outputs) == {**outputs} == values


class Level(enum.Enum):
    LOW = "low"


class Person(pydantic.BaseModel):
    name: str
    born: datetime.date


OF_ALL_TYPES = {
    "due": (datetime.date(2026, 1, 31), "2026-01-31"),
    "level": (Level.LOW, "low"),
    "amount": (decimal.Decimal("12.50"), "12.50"),
    "person": (Person(name="Ann", born=datetime.date(2000, 2, 29)), {"name": "Ann", "born": "2000-02-29"}),
    "nested": ({"a": [{datetime.time(9, 30)}]}, {"a": [["09:30:00"]]}),
    "stars": ([1, 2], [1, 2]),
}


@pytest.mark.parametrize("of_chain", [False, True])
def test_a_dict_of_a_result_has_types_and_its_json_has_forms(of_chain: bool) -> None:
    typed = {name: value for name, (value, _) in OF_ALL_TYPES.items()}
    result: Any = ExecutionResult(typed, "e1", "pack/Route")
    result = ChainResult({"only": result}, "only", 0.1) if of_chain else result
    assert dict(result) == {**result} == dict(result.outputs) == typed
    plain = {name: form for name, (_, form) in OF_ALL_TYPES.items()}
    assert json.loads(json.dumps(dict(result), default=jsonable)) == plain
    for twin in (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result)):  # noqa: S301  # own
        assert dict(twin) == typed
    assert ("due" in result, "execution_id" in result, "nothing" in result) == (True, True, False)


def test_outputs_survive_pickling_and_copying() -> None:
    outputs: Any = ExecutionResult({"items": 3}, "e1", "pack/Route").outputs
    for other in (pickle.loads(pickle.dumps(outputs)), copy.copy(outputs), copy.deepcopy(outputs)):  # noqa: S301
        assert (type(other), other.items, repr(other)) == (type(outputs), 3, repr(outputs))


def test_a_notebook_completes_keys() -> None:
    result = ExecutionResult({"team": "billing"}, "e1", "pack/Route")
    assert result._ipython_key_completions_() == ["team", "execution_id"]
    assert list(result.outputs) == ["team"]
