"""The conformance suite for batch backends: subclass ``BackendConformance`` in the tests of a plugin that offers one.

The rows of this process pass it as well: ``backend = "local"``. The language model is a server on loopback that plays
chat completions, so workers in other processes reach it.

Example::

    class TestMyBackend(BackendConformance):
        @pytest.fixture(scope="session")
        def backend(self, cluster):
            made = MyBackend(cluster)
            yield made
            made.close()
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from hokusai_core.components import Component
from hokusai_core.errors import BudgetExceeded, ConfigurationError, InputError
from hokusai_core.execution.budget import Budget
from hokusai_core.executor import Executor
from hokusai_core.markers import hookimpl
from hokusai_core.protocols import Backend, protocol_problems
from hokusai_core.results import ExecutionResult, Problem, Usage
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.listening import ListeningTracker

__all__ = ["KEY_VARIABLE", "BackendConformance", "executors_on"]

#: Variable of the key that models of the suite have. Workers in other processes need it, too.
KEY_VARIABLE: Final = "HOKUSAI_CONFORMANCE_KEY"
_ANSWER = "[[ ## answer ## ]]\nseen {tag}\n\n[[ ## completed ## ]]"
_PRICES = {"openai/scripted": {"input": 1.0, "output": 2.0}}


class _RefusesAll:
    """A validator that only this process has."""

    def validate_inputs(self, signature: Any, inputs: Any) -> list[Problem]:
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Problem]:
        return [Problem("answer", "refused", "is refused")]


class _ExtraPlugin:
    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component(name="refuses-all", target=_RefusesAll)]


@contextmanager
def executors_on(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Executor]]:
    """Yield what makes executors whose models are on a server, and close them in the end.

    Args:
        server: has the address of its API as ``base_url``.
        monkeypatch: sets the key, unless the environment has it.
    """
    monkeypatch.setenv(KEY_VARIABLE, os.environ.get(KEY_VARIABLE, "no-secret"))
    made: list[Executor] = []

    def make(**options: Any) -> Executor:
        tables = {
            name: {"model": f"openai/{name}", "api_base": server.base_url, "api_key_env": KEY_VARIABLE}
            for name in ("scripted", "status-500")
        }
        given: dict[str, Any] = {"lm": "scripted", "models": tables, "prices": _PRICES, "timeout": 60, **options}
        made.append(Executor(plugins=[], environ=dict(os.environ), **given))
        made[-1].register_signature("Ask", "question -> answer")
        return made[-1]

    try:
        yield make
    finally:
        for executor in made:
            executor.close()


class BackendConformance:
    """Tests that every backend passes. The fixture ``backend`` returns what ``execute_batch(backend=...)`` is given.

    Attributes:
        needs_journal: whether a batch must have a journal.
        price: part of the usual price that an answer costs.
    """

    needs_journal: ClassVar[bool] = False
    price: ClassVar[float] = 1.0

    @pytest.fixture
    def backend(self) -> Any:
        """Return the backend, its name, or a mapping of its name and options."""
        raise NotImplementedError("define the fixture backend")

    @pytest.fixture
    def server(self) -> Iterator[ChatServer]:
        """Yield the server that plays the provider."""
        with ChatServer(_ANSWER) as server:
            yield server

    def calls(self, server: Any) -> int:
        """Return how many requests the server has answered; override it for another server."""
        return int(server.counts.requests)

    @pytest.fixture
    def make_executor(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Executor]]:
        """Yield what makes executors whose models are on the server."""
        with executors_on(server, monkeypatch) as make:
            yield make

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        """Return options that every batch of the suite has."""
        return {"journal": tmp_path / "batch.journal"} if self.needs_journal else {}

    @staticmethod
    def rows(count: int, begin: int = 0) -> list[dict[str, str]]:
        """Return rows, each with another question."""
        return [{"question": f"tag-{number}?"} for number in range(begin, begin + count)]

    def test_satisfies_the_protocol(self, backend: Any) -> None:
        """It has every method, unless it is a name."""
        if not isinstance(backend, (str, Mapping)):
            assert protocol_problems(Backend, backend) == []

    def test_outcomes_are_in_order_and_tell_how_they_came_about(
        self, backend: Any, make_executor: Any, server: Any, options: Mapping[str, Any]
    ) -> None:
        """Each row has its own answer, with model, usage, cost and attempts; trackers record each row once."""
        tracker = ListeningTracker()
        executor = make_executor(trackers={"ear": tracker})
        results = executor.execute_batch("Ask", self.rows(40), backend=backend, progress=False, **options)
        assert [outcome.outputs["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(40)]
        assert self.calls(server) == 40
        for outcome in results:
            assert isinstance(outcome, ExecutionResult)
            assert outcome.model == "openai/scripted"
            assert (outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.usage.calls) == (120, 40, 1)
            assert outcome.cost == pytest.approx(self.price * (120 + 80) / 1_000_000)
            assert [(attempt.number, attempt.outcome) for attempt in outcome.attempts] == [(1, "ok")]
            assert outcome.cached is None
        assert {event.execution_id for event in tracker.executions} == {outcome.execution_id for outcome in results}
        assert len(tracker.executions) == 40
        (operation,) = tracker.operations
        assert {event.parent_id for event in tracker.executions} == {operation.operation_id}
        assert (operation.executions, operation.failures, operation.usage.calls) == (40, 0, 40)

    def test_a_row_that_fails_leaves_the_others_alone(
        self, backend: Any, make_executor: Any, server: Any, options: Mapping[str, Any]
    ) -> None:
        """Inputs that do not fit are found before anything is sent."""
        rows = [*self.rows(2), {"qestion": "typo"}, *self.rows(2, 2)]
        results = make_executor().execute_batch("Ask", rows, backend=backend, progress=False, **options)
        assert [failure.index for failure in results.failed] == [2]
        assert isinstance(results.failed[0].error, InputError)
        assert len(results.succeeded) == self.calls(server) == 4

    def test_identical_rows_share_a_call_and_the_cache_keeps_it(
        self, backend: Any, make_executor: Any, server: Any, options: Mapping[str, Any]
    ) -> None:
        """Ten rows with two different inputs make two calls, and none the next time."""
        executor = make_executor()
        results = executor.execute_batch("Ask", self.rows(2) * 5, backend=backend, progress=False, **options)
        assert len(results.succeeded) == 10
        assert self.calls(server) == results.usage.calls == 2
        again = executor.execute_batch("Ask", self.rows(2), backend=backend, progress=False, **options)
        assert self.calls(server) == 2
        assert {outcome.cached for outcome in again.succeeded} <= {"memory", "journal"}

    def test_a_journal_is_gone_on_with(self, backend: Any, make_executor: Any, server: Any, tmp_path: Path) -> None:
        """What an earlier run has finished is not sent again."""
        journal = tmp_path / "rows.journal"
        make_executor().execute_batch("Ask", self.rows(6), backend=backend, progress=False, journal=journal)
        results = make_executor().execute_batch("Ask", self.rows(9), backend=backend, progress=False, journal=journal)
        assert [outcome.cached for outcome in results.succeeded] == ["journal"] * 6 + [None] * 3
        assert [outcome.outputs["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(9)]
        assert self.calls(server) == 9

    def test_a_budget_holds_for_all_workers_together(
        self, backend: Any, make_executor: Any, server: Any, options: Mapping[str, Any]
    ) -> None:
        """Twenty rows with a budget of five calls make five."""
        budget = Budget(calls=5)
        results = make_executor().execute_batch(
            "Ask", self.rows(20), backend=backend, budget=budget, progress=False, **options
        )
        assert self.calls(server) == len(results.succeeded) == budget.spent.calls == 5
        assert all(isinstance(failure.error, BudgetExceeded) for failure in results.failed)
        spent = sum((outcome.usage for outcome in results), Usage())
        assert spent == budget.spent

    def test_rows_are_handed_out_one_by_one_and_on_an_event_loop(
        self, backend: Any, make_executor: Any, server: Any, tmp_path: Path
    ) -> None:
        """``iter_batch`` and ``aexecute_batch`` run on the backend, too."""
        executor = make_executor(cache_enabled=False)
        kept = [{"journal": tmp_path / name} if self.needs_journal else {} for name in ("one", "two")]
        with executor.iter_batch("Ask", iter(self.rows(6)), backend=backend, **kept[0]) as outcomes:
            found = {row.index: row["answer"] for row in outcomes}
        assert found == {number: f"seen tag-{number}" for number in range(6)}

        async def run() -> Any:
            return await executor.aexecute_batch("Ask", self.rows(6), backend=backend, progress=False, **kept[1])

        assert [outcome["answer"] for outcome in asyncio.run(run())] == [found[number] for number in range(6)]
        assert self.calls(server) == 12

    def test_what_is_no_data_is_refused_by_name_before_the_first_row(
        self, backend: Any, make_executor: Any, server: Any, options: Mapping[str, Any]
    ) -> None:
        """A model as an object, a validator of no installed plugin, a function, a program."""
        if isinstance(backend, str) and backend == "local":
            pytest.skip("rows of this process may use anything")
        dspy = pytest.importorskip("dspy")
        taken: list[int] = []

        def rows() -> Iterator[dict[str, str]]:
            taken.append(1)
            yield {"question": "tag-1"}

        def refused(words: str, *, executor: Executor | None = None, name: str = "Ask", **given: Any) -> None:
            executor = executor or make_executor()
            with pytest.raises(ConfigurationError, match=words):
                executor.execute_batch(name, rows(), backend=backend, **options, **given)

        refused("lm=LM", lm=dspy.LM("openai/scripted", api_base=server.base_url, api_key="k"))
        refused("refuses-all", executor=make_executor(extra_plugins=[_ExtraPlugin()]))
        refused("adapter=ChatAdapter", executor=make_executor(adapter=dspy.ChatAdapter()))
        with_program = make_executor()
        with_program.register_signature("Program", dspy.Predict("question -> answer"))
        refused("Predict", executor=with_program, name="Program")
        assert not taken
        assert self.calls(server) == 0
