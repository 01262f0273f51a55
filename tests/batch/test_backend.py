"""Batches that run somewhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Component, Executor, InputField, OutputField, hookimpl
from hokusai_core.errors import ComponentNotFoundError, ExecutionError, LanguageModelError, OutputError

MakeExecutor = Callable[..., Executor]


class Elsewhere:
    """A backend that answers in the opposite order, and not always well."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Mapping[str, Any]]] = []
        self.signature, self.closed = "", 0
        self.options: Mapping[str, Any] = {}

    def submit(self, rows: Iterable[tuple[int, Mapping[str, Any]]], signature: str, options: Mapping[str, Any]) -> None:
        self.rows, self.signature, self.options = list(rows), signature, options

    def results(self) -> Iterator[tuple[int, Any]]:
        yield 4711, {"answer": "of an unknown row"}
        for index, row in reversed(self.rows):
            question = row["question"]
            if question == "lost":
                continue
            if question == "fails":
                yield index, LanguageModelError("scripted outage")
            elif question == "odd":
                yield index, 5
            elif question == "wrong":
                yield index, {"reply": "?"}
            else:
                yield index, {"answer": f"answer to {question}"}
                yield index, {"answer": "said twice"}

    def close(self) -> None:
        self.closed += 1


QUESTIONS = ["a", "fails", "b", "lost", "odd", "wrong", "c"]
ROWS: list[dict[str, str]] = [*({"question": question} for question in QUESTIONS), {"qestion": "typo"}]


def test_rows_and_outcomes_find_each_other(make_executor: MakeExecutor) -> None:
    backend = Elsewhere()
    results = make_executor().execute_batch("Ask", ROWS, backend=backend, timeout=7, lm="some/model")
    assert [result["answer"] for result in results.succeeded] == ["answer to a", "answer to b", "answer to c"]
    assert [failure.index for failure in results.failed] == [1, 3, 4, 5, 7]
    kinds = [type(failure.error).__name__ for failure in results.failed]
    assert kinds == ["LanguageModelError", "ExecutionError", "ExecutionError", "OutputError", "InputError"]
    assert isinstance(results.failed[1].error, ExecutionError)
    assert isinstance(results.failed[3].error, OutputError)
    assert backend.signature == "local/Ask"
    assert dict(backend.options) == {"timeout": 7, "lm": "some/model"}
    assert backend.closed == 1
    assert len(backend.rows) == 7  # the row that cannot work was not sent


def test_a_journal_keeps_what_came_back(make_executor: MakeExecutor, tmp_path: Path) -> None:
    executor = make_executor()
    executor.execute_batch("Ask", ROWS, backend=Elsewhere(), journal=tmp_path / "j")
    again = Elsewhere()
    executor.execute_batch("Ask", ROWS, backend=again, journal=tmp_path / "j")
    assert [row["question"] for _, row in again.rows] == ["fails", "lost", "odd", "wrong"]


def test_a_backend_of_a_plugin() -> None:
    class Plugin:
        @hookimpl
        def provide_backends(self) -> list[Component]:
            return [Component(name="elsewhere", target=Elsewhere)]

    with Executor(plugins=[], extra_plugins=[Plugin()], lm="none/none") as executor:
        executor.register_signature("Ask", "question -> answer")
        results = executor.execute_batch("Ask", [{"question": "q"}], backend="elsewhere")
        assert results[0]["answer"] == "answer to q"
        with pytest.raises(ComponentNotFoundError, match="did you mean 'elsewhere'"):
            executor.execute_batch("Ask", [{"question": "q"}], backend="elswhere")


def test_a_backend_that_breaks_is_closed_and_told(make_executor: MakeExecutor) -> None:
    class Broken(Elsewhere):
        def results(self) -> Iterator[tuple[int, Any]]:
            raise ConnectionError("the cluster is gone")

    backend = Broken()
    with pytest.raises(ConnectionError, match="the cluster is gone"):
        make_executor().execute_batch("Ask", ROWS, backend=backend)
    assert backend.closed == 1


def test_rows_are_bound_with_the_limits_of_the_executor() -> None:
    class Describe(BaseSignature):
        """Describe the picture."""

        question: dspy.Image = InputField()
        answer: str = OutputField()

    rows = [{"question": "https://example.com/a.png"}]
    with Executor(lm="some/model", plugins=[], media_urls=True, environ={}) as executor:
        results = executor.execute_batch(Describe, rows, backend=Elsewhere())
        assert [result["answer"] for result in results] == ["answer to https://example.com/a.png"]
    with Executor(lm="some/model", plugins=[], environ={}) as executor:
        (failure,) = executor.execute_batch(Describe, rows, backend=Elsewhere()).failed
        assert "media_urls" in str(failure.error)
