"""Events of batches, chains and tasks: one per execution, with its parent, and one at the end of the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hokusai_core import (
    BaseSignature,
    ConditionalPipeline,
    Executor,
    InputField,
    OutputField,
    ParallelExecutor,
    SignatureChain,
)
from hokusai_core.errors import CompositionError
from hokusai_core.testing.listening import ListeningTracker

MakeExecutor = Callable[..., Executor]


@pytest.fixture
def recorder() -> ListeningTracker:
    return ListeningTracker()


@pytest.fixture
def executor(make_executor: MakeExecutor, recorder: ListeningTracker) -> Executor:
    return make_executor(trackers={"recorder": recorder})


ROWS = [{"question": "a"}, {"question": "b"}, {"question": "a"}, {"question": "x fail=9"}]


@pytest.mark.parametrize("way", ["threads", "event loop", "iterator", "awaited"])
def test_a_batch(executor: Executor, recorder: ListeningTracker, way: str) -> None:
    tags = {"team": "blue"}
    if way == "iterator":
        list(executor.iter_batch("Ask", ROWS, tags=tags))
    elif way == "awaited":
        asyncio.run(executor.aexecute_batch("Ask", ROWS, tags=tags))
    else:
        executor.execute_batch("Ask", ROWS, tags=tags, max_workers=4 if way == "threads" else 80)
    (operation,) = recorder.operations
    assert recorder.events[-1] is operation
    assert (operation.kind, operation.name, operation.status) == ("batch", "local/Ask", "ok")
    assert (operation.executions, operation.failures) == (4, 1)
    assert operation.usage.calls == 3
    assert operation.tags == tags
    assert operation.inputs == {}
    assert {(one.parent_id, one.parent_kind) for one in recorder.executions} == {(operation.operation_id, "batch")}
    assert len(recorder.executions) == 4
    assert {one.tags["team"] for one in recorder.executions} == {"blue"}


def test_a_chain_and_what_is_inside(executor: Executor, recorder: ListeningTracker) -> None:
    inner = SignatureChain().add("Ask", {"question": "text"}, name="first")
    choice = ConditionalPipeline().add_condition("always", lambda _: True)
    choice.when("always").execute("Ask", {"question": "text"})
    chain = SignatureChain("report").add(inner, {"text": "doc"}, name="inner")
    chain.add(choice, {"text": "inner.answer"}, name="choice")
    executor.execute_chain(chain, {"doc": "D"})
    (operation,) = recorder.operations
    assert (operation.kind, operation.name, operation.executions) == ("chain", "report", 2)
    assert operation.inputs == {"doc": "D"}
    assert operation.outputs == {"answer": "answer to answer to D"}
    assert [one.step for one in recorder.executions] == ["inner.first", "choice.always"]
    assert {one.parent_id for one in recorder.executions} == {operation.operation_id}
    assert {one.parent_kind for one in recorder.executions} == {"chain"}


def test_a_pipeline_and_tasks(executor: Executor, recorder: ListeningTracker) -> None:
    pipeline = ConditionalPipeline().otherwise().execute("Ask")
    executor.execute_conditional(pipeline, {"question": "q"})
    ParallelExecutor(executor).execute_all([("Ask", {"question": "z"}), ("Ask", {"question": "y fail=9"})])
    first, second = recorder.operations
    assert (first.kind, first.name, first.executions) == ("pipeline", "otherwise", 1)
    assert (second.kind, second.executions, second.failures) == ("parallel", 2, 1)
    assert [one.parent_kind for one in recorder.executions] == ["pipeline", "parallel", "parallel"]


def test_a_chain_that_fails(executor: Executor, recorder: ListeningTracker) -> None:
    chain = SignatureChain().add("Ask", {"question": "x fail=9"})
    with pytest.raises(RuntimeError):
        executor.execute_chain(chain, {})
    with pytest.raises(CompositionError):
        executor.execute_chain(chain.add("Nope"), {})
    (operation,) = recorder.operations  # what was never begun is not told
    assert (operation.status, operation.executions, operation.failures) == ("failed", 1, 1)
    assert operation.error_type == "LanguageModelError"
    assert operation.usage.calls == 1


def test_sensitive_values_are_left_out(executor: Executor, recorder: ListeningTracker) -> None:
    class Secret(BaseSignature):
        question = InputField(sensitive=True)
        answer = OutputField(sensitive=True)

    inner = SignatureChain().add(Secret, {"question": "word"})
    chain = SignatureChain().add(inner, {"word": "given"}, name="inner")
    pipeline = ConditionalPipeline().otherwise().execute(Secret)
    executor.execute_chain(chain, {"given": "Canary", "other": "shown"})
    executor.execute_conditional(pipeline, {"question": "Canary", "other": "shown"})
    assert "Canary" not in repr(recorder.events)
    assert [operation.inputs["other"] for operation in recorder.operations] == ["shown", "shown"]
    assert [set(operation.outputs.values()) for operation in recorder.operations] == [{"[redacted]"}] * 2


def test_testing_mode_notifies_no_observer(make_executor: MakeExecutor, recorder: ListeningTracker) -> None:
    executor = make_executor(trackers={"recorder": recorder}, mode="testing")
    executor.execute_batch("Ask", ROWS)
    executor.execute_chain(SignatureChain().add("Ask", {"question": "q"}), {})
    assert recorder.events == []
