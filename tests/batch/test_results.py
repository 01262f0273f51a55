"""What a batch gives back."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from hokusai_core import BaseSignature, ExecutionResult, Executor, FailedExecution, InputField, OutputField, Usage
from hokusai_core.errors import (
    BatchError,
    ClosedError,
    ConfigurationError,
    InputError,
    LanguageModelError,
    LanguageModelUnavailable,
    SignatureNotFoundError,
)

MakeExecutor = Callable[..., Executor]


class Patient(BaseSignature):
    """Answer about a patient."""

    name = InputField(sensitive=True, aliases=("patient",))
    question = InputField()
    answer = OutputField(sensitive=True)
    advice = OutputField()


def ask(count: int, text: str = "q{}") -> list[dict[str, str]]:
    return [{"question": text.format(number)} for number in range(count)]


@pytest.mark.parametrize("workers", [1, 3, 80], ids=["one", "threads", "event loop"])
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])
def test_outcomes_are_in_the_order_of_the_rows(
    make_executor: MakeExecutor, make_lm: Any, workers: int, asynchronous: bool
) -> None:
    executor = make_executor(lm=make_lm(asynchronous=asynchronous))
    delays = random.Random(7)
    rows = [{"question": f"{number} sleep={delays.choice([0, 0.01, 0.03])}"} for number in range(60)]
    results = executor.execute_batch("Ask", rows, max_workers=workers)
    assert [result["answer"] for result in results] == [f"answer to {row['question']}" for row in rows]
    assert len(results) == 60
    assert len(results.succeeded) == 60
    assert results.usage == Usage(600, 300, 60)


@pytest.mark.parametrize("workers", [1, 4, 80], ids=["one", "threads", "event loop"])
def test_one_failing_row_never_ends_the_others(make_executor: MakeExecutor, workers: int) -> None:
    rows: list[Any] = [*ask(3), {"question": "x fail=9"}, {"qestion": "typo"}, "no mapping", None, {}, *ask(2, "z{}")]
    results = make_executor().execute_batch("Ask", rows, max_workers=workers, retry_on_failure=True, max_retries=1)
    assert [bool(outcome) for outcome in results] == [True] * 3 + [False] * 5 + [True] * 2
    assert [failure.index for failure in results.failed] == [3, 4, 5, 6, 7]
    assert [failure.inputs for failure in results.failed] == rows[3:8]
    outage = results.failed[0]
    assert isinstance(outage.error, LanguageModelError)
    assert [attempt.outcome for attempt in outage.attempts] == ["failed", "failed"]
    assert outage.usage.calls == 2
    assert all(isinstance(failure.error, InputError) for failure in results.failed[1:])
    assert "did you mean 'question'" in str(results[4].error)  # type: ignore[union-attr]


class Unreadable(Mapping[str, str]):
    """A row that reads its values from somewhere that is gone."""

    def __getitem__(self, name: str) -> str:
        raise OSError("the file is gone")

    def __iter__(self) -> Iterator[str]:
        return iter(["question"])

    def __len__(self) -> int:
        return 1


class Unprintable:
    def __repr__(self) -> str:
        raise OSError("nothing to print")


@pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])
@pytest.mark.parametrize("journaled", [True, False], ids=["journal", "no journal"])
def test_rows_that_cannot_even_be_read_end_no_others(
    make_executor: MakeExecutor, tmp_path: Path, workers: int, journaled: bool
) -> None:
    rows: list[Any] = [*ask(1), Unreadable(), {"question": Unprintable()}, {Unprintable: 1}, *ask(1, "z{}")]
    journal = tmp_path / "journal" if journaled else None
    results = make_executor().execute_batch("Ask", rows, max_workers=workers, journal=journal)
    assert [bool(outcome) for outcome in results] == [True, False, False, False, True]
    with pytest.raises(OSError, match="the file is gone"):
        results[1]["answer"]
    assert "row='<Unreadable: OSError>'" in repr(results[1])
    assert "question=<Unprintable>" in repr(results[2])
    results.to_jsonl(tmp_path / "out.jsonl")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5


def test_subscripting_a_failed_row_raises_its_own_error_every_time(make_executor: MakeExecutor) -> None:
    failure = make_executor().execute_batch("Ask", [{"question": "x fail=9"}])[0]
    assert isinstance(failure, FailedExecution)
    for _ in range(3):
        with pytest.raises(LanguageModelError) as caught:
            failure["answer"]
        assert caught.value is failure.error
    ways: list[Callable[[Any], Any]] = [
        list, dict, lambda row: row.get("answer"), lambda row: row.items(), lambda row: "answer" in row,
        lambda row: row.outputs,
    ]  # fmt: skip
    for ask in ways:
        with pytest.raises(LanguageModelError):
            ask(failure)
    assert not failure
    assert "row 0: LanguageModelError" in repr(failure)


def test_raising_at_the_end_keeps_every_finished_row(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    with pytest.raises(BatchError) as caught:
        executor.execute_batch("Ask", [*ask(5), {"question": "x fail=9"}, {}, *ask(5, "z{}")], on_error="raise")
    error = caught.value
    assert "2 of 12 rows failed" in str(error)
    assert len(error.result.succeeded) == 10
    assert error.result[11]["answer"] == "answer to z4"
    assert [type(inner) for inner in error.exceptions] == [LanguageModelError, InputError]
    assert [inner.__notes__ for inner in error.exceptions] == [["row 5 of the batch"], ["row 6 of the batch"]]
    inputs = error.subgroup(InputError)
    assert inputs is not None
    assert len(inputs.exceptions) == 1
    assert executor.execute_batch("Ask", ask(2), on_error="raise").failed == []


def test_what_cannot_work_is_said_before_any_row_is_run(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    with pytest.raises(SignatureNotFoundError, match="did you mean 'Ask'"):
        executor.execute_batch("Aks", ask(1))
    wrong: list[dict[str, Any]] = [
        {"on_error": "ignore"}, {"batch_size": 0}, {"batch_size": True}, {"max_workers": 0}, {"max_workers": "many"},
        {"cache": "never"}, {"timeout": -1}, {"backend": 5},
    ]  # fmt: skip
    for arguments in wrong:
        with pytest.raises(ConfigurationError):
            executor.execute_batch("Ask", ask(1), **arguments)
    for rows in ({"question": "one row, not a list of rows"}, "text", 5, None):
        with pytest.raises(ConfigurationError, match="iterable of rows"):
            executor.execute_batch("Ask", rows)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tiemout"):
        executor.execute_batch("Ask", ask(1), tiemout=1)  # type: ignore[call-arg]
    assert lm.engine.calls == 0


def test_without_a_language_model_the_batch_does_not_begin() -> None:
    with Executor(plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(LanguageModelUnavailable):
            executor.execute_batch("Ask", ask(3))


def test_a_closed_executor_runs_no_batch(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.close()
    for begin in (executor.execute_batch, executor.iter_batch):
        with pytest.raises(ClosedError):
            begin("Ask", ask(1))


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ({"parallel": "no"}, "parallel='no': expected True or False"),
        ({"progress": "yes"}, "progress='yes': expected True, False, None or a callable"),
        ({"journal": 5}, "journal=5: expected the path of a file"),
        ({"tiemout": 1}, "unexpected keyword argument 'tiemout'; did you mean 'timeout'?"),
    ],
)
def test_arguments_that_mean_nothing(make_executor: MakeExecutor, argument: dict[str, Any], told: str) -> None:
    executor = make_executor()
    for begin in (executor.execute_batch, executor.iter_batch):
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            begin("Ask", ask(1), **argument)
        assert told in str(caught.value)


def test_a_frame_is_not_mistaken_for_its_columns(make_executor: MakeExecutor) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ask(2))
    with pytest.raises(ConfigurationError, match=r"frame\.to_dict\('records'\)"):
        make_executor().execute_batch("Ask", frame)
    assert len(make_executor().execute_batch("Ask", frame.to_dict("records")).succeeded) == 2


@pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])
def test_closing_the_executor_ends_a_batch(make_executor: MakeExecutor, workers: int) -> None:
    """Else the rest of the source, which may be endless, would be read only to fail."""
    executor = make_executor()
    rows = executor.iter_batch("Ask", ({"question": f"q{n}"} for n in itertools.count()), max_workers=workers)
    next(rows)
    executor.close()
    with pytest.raises(ClosedError):
        list(rows)


def test_no_rows_are_an_empty_result(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    assert list(executor.execute_batch("Ask", [])) == []
    assert list(executor.iter_batch("Ask", iter(()))) == []
    assert executor.execute_batch("Ask", []).cost is None


def test_a_source_that_reuses_one_mapping_for_all_rows(make_executor: MakeExecutor) -> None:
    def rows() -> Iterator[Mapping[str, str]]:
        row = {}
        for number in range(20):
            row["question"] = f"q{number} sleep=0.005"
            yield row

    results = make_executor().execute_batch("Ask", rows(), batch_size=7)
    assert [result["answer"] for result in results] == [f"answer to q{number} sleep=0.005" for number in range(20)]


def test_aliases_and_lists_go_the_same_way_as_in_a_single_execution(make_executor: MakeExecutor) -> None:
    results = make_executor(mode="testing").execute_batch(Patient, [{"patient": "Ada", "question": "?"}])
    assert isinstance(results[0], ExecutionResult)


def test_sensitive_values_stay_out_of_what_is_shown_and_written(make_executor: MakeExecutor, tmp_path: Path) -> None:
    executor = make_executor(mode="testing")
    canary = "Canary-4711"
    rows = [{"patient": canary, "question": "?"}, {"name": canary, "qestion": "?"}, {"patient": canary, "name": canary}]
    results = executor.execute_batch(Patient, rows)
    path = tmp_path / "out.jsonl"
    results.to_jsonl(path)
    shown = repr(results) + repr(list(results)) + repr(results.failed) + path.read_text() + results.to_pandas().to_csv()
    assert canary not in shown
    assert "[redacted]" in shown
    assert results.failed[0].inputs["name"] == canary  # the caller's own row, as it was given
    results.to_jsonl(path, sensitive=True)
    assert canary in path.read_text()


def test_a_file_of_json_lines(make_executor: MakeExecutor, tmp_path: Path) -> None:
    rows: list[Any] = [{"question": "q0"}, {"question": object()}, {"question": "q2"}]
    results = make_executor().execute_batch("Ask", rows)
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    results.to_jsonl(path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["index"] for record in records] == [0, 1, 2]
    assert records[2]["inputs"] == {"question": "q2"}
    assert records[2]["outputs"] == {"answer": "answer to q2"}
    assert records[1]["error"]["type"] == "InputError"
    assert records[1]["inputs"] == {"question": "<object>"}
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    with pytest.raises(FileNotFoundError):
        results.to_jsonl(tmp_path / "missing" / "out.jsonl")


def test_lines_are_json_whatever_a_row_is_called_or_holds(make_executor: MakeExecutor, tmp_path: Path) -> None:
    rows: list[Any] = [{"q\ud800": "x"}, {"question": float("nan")}, {"question": "\ud800"}]
    executor = make_executor()
    executor.execute_batch("Ask", rows).to_jsonl(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["inputs"] for line in lines] == [{"q?": "x"}, {"question": None}, {"question": "<str>"}]
    assert sorted(row.to_json()[:12] for row in executor.iter_batch("Ask", rows)) == [line[:12] for line in lines]


def test_a_link_or_a_pipe_stays_what_it_is(make_executor: MakeExecutor, tmp_path: Path) -> None:
    results = make_executor().execute_batch("Ask", ask(2))
    file, link, pipe = tmp_path / "out.jsonl", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(file)
    results.to_jsonl(link)
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    results.to_jsonl(pipe)
    assert os.read(reading, 10_000) == file.read_bytes()
    os.close(reading)
    assert link.is_symlink()
    assert pipe.is_fifo()


def test_a_data_frame(make_executor: MakeExecutor) -> None:
    frame = make_executor().execute_batch("Ask", [{"question": "q0"}, {"question": ""}]).to_pandas()
    assert frame["answer"][0] == "answer to q0"
    assert list(frame["input.question"]) == ["q0", ""]
    assert frame["error"][1].startswith("InputError")
    assert list(frame.index) == [0, 1]


def test_outputs_that_are_called_like_a_figure_are_columns_of_their_own(make_executor: MakeExecutor) -> None:
    executor = make_executor(mode="testing")
    executor.register_signature("FindFault", "log -> error, cost")
    frame = executor.execute_batch("FindFault", [{"log": "x"}]).to_pandas()
    assert (frame["output.error"][0], frame["output.cost"][0]) == ("Sample error", "Sample cost")
    assert frame["error"][0] is None


def test_usage_and_cost_count_what_this_run_paid(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    first = executor.execute_batch("Ask", [*ask(4), {"question": "x fail=9"}])
    assert first.usage == Usage(40, 20, 5)
    again = executor.execute_batch("Ask", ask(4))
    assert again.usage == Usage()
    assert again.cost == 0.0
    assert {result.cached for result in again.succeeded} == {"memory"}
    assert [result["answer"] for result in again[1:3]] == ["answer to q1", "answer to q2"]
