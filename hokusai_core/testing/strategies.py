"""The conformance suite for strategies: subclass ``StrategyConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyStrategy(StrategyConformance):
        options = {"rounds": 2}

        @pytest.fixture
        def target(self):
            return MyStrategy
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.components import Component
from hokusai_core.dspy_bridge.null_lm import NullEngine, null_lm
from hokusai_core.errors import BudgetExceeded, ExecutionError, LanguageModelError, OutputError
from hokusai_core.execution.budget import Budget
from hokusai_core.execution.signature_runner import SignatureRunner
from hokusai_core.executor import Executor
from hokusai_core.markers import hookimpl
from hokusai_core.protocols import Strategy
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, error_in_fork
from hokusai_core.testing.event_loops import run_watched

__all__ = ["StrategyConformance"]


class _Offering:
    """A plugin that offers the tested strategy as ``tested``."""

    def __init__(self, target: Callable[..., Strategy]) -> None:
        self._target = target

    @hookimpl
    def provide_strategies(self) -> list[Component]:
        """Offer the strategy."""
        return [Component(name="tested", target=self._target)]


class StrategyConformance(Conformance):
    """Tests that every strategy passes. The fixture ``target`` returns what makes one from keyword options.

    Attributes:
        options: options of the strategy; tools, rewards and other strategies as objects or as names of components.
        plugins: modules or objects with hooks that offer what the options name.
        answers: output of the language model -> value, for outputs that the strategy adds.
        shows_demos: whether its prompts show the demos of the signature; not if its predictors have other fields.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    plugins: ClassVar[tuple[Any, ...]] = ()
    answers: ClassVar[Mapping[str, Any]] = {}
    shows_demos: ClassVar[bool] = True
    #: Two names are such as DSPy needs for itself.
    spec: ClassVar[SignatureSpec] = SignatureSpec(
        "Ask",
        "Answer the question.",
        (
            FieldSpec("question", "input"),
            FieldSpec("signature", "input", required=False),
            FieldSpec("answer", "output"),
            FieldSpec("copy", "output", annotation=int, ge=0),
        ),
    )
    outputs: ClassVar[Mapping[str, Any]] = {"answer": "Paris", "copy": 3}

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        """Return what makes the strategy."""
        raise NotImplementedError("define the fixture target")

    @contextmanager
    def _executor(self, target: Callable[..., Strategy], **engine: Any) -> Iterator[tuple[Executor, NullEngine]]:
        lm = null_lm(**({"answers": self._answers(self.outputs)} | engine))
        extra = [("conformance", _Offering(target)), *self.plugins]
        with Executor(lm=lm, plugins=[], extra_plugins=extra, environ={}) as executor:
            strategy = {"name": "tested", **self.options}
            executor.register_signature("Ask", BaseSignature.from_spec(self.spec), strategy=strategy)
            yield executor, lm.engine

    def _answers(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the language model answers, by the names that prompts have for the outputs."""
        names = BaseSignature.from_spec(self.spec).to_dspy().output_fields
        return {**dict(zip(names, outputs.values(), strict=True)), **self.answers}

    def test_has_a_version(self, target: Callable[..., Strategy]) -> None:
        """Caches and fingerprints tell versions apart."""
        with self._executor(target) as (executor, _):
            found = executor.strategy("Ask")
            assert found is not None
            assert isinstance(found.strategy, Strategy)
            assert isinstance(found.strategy.version, str)
            assert found.strategy.version

    def test_answers(self, target: Callable[..., Strategy]) -> None:
        """The outputs are those of the signature, blocking and awaited."""
        with self._executor(target) as (executor, _):
            result = executor.execute_signature("Ask", {"question": "one"})
            assert result == dict(self.outputs)
            assert result.usage.calls >= 1
            awaited = asyncio.run(executor.aexecute_signature("Ask", {"question": "two"}))
            assert awaited == dict(self.outputs)

    def test_every_call_is_counted(self, target: Callable[..., Strategy]) -> None:
        """Calls that are not counted are in no bill and under no budget."""
        with self._executor(target) as (executor, engine):
            for number in range(2):
                before = engine.calls
                result = executor.execute_signature("Ask", {"question": f"question {number}"})
                assert result.usage.calls == engine.calls - before
                before = engine.calls
                awaited = asyncio.run(executor.aexecute_signature("Ask", {"question": f"awaited {number}"}))
                assert awaited.usage.calls == engine.calls - before

    def test_the_question_is_asked(self, target: Callable[..., Strategy]) -> None:
        """Every value of the inputs is in a prompt."""
        with self._executor(target, keep_requests=True) as (executor, engine):
            executor.execute_signature("Ask", {"question": "a question 4711", "signature": "a signature 4712"})
            shown = " ".join(message.text or "" for request in engine.requests for message in request.messages)
            assert "a question 4711" in shown
            assert "a signature 4712" in shown

    def test_an_event_loop_goes_on(self, target: Callable[..., Strategy]) -> None:
        """While an execution is awaited. A module with ``forward`` alone runs on a thread."""
        self.require("asynchronous")
        with self._executor(target) as (executor, _):

            async def ask() -> None:
                await executor.aexecute_signature("Ask", {"question": "one"}, cache="off")

            run_watched(ask, allowed=self.calls_on_loop)

    def test_changes_nothing_that_it_is_given(
        self, target: Callable[..., Strategy], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither the inputs nor the signature. Nothing is printed, either."""
        with self._executor(target) as (executor, _):
            inputs = {"question": "one", "signature": "two"}
            before = copy.deepcopy(inputs), executor.signature("Ask").spec.fingerprint
            result = executor.execute_signature("Ask", inputs)
            assert (inputs, executor.signature("Ask").spec.fingerprint) == before
            assert result == dict(self.outputs)
            assert tuple(capfd.readouterr()) == ("", "")

    def test_the_demos_are_shown(self, target: Callable[..., Strategy]) -> None:
        """Demos of the signature reach a prompt: that is what optimizers find."""
        if not self.shows_demos:
            pytest.skip(f"{type(self).__name__} declares shows_demos = False")
        demo = {"question": "a demo 4713", "signature": "as above", **self.outputs}
        with self._executor(target, keep_requests=True) as (executor, engine):
            found = executor.strategy("Ask")
            SignatureRunner(self.spec.evolve(demos=(demo,)), executor.language_model(), found).run({"question": "one"})
            shown = " ".join(message.text or "" for request in engine.requests for message in request.messages)
            assert "a demo 4713" in shown

    def test_what_it_adds_is_json(self, target: Callable[..., Strategy]) -> None:
        """What is beside the outputs can be stored, and comes back from the cache."""
        with self._executor(target) as (executor, engine):
            result = executor.execute_signature("Ask", {"question": "one"})
            json.dumps(dict(result.extras))
            assert not set(result.extras) & set(self.spec.outputs)
            calls = engine.calls
            again = executor.execute_signature("Ask", {"question": "one"})
            assert again.cached == "memory"
            assert engine.calls == calls
            assert dict(again.extras) == dict(result.extras)

    def test_keeps_nothing_of_a_call(self, target: Callable[..., Strategy]) -> None:
        """Its module is shared by all calls."""
        with self._executor(target) as (executor, _):
            found = executor.strategy("Ask")
            runner = SignatureRunner(self.spec, executor.language_model(), found)
            before = _state(runner.module)
            runner.run({"question": "one"})
            assert _state(runner.module) == before

    def test_raises_if_every_call_fails(self, target: Callable[..., Strategy]) -> None:
        """It never returns None, and never makes an answer up."""
        with self._executor(target, fail_first=10**6) as (executor, _), pytest.raises(LanguageModelError):
            executor.execute_signature("Ask", {"question": "one"})

    def test_raises_if_no_answer_can_be_read(self, target: Callable[..., Strategy]) -> None:
        """Answers without the outputs are refused."""
        with self._executor(target, raw="nothing of the kind") as (executor, _), pytest.raises(OutputError):
            executor.execute_signature("Ask", {"question": "one"})

    def test_raises_if_no_answer_fits(self, target: Callable[..., Strategy]) -> None:
        """Answers that break a constraint are refused."""
        answers = self._answers({**self.outputs, "copy": -1})
        with self._executor(target, answers=answers) as (executor, _), pytest.raises(OutputError):
            executor.execute_signature("Ask", {"question": "one"})

    def test_stops_where_the_budget_is_spent(self, target: Callable[..., Strategy]) -> None:
        """No call is made beyond the budget, and the error says so."""
        with self._executor(target) as (executor, engine):
            full = executor.execute_signature("Ask", {"question": "one"}, cache="off").usage.calls
            engine.calls = 0
            if full == 1:
                return
            with pytest.raises(BudgetExceeded):
                executor.execute_signature("Ask", {"question": "one"}, cache="off", budget=Budget(calls=full - 1))
            assert engine.calls == full - 1

    def test_ends_by_the_deadline(self, target: Callable[..., Strategy]) -> None:
        """No call begins after the deadline."""
        with self._executor(target, delay=0.2) as (executor, engine):
            with pytest.raises(ExecutionError):
                executor.execute_signature("Ask", {"question": "one"}, timeout=0.1)
            assert engine.calls <= 1

    def test_works_in_a_forked_process(self, target: Callable[..., Strategy]) -> None:
        """A module that was built before answers there, too."""
        with self._executor(target) as (executor, _):
            found = executor.strategy("Ask")
            assert found is not None
            self.require_fork(found.strategy)
            runner = SignatureRunner(self.spec, executor.language_model(), found)
            assert runner.run({"question": "one"}) == dict(self.outputs)

            def ask() -> None:
                assert runner.run({"question": "two"}) == dict(self.outputs)
                assert executor.execute_signature("Ask", {"question": "three"}) == dict(self.outputs)

            assert error_in_fork(ask) is None

    def test_many_threads_ask_at_once(self, target: Callable[..., Strategy]) -> None:
        """Rows of a batch share a strategy."""
        with self._executor(target) as (executor, _), ThreadPoolExecutor(8) as pool:
            results = pool.map(
                lambda number: executor.execute_signature("Ask", {"question": str(number)}, cache="off"), range(40)
            )
            assert list(results) == [dict(self.outputs)] * 40


def _state(module: Any) -> Any:
    """Return what a module and its predictors hold; what DSPy keeps of calls by itself is left out."""
    own = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "history"}
    predictors = [
        (name, one.signature.instructions, [dict(demo) for demo in one.demos], one.lm)
        for name, one in module.named_predictors()
    ]
    return {name: repr(value) for name, value in own.items()}, predictors
