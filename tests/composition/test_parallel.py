"""Tasks side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from hokusai_core import ConditionalPipeline, Executor, FailedExecution, ParallelExecutor, SignatureChain
from hokusai_core.errors import BatchError, ClosedError, CompositionError, ConfigurationError, DeadlineExceeded

MakeExecutor = Callable[..., Executor]


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what runs tasks, blocking and awaited."""
    if request.param == "sync":
        return lambda executor, tasks, **options: ParallelExecutor(executor).execute_all(tasks, **options)
    return lambda executor, tasks, **options: asyncio.run(ParallelExecutor(executor).aexecute_all(tasks, **options))


def test_results_are_in_the_order_of_the_tasks(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.02
    chain = SignatureChain().add("Summarize", {"document": "d"}).add("Rate", {"text": "Summarize.summary"})
    choice = ConditionalPipeline().otherwise().execute("Summarize")
    results = run(
        make_executor(),
        [
            ("Summarize", {"document": "one"}),
            ("Extract", {"document": "two", "info_types": "dates"}),
            (chain, {"d": "three"}),
            ["Rate", {"text": "four"}],
            (choice, {"document": "five", "unknown": 1}),
        ],
    )
    assert len(results) == 5
    assert "] one [" in results[0]["summary"]
    assert '] two [[ ## info_types ## ]] ["dates"]' in results[1]["facts"]
    assert results[2].steps["Summarize"]["summary"].startswith("summary of")
    assert results[3]["stars"] == 3
    assert "] five [" in results[4]["summary"]
    assert results.usage.calls == 6
    assert lm.engine.most_in_flight == 5


def test_rows_of_a_chain_are_tasks(executor: Executor) -> None:
    chain = SignatureChain().add("Summarize", {"text": "doc"})
    rows = [{"doc": f"text {number}"} for number in range(3)]
    with pytest.raises(CompositionError, match=r"execute_all\(\[\(it, row\) for row in rows\]\)"):
        executor.execute_batch(chain, rows)
    results = ParallelExecutor(executor).execute_all([(chain, row) for row in rows])
    assert ["text 2" in result["summary"] for result in results] == [False, False, True]


def test_no_more_at_once_than_workers(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.01
    run(make_executor(max_workers=2), [("Summarize", {"document": f"{n}"}) for n in range(8)])
    assert lm.engine.most_in_flight == 2


def test_one_failing_task_leaves_the_others(executor: Executor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.0
    answer = lm.engine.answer

    def hang(number: int, request: Any) -> Any:
        if "bad" in request.messages[-1].text:
            raise dspy.LMServerError("scripted outage")
        return answer(number, request)

    lm.engine.answer = hang
    tasks = [("Summarize", {"document": text}) for text in ("good", "bad", "fine")]
    results = run(executor, tasks)
    assert [bool(outcome) for outcome in results] == [True, False, True]
    failure = results[1]
    assert isinstance(failure, FailedExecution)
    assert failure.inputs == {"document": "bad"}
    with pytest.raises(RuntimeError, match="scripted outage"):
        failure["summary"]
    with pytest.raises(BatchError) as caught:
        run(executor, tasks, on_error="raise")
    assert len(caught.value.result.succeeded) == 2


def test_tasks_are_checked_before_any_is_run(executor: Executor, lm: Any, run: Any) -> None:
    tasks = [
        ("Summarize", {"document": "fine"}),
        ("Sumarize", {"document": "x"}),
        ("Rate", {"txt": "x"}),
        ("Rate",),
        ("Rate", "text"),
        (SignatureChain(), {}),
    ]
    with pytest.raises(CompositionError) as caught:
        run(executor, tasks)
    for told in ("task 1 (Sumarize)", "did you mean 'Summarize'", "task 2 (Rate)", "txt: is no input", "task 3: exp",
                 "task 4: expected", "task 5", "no steps"):  # fmt: skip
        assert told in str(caught.value)
    wrong: Any
    for wrong in ("Rate", {"Rate": {}}, 5):
        with pytest.raises(CompositionError, match="pairs"):
            run(executor, wrong)
    with pytest.raises(ConfigurationError, match="on_error"):
        run(executor, [], on_error="ignore")
    assert list(run(executor, [])) == []
    assert lm.engine.calls == 0


def test_a_timeout_bounds_each_task(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 60.0
    chain = SignatureChain().add("Summarize", {"document": "d"})
    results = run(make_executor(), [("Summarize", {"document": "x"}), (chain, {"d": "y"})], timeout=0.15)
    assert [type(failure.error) for failure in results.failed] == [DeadlineExceeded] * 2


def test_without_an_executor_it_has_one_of_its_own(lm: Any) -> None:
    with dspy.context(lm=lm), ParallelExecutor() as parallel:
        parallel.executor.register_signature("Ask", "question -> answer")
        assert parallel.execute_all([("Ask", {"question": "?"})])[0]["answer"] == "some answer"
        own = parallel.executor
    with pytest.raises(ClosedError):
        own.list_signatures()


def test_an_executor_that_was_given_stays_open(executor: Executor) -> None:
    with ParallelExecutor(executor):
        pass
    assert "Rate" in executor.list_signatures()


def test_sensitive_values_are_not_shown(make_executor: MakeExecutor) -> None:
    chain = SignatureChain().add("Secret", {"text": "word"})
    parallel = ParallelExecutor(make_executor(mode="testing"))
    frame = parallel.execute_all([("Secret", {"text": "Canary"}), (chain, {"word": "Canary"})]).to_pandas()
    assert "Canary" not in frame.to_csv()
    assert "Sample hint" not in frame.to_csv()
