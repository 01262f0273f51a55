"""Parameters of the language model: per call, step, signature and executor; and prices of the user's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Budget, Executor, InputField, OutputField, SignatureChain
from hokusai_core.errors import (
    CompositionError,
    ConfigurationError,
    JournalError,
    SignatureDefinitionError,
)
from hokusai_core.price_table import PriceTable
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm

VARIABLE = 'temperature=0.3, stop=["A", "B"]'


class Engine:
    """Answers as the null language model does, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self._inner = null_lm()._engine_spec

    def complete(self, request: Any) -> Any:
        self.requests.append(request)
        return self._inner.complete(request)

    @property
    def last(self) -> dict[str, Any]:
        """The parameters of the last request."""
        config = self.requests[-1].config
        return {name: getattr(config, name) for name in ("temperature", "max_tokens", "top_p") if getattr(config, name)}


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def lm(engine: Engine) -> Any:
    return dspy.LM("openai/own", engine=engine)


class Shout(BaseSignature):
    """Say it louder."""

    parameters = {"temperature": 0.2, "max_tokens": 50}  # noqa: RUF012  # as users write it

    text = InputField()
    loud = OutputField()


@pytest.fixture
def executor(lm: Any) -> Iterator[Executor]:
    with Executor(lm=lm, plugins=[], parameters={"temperature": 0.9, "top_p": 0.8}) as made:
        made.register_signature("Shout", Shout)
        made.register_signature("Ask", "question -> answer")
        yield made


def test_a_call_goes_before_the_signature_and_that_before_the_executor(executor: Executor, engine: Engine) -> None:
    executor.execute_signature("Ask", {"question": "a"})
    assert engine.last == {"temperature": 0.9, "top_p": 0.8}
    executor.execute_signature("Shout", {"text": "a"})
    assert engine.last == {"temperature": 0.2, "max_tokens": 50, "top_p": 0.8}
    executor.execute_signature("Shout", {"text": "a"}, parameters={"max_tokens": 7})
    assert engine.last == {"temperature": 0.2, "max_tokens": 7, "top_p": 0.8}


def test_none_leaves_a_parameter_to_the_language_model(executor: Executor, engine: Engine) -> None:
    executor.execute_signature("Shout", {"text": "a"}, parameters={"temperature": None, "top_p": None})
    assert engine.last == {"max_tokens": 50}


def test_registering_a_signature_may_say_its_parameters(executor: Executor, engine: Engine) -> None:
    executor.register_signature("Cool", Shout, parameters={"temperature": 0.1})
    executor.execute_signature("Cool", {"text": "a"})
    assert engine.last == {"temperature": 0.1, "top_p": 0.8}
    with pytest.raises(SignatureDefinitionError, match="temprature: there is no such parameter; did you mean"):
        executor.register_signature("Other", Shout, parameters={"temprature": 1})


def test_a_signature_keeps_its_parameters_as_data() -> None:
    data = json.loads(json.dumps(Shout.to_dict()))
    assert BaseSignature.from_dict(data).spec.parameters == {"temperature": 0.2, "max_tokens": 50}
    with pytest.raises(SignatureDefinitionError, match="api_key: cannot be set here"):
        BaseSignature.from_dict(data | {"parameters": {"api_key": "x"}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_key": "sk-secret-0123456789"}, "api_key: cannot be set here; it belongs to the language model"),
        ({"n": 2}, "n: cannot be set here; an execution has one answer"),
        ({"stream": True}, "stream: cannot be set here"),
        ({"model": "other"}, "model: cannot be set here; choose the model with lm="),
        ({"temprature": 1}, "temprature: there is no such parameter; did you mean 'temperature'"),
        ({"prompt_cache": {"mode": "bogus"}}, "prompt_cache: mode: expected auto or off"),
        ({"temperature": "hot"}, "temperature: expected a number from 0 to 2"),
        ({"max_tokens": True}, "max_tokens: expected a whole number of at least 1"),
        ([1], "expected a mapping of name to value, got list"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(executor: Executor, engine: Engine, given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        executor.execute_signature("Ask", {"question": "a"}, parameters=given)
    assert "sk-secret" not in str(caught.value)
    assert not engine.requests


def test_every_problem_is_told_at_once(executor: Executor) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)n: .*; seed: expected a whole number"):
        executor.execute_signature("Ask", {"question": "a"}, parameters={"n": 2, "seed": 0.5})


def test_answers_with_other_parameters_are_others(executor: Executor, engine: Engine) -> None:
    def cached(**parameters: Any) -> str | None:
        return executor.execute_signature("Ask", {"question": "a"}, parameters=parameters).cached

    assert [cached(), cached(temperature=0.1), cached(temperature=0.1), cached(temperature=0.9)] == [
        None,
        None,
        "memory",
        "memory",  # what the executor says, too
    ]
    assert executor.explain("Ask", {"question": "a"}, parameters={"seed": 3}).differs == ("parameters",)
    assert cached(prompt_cache=True) == "memory"  # decides about the price, not about the answer


def test_the_place_of_prompts_is_passed_on(executor: Executor, engine: Engine) -> None:
    executor.execute_signature("Ask", {"question": "a"}, parameters={"prompt_cache": {"prefix": "stable"}})
    assert engine.requests[-1].config.cache.prefix == "stable"
    with pytest.raises(ConfigurationError, match="prompt_cache"):
        executor.execute_signature("Ask", {"question": "b"}, parameters={"prompt_cache": {"mode": "often"}})


def test_environment_variables_say_parameters(lm: Any, engine: Engine) -> None:
    with Executor(lm=lm, plugins=[], environ={"HOKUSAI_PARAMETERS": 'temperature=0.3, stop=["A", "B"]'}) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "a"})
    assert engine.last == {"temperature": 0.3}
    assert engine.requests[-1].config.stop == ("A", "B")


def test_trackers_see_the_parameters(lm: Any) -> None:
    tracker = ListeningTracker()
    with Executor(lm=lm, plugins=[], trackers={"own": tracker}) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "a"}, parameters={"temperature": 0.4})
    assert tracker.executions[-1].model_parameters["temperature"] == 0.4


def test_a_program_gets_them_with_every_call(lm: Any, engine: Engine) -> None:
    with Executor(lm=lm, plugins=[]) as executor:
        executor.register_signature("Think", dspy.ChainOfThought("question -> answer"))
        executor.execute_signature("Think", {"question": "a"}, parameters={"temperature": 0.4})
    assert engine.last == {"temperature": 0.4}


def test_awaited_calls_have_them_too(executor: Executor, engine: Engine) -> None:
    asyncio.run(executor.aexecute_signature("Ask", {"question": "a"}, parameters={"temperature": 0.4}))
    assert engine.last == {"temperature": 0.4, "top_p": 0.8}


def test_a_step_goes_before_the_call(executor: Executor, engine: Engine, tmp_path: Path) -> None:
    chain = SignatureChain().add("Ask", {"question": "question"}, parameters={"temperature": 0.1})
    executor.execute_chain(chain, {"question": "a"}, parameters={"temperature": 0.5, "max_tokens": 9})
    assert engine.last == {"temperature": 0.1, "max_tokens": 9, "top_p": 0.8}
    file = tmp_path / "chain.toml"
    file.write_text(
        'inputs = ["question"]\n[[steps]]\nsignature = "Ask"\n'
        'inputs = { question = "question" }\nparameters = { temperature = 0.6 }\n'
    )
    executor.execute_chain(SignatureChain.from_file(file), {"question": "b"})
    assert engine.last["temperature"] == 0.6
    with pytest.raises(CompositionError, match="step 'Ask': parameters: n: cannot be set here"):
        SignatureChain().add("Ask", parameters={"n": 3})
    with pytest.raises(CompositionError, match="parameters are for a signature, not for a SignatureChain"):
        SignatureChain().add(chain, name="inner", parameters={"seed": 3})


def test_a_journal_belongs_to_its_parameters(executor: Executor, tmp_path: Path) -> None:
    rows, journal = [{"question": "a"}, {"question": "b"}], tmp_path / "j"
    first = executor.execute_batch("Ask", rows, journal=journal, parameters={"seed": 1})
    assert len(first.succeeded) == 2
    again = executor.execute_batch("Ask", rows, journal=journal, parameters={"seed": 1})
    assert [row.cached for row in again.succeeded] == ["journal", "journal"]
    with pytest.raises(JournalError, match="was begun with the parameters"):
        executor.execute_batch("Ask", rows, journal=journal, parameters={"seed": 2})


# -- prices ---------------------------------------------------------------------------------------------------------


def test_prices_of_the_users_own(lm: Any, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["openai/own"]\ninput = 1.0\noutput = 10.0\n')
    for prices in ({"openai/own": {"input": 1.0, "output": 10.0}}, file, str(file)):
        with Executor(lm=lm, plugins=[], prices=prices) as executor:
            executor.register_signature("Ask", "question -> answer")
            asked: Any = {"parameters": {"max_tokens": 100}}
            result = executor.execute_signature("Ask", {"question": "a"}, budget=Budget(cost=1.0), **asked)
            assert result.cost == pytest.approx((10 * 1.0 + 5 * 10.0) / 1e6)  # 10 tokens in, 5 out
            assert result.price_source == result.attempts[0].price_source == "user"
            assert executor.execute_signature("Ask", {"question": "a"}, **asked).price_source == ""  # nothing was paid


def test_without_a_price_the_cost_is_unknown(executor: Executor) -> None:
    result = executor.execute_signature("Ask", {"question": "a"})
    assert (result.cost, result.price_source) == (None, "")


def test_prices_as_litellm_writes_them(lm: Any, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"openai/own": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}')
    with Executor(lm=lm, plugins=[], environ={"HOKUSAI_PRICES": str(file)}) as executor:
        executor.register_signature("Ask", "question -> answer")
        assert executor.execute_signature("Ask", {"question": "a"}).cost == pytest.approx(6e-5)


def test_a_whole_table_of_litellm_is_read(tmp_path: Path) -> None:
    """Its names lack the provider, and some of its entries have no price for tokens."""
    tokens = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}
    table = {
        "small": {**tokens, "litellm_provider": "openai"},
        "groq/large": {**tokens, "litellm_provider": "groq"},
        "groq/latest": {"alias_of": "groq/large"},
        "groq/gone": {"alias_of": "groq/nothing"},
        "painter": {"input_cost_per_pixel": 1e-8, "litellm_provider": "openai"},
    }
    (tmp_path / "prices.json").write_text(json.dumps(table))
    found = PriceTable.of(tmp_path / "prices.json")
    assert found is not None
    assert set(found.prices) == {"small", "openai/small", "groq/large", "groq/latest"}
    assert found.prices["groq/latest"] == found.prices["groq/large"]


def test_a_price_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"a/b": {"input": 1, "output": 1}, "a/b": {"input": 9, "output": 9}}')
    with pytest.raises(ConfigurationError, match="'a/b' is there twice"):
        Executor(plugins=[], prices=tmp_path / "prices.json")


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"a/b": {"input": 1}}, "a/b: output missing"),
        ({"a/b": {"input": -1, "output": 1}}, "a/b: input: expected a number from 0 to 1,000,000,000"),
        ({"a/b": {"input": 10**400, "output": 1}}, "a/b: input: expected a number from 0 to"),
        ({"a/b": {"input": float("nan"), "output": 1}}, "a/b: input: expected a number from 0 to"),
        ({"a/b": {"input": "1", "output": 1}}, "a/b: input: expected a number from 0 to"),
        ({"a/b": {"input": 1, "output": 1, "cached": 0.1}}, "no price 'cached'; did you mean 'cached_input'"),
        ({"a/b": None}, "a/b: expected prices"),
        ("/no/such/file.toml", "cannot be read"),
        (3, "expected a mapping of model to prices"),
    ],
)
def test_prices_that_cannot_be_used_are_named(prices: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Executor(plugins=[], prices=prices)
