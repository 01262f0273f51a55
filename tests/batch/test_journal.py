"""The journal: what is in it is never paid twice, and nothing else is believed."""

from __future__ import annotations

import asyncio
import json
import textwrap
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, ExecutionResult, Executor, InputField, OutputField
from hokusai_core.batch.journal import Journal, JournalWarning
from hokusai_core.errors import AnswerCutOff, ConfigurationError, JournalError
from hokusai_core.testing.lm import null_lm
from tests.warm_python import WarmPython

MakeExecutor = Callable[..., Executor]
WINDOWS = pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])


def ask(count: int, text: str = "q{}") -> list[dict[str, str]]:
    return [{"question": text.format(number)} for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.journal"


@WINDOWS
def test_a_finished_batch_is_read_back(make_executor: MakeExecutor, make_lm: Any, path: Path, workers: int) -> None:
    lm = make_lm()
    first = make_executor(lm=lm).execute_batch("Ask", ask(30), journal=path, max_workers=workers)
    again = make_executor(lm=lm).execute_batch("Ask", ask(30), journal=str(path), max_workers=workers)
    assert lm.engine.calls == 30
    assert [dict(result) for result in again.succeeded] == [dict(result) for result in first.succeeded]
    assert [result.execution_id for result in again.succeeded] == [result.execution_id for result in first.succeeded]
    assert {result.cached for result in again.succeeded} == {"journal"}
    assert (again.usage.calls, again.cost) == (0, 0.0)
    assert again.succeeded[0].original_latency == first.succeeded[0].latency


def test_failed_rows_are_tried_again_and_changed_ones_are_run(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    lm = make_lm()
    rows = [*ask(5), {"question": "x fail=1"}, {}]
    executor = make_executor(lm=lm, cache_enabled=False)
    assert len(executor.execute_batch("Ask", rows, journal=path).failed) == 2
    assert lm.engine.calls == 6
    changed = [{"question": "new"}, *reversed(rows[1:6])]
    results = executor.execute_batch("Ask", changed, journal=path)
    assert results.failed == []
    assert lm.engine.calls == 8  # the failed one and the new one
    assert [result["answer"] for result in results] == [f"answer to {row['question']}" for row in changed]


def test_iterating_and_awaiting_use_the_same_journal(make_executor: MakeExecutor, make_lm: Any, path: Path) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm, cache_enabled=False)
    with executor.iter_batch("Ask", iter(ask(10)), journal=path) as rows:
        assert sorted(row.index for row in rows) == list(range(10))
    results = asyncio.run(executor.aexecute_batch("Ask", ask(12), journal=path))
    assert lm.engine.calls == 12
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(12)]


def test_leaving_an_iteration_early_keeps_what_was_under_way(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    lm = make_lm(delay=0.05)
    executor = make_executor(lm=lm, cache_enabled=False)
    rows = executor.iter_batch("Ask", ask(200), journal=path)
    next(rows)
    rows.close()
    paid = lm.engine.calls
    assert paid < 40
    executor.execute_batch("Ask", ask(200), journal=path)
    assert lm.engine.calls == 200


def test_a_kill_between_two_rows_costs_the_rows_under_way_only(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    executor = make_executor(cache_enabled=False)
    executor.execute_batch("Ask", ask(20), journal=path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (len(lines[0]), len(b"".join(lines[:8])), len(whole) - 1, len(whole) - 5, len(lines[0]) + 3):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n") - 1
        lm = make_lm()
        results = make_executor(lm=lm, cache_enabled=False).execute_batch("Ask", ask(20), journal=path)
        assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(20)]
        assert lm.engine.calls == 20 - kept
        again = make_lm()  # what was written behind the torn line is found, too
        make_executor(lm=again, cache_enabled=False).execute_batch("Ask", ask(20), journal=path)
        assert again.engine.calls == 0


@pytest.mark.parametrize("size", [0, 9, 10, 40])
def test_a_kill_while_the_journal_was_begun(make_executor: MakeExecutor, path: Path, size: int) -> None:
    executor = make_executor()
    executor.execute_batch("Ask", ask(1), journal=path)
    path.write_bytes(path.read_bytes()[:size])
    assert executor.execute_batch("Ask", ask(3), journal=path).failed == []


def test_damage_is_told_and_never_believed(make_executor: MakeExecutor, make_lm: Any, path: Path) -> None:
    make_executor().execute_batch("Ask", ask(10), journal=path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"answer to", b"ANSWER TO")
    path.write_bytes(b"".join(lines))
    lm = make_lm()
    with pytest.warns(JournalWarning, match="1 damaged line: its row is run again"):
        results = make_executor(lm=lm, cache_enabled=False).execute_batch("Ask", ask(10), journal=path)
    assert lm.engine.calls == 1
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(10)]


def test_outputs_that_do_not_fit_the_signature_are_not_served(tmp_path: Path) -> None:
    with Executor(plugins=[], mode="testing") as executor:
        executor.register_signature("Rate", "text -> stars: int")
        spec = executor.signature("Rate").spec
        journal = Journal(tmp_path / "j", spec, "local/Rate", testing=True)
        key = journal.key({"text": "Good."})
        assert key is not None
        result = ExecutionResult({"stars": 4}, execution_id="e", signature="Rate")
        journal.record(key, 0, result)
        result = ExecutionResult({"stars": "many"}, execution_id="e", signature="Rate")
        journal.record(journal.key({"text": "Bad."}) or "", 1, result)
        journal.close()
        results = executor.execute_batch("Rate", [{"text": "Good."}, {"text": "Bad."}], journal=tmp_path / "j")
        assert [result["stars"] for result in results] == [4, 1]


def test_a_journal_of_something_else_is_refused_and_left_alone(make_executor: MakeExecutor, path: Path) -> None:
    executor = make_executor()
    executor.execute_batch("Ask", ask(2), journal=path)
    before = path.read_bytes()
    executor.register_signature("Other", "text -> answer")
    with pytest.raises(JournalError, match=r"belongs to local/Ask 1\.0\.0.*this batch runs local/Other"):
        executor.execute_batch("Other", [{"text": "?"}], journal=path)

    class Ask(BaseSignature):
        version = "1.1.0"
        question = InputField()
        answer = OutputField()

    executor.register_signature("Ask", Ask, replace=True)
    with pytest.raises(JournalError, match=r"local/Ask 1\.1\.0"):
        executor.execute_batch("Ask", ask(2), journal=path)
    executor.set_mode("testing")
    executor.register_signature("Ask", "question -> answer", replace=True)
    with pytest.raises(JournalError, match="answers of a language model"):
        executor.execute_batch("Ask", ask(2), journal=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"notes\n", b"\x00\xff" * 50, b'{"index": 1}\n{"index": 2}\n', b"no line feed", b"c0ffee"]
)
def test_a_file_that_is_no_journal_is_never_written(make_executor: MakeExecutor, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="no journal"):
        make_executor().execute_batch("Ask", ask(2), journal=path)
    assert path.read_bytes() == content


def test_a_batch_that_does_not_begin_leaves_its_journal_free(make_executor: MakeExecutor, path: Path) -> None:
    executor = make_executor()

    async def begin(**wrong: Any) -> Any:
        return await executor.aexecute_batch("Ask", ask(1), journal=path, **wrong)

    wrong: dict[str, Any]
    for wrong in ({"progress": "loud"}, {"batch_size": 0}):
        with pytest.raises(ConfigurationError):
            executor.execute_batch("Ask", ask(1), journal=path, **wrong)
        with pytest.raises(ConfigurationError):
            asyncio.run(begin(**wrong))
    assert asyncio.run(begin())[0]["answer"] == "answer to q0"


def test_places_where_no_journal_can_be(make_executor: MakeExecutor, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing" / "j", "/dev/null"):
        with pytest.raises(JournalError, match=str(place)):
            make_executor().execute_batch("Ask", ask(1), journal=place)
    with pytest.raises(JournalError, match="cannot be opened"):
        make_executor().execute_batch("Ask", ask(1), journal="a\0b")


def test_two_batches_cannot_share_a_journal(make_executor: MakeExecutor, path: Path, warm_python: WarmPython) -> None:
    executor = make_executor()
    program = textwrap.dedent("""
        import sys
        from hokusai_core import Executor
        from hokusai_core.errors import JournalError
        with Executor(plugins=[], mode="production", lm="none/none") as executor:
            executor.register_signature("Ask", "question -> answer")
            try:
                executor.execute_batch("Ask", [{"question": "?"}], journal=sys.argv[1])
            except JournalError as error:
                print(error)
    """)
    rows = executor.iter_batch("Ask", ({"question": f"q{n} sleep=0.05"} for n in range(10_000)), journal=path)
    next(rows)
    with pytest.raises(JournalError, match="in use by another batch"):
        executor.execute_batch("Ask", ask(1), journal=path)
    other = warm_python.run(program, str(path))
    assert "in use by another batch" in other.stdout
    rows.close()
    assert executor.execute_batch("Ask", ask(1), journal=path).failed == []


@WINDOWS
def test_identical_rows(make_executor: MakeExecutor, make_lm: Any, path: Path, workers: int) -> None:
    rows = [{"question": f"q{n % 4}"} for n in range(20)]
    lm = make_lm()
    make_executor(lm=lm).execute_batch("Ask", rows, journal=path, max_workers=workers)
    assert lm.engine.calls == 4
    again = make_executor(lm=lm).execute_batch("Ask", rows, journal=path, max_workers=workers)
    assert lm.engine.calls == 4
    assert [result["answer"] for result in again] == [f"answer to q{n % 4}" for n in range(20)]


def test_identical_rows_that_each_have_an_answer_keep_them(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    first = executor.execute_batch("Ask", [{"question": "same"}] * 6, journal=path, cache="off")
    assert lm.engine.calls == 6
    again = executor.execute_batch("Ask", [{"question": "same"}] * 8, journal=path, cache="off", parallel=False)
    assert lm.engine.calls == 8
    ids = [result.execution_id for result in again.succeeded]
    assert ids[:6] == [result.execution_id for result in first.succeeded]
    assert len(set(ids)) == 8


def test_sensitive_values_are_not_in_it(make_executor: MakeExecutor, make_lm: Any, path: Path) -> None:
    class Secret(BaseSignature):
        question = InputField(sensitive=True)
        answer = OutputField()

    class Shy(BaseSignature):
        question = InputField()
        answer = OutputField(sensitive=True)

    lm = make_lm()
    executor = make_executor(lm=lm, cache_enabled=False)
    lm.engine.answer = lambda *_: type(lm.engine).answer(lm.engine, "nothing", {}, 1)
    rows: list[Any] = [{"question": "Canary-4711"}, {"question": "Canary-4711 fail=9"}, {"question": ["Canary-4711"]}]
    executor.execute_batch(Secret, rows, journal=path)
    executor.execute_batch(Secret, rows, journal=path)
    assert lm.engine.calls == 2
    assert b"Canary" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    other = path.with_name("other")
    with pytest.warns(JournalWarning, match="sensitive outputs"):
        executor.execute_batch(Shy, ask(2), journal=other)
    with pytest.warns(JournalWarning):
        executor.execute_batch(Shy, ask(2), journal=other)
    assert lm.engine.calls == 6
    assert b"answer to" not in other.read_bytes()


def test_a_full_disk_stops_the_batch_and_damages_nothing(tmp_path: Path, warm_python: WarmPython) -> None:
    """The size limit of the process stands for the end of the disk: a write fails in the middle of a line."""
    program = textwrap.dedent("""
        import resource, signal, sys
        from hokusai_core import Executor
        from hokusai_core.errors import JournalError
        from hokusai_core.testing.lm import null_lm
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        lm = null_lm(delay=0.002)
        with Executor(plugins=[], lm=lm) as executor:
            executor.register_signature("Ask", "question -> answer")
            rows = [{"question": f"q{n}"} for n in range(300)]
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
            try:
                executor.execute_batch("Ask", rows, journal=sys.argv[1], max_workers=4)
            except JournalError as error:
                print("JournalError", error, "|", len(error.result.succeeded))
            calls = lm.engine.calls
            print(calls)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            results = executor.execute_batch("Ask", rows, journal=sys.argv[1], cache="off")
            print(len(results.succeeded), lm.engine.calls - calls)
    """)
    path = tmp_path / "j"
    done = warm_python.run(program, str(path), "5003")
    first, calls, rest = done.stdout.splitlines()
    assert first.startswith("JournalError")
    assert "cannot be written" in first
    assert int(first.rpartition("| ")[2]) == int(calls)  # what could not be written is not lost, either
    assert int(calls) < 60  # it did not go on paying
    succeeded, missing = map(int, rest.split())
    assert succeeded == 300
    written = 300 - missing
    assert int(calls) - 8 <= written <= int(calls)


def test_outputs_that_have_no_json_form_cost_no_other_row(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    import dspy

    class Program(dspy.Module):  # type: ignore[misc]  # dspy has no types
        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            return dspy.Prediction(found=object() if question == "q1" else question)

    executor = make_executor()
    executor.register_signature("Program", Program())
    with pytest.warns(JournalWarning, match="outputs of local/Program have no JSON form.*run again") as told:
        results = executor.execute_batch("Program", ask(3), journal=path)
    assert len(told) == 1
    assert len(results.succeeded) == 3
    with pytest.warns(JournalWarning):
        again = executor.execute_batch("Program", ask(3), journal=path)
    assert [result.cached for result in again.succeeded] == ["journal", None, "journal"]


def test_rows_that_another_model_has_answered_are_kept_and_told(
    make_executor: MakeExecutor, make_lm: Any, path: Path
) -> None:
    first, second = make_lm(), make_lm()
    second.model = "scripted/other"
    make_executor(lm=first).execute_batch("Ask", ask(3), journal=path)
    with pytest.warns(JournalWarning, match="3 of its rows were answered by scripted/rows and are kept"):
        results = make_executor(lm=second).execute_batch("Ask", ask(4), journal=path)
    assert [result.model for result in results.succeeded] == ["scripted/rows"] * 3 + ["scripted/other"]


def write_line(record: Any, outputs: bytes = b"") -> bytes:
    body = json.dumps(record).encode() + b"\t" + outputs
    return b"%08x %b\n" % (zlib.crc32(body), body)


def read_line(line: bytes) -> Any:
    return json.loads(line[9:].partition(b"\t")[0])


@pytest.mark.parametrize(
    "record",
    [
        {"ok": True},
        {"ok": True, "key": 5},
        {"ok": True, "key": "no digest"},
        {"ok": True, "key": "KEY"},
        {"ok": True, "key": "KEY", "id": "e", "model": "scripted/rows", "at": "now", "latency": 1, "cost": None},
        {"ok": True, "key": "KEY", "id": "e", "model": "scripted/rows", "at": 1, "latency": "long", "cost": None},
        {"ok": True, "key": "KEY", "id": "e", "model": "scripted/rows", "at": 1, "latency": 1, "cost": {}},
    ],
)
def test_lines_that_somebody_has_made_up_are_no_rows(
    make_executor: MakeExecutor, make_lm: Any, path: Path, record: dict[str, Any]
) -> None:
    executor = make_executor(lm=make_lm(), cache_enabled=False)
    executor.execute_batch("Ask", ask(1), journal=path)
    header, row = path.read_bytes().splitlines(keepends=True)
    if record.get("key") == "KEY":
        record = record | {"key": read_line(row)["key"]}
    path.write_bytes(header + write_line(record, b'{"answer": "made up"}'))
    results = executor.execute_batch("Ask", ask(1), journal=path)
    assert results[0]["answer"] == "answer to q0"


@pytest.mark.parametrize("change", [{"salt": "no digits"}, {"salt": None}, {"fingerprint": None}, {"version": 7}])
def test_a_header_that_somebody_has_made_up_is_refused(
    make_executor: MakeExecutor, path: Path, change: dict[str, Any]
) -> None:
    executor = make_executor()
    executor.execute_batch("Ask", ask(1), journal=path)
    header = read_line(path.read_bytes().partition(b"\n")[0]) | change
    path.write_bytes(write_line({name: value for name, value in header.items() if value is not None}))
    with pytest.raises(JournalError, match=str(path)):
        executor.execute_batch("Ask", ask(1), journal=path)
    path.write_bytes(path.read_bytes().replace(b'"testing"', b'"tasting"'))
    with pytest.raises(JournalError, match="a journal with a damaged first line"):
        executor.execute_batch("Ask", ask(1), journal=path)


class Rate(BaseSignature):
    """Rate a text."""

    text: str = InputField("a text")
    limit: int = InputField("the most stars", default=5)
    stars: int = OutputField("how good it is")
    reasons: list[str] = OutputField("why")


@pytest.mark.parametrize("torn", [0, 1, 30])
def test_a_journal_of_0_1_is_continued(path: Path, torn: int) -> None:
    """``data/journal-0.1`` was written by that version, for the rows "Text 0" to "Text 3"."""
    old = (Path(__file__).parent / "data" / "journal-0.1").read_bytes()
    path.write_bytes(old[: len(old) - torn])
    rows = [{"text": f"Text {number}"} for number in range(6)]
    kept = 4 if torn == 0 else 3
    lm = null_lm(answers={"stars": "4", "reasons": '["short", "clear"]'})
    with Executor(plugins=[], lm=lm, cache_enabled=False) as executor:
        executor.register_signature("Rate", Rate)
        results = executor.execute_batch("Rate", rows, journal=path)
        assert [result.cached for result in results.succeeded] == ["journal"] * kept + [None] * (6 - kept)
        assert {(result["stars"], tuple(result["reasons"])) for result in results} == {(4, ("short", "clear"))}
        again = executor.execute_batch("Rate", rows, journal=path)
        assert {result.cached for result in again.succeeded} == {"journal"}
    assert lm.engine.calls == 6 - kept


def test_an_answer_that_was_cut_off_is_not_in_it(make_executor: MakeExecutor, make_lm: Any, path: Path) -> None:
    """It may look complete, and yet lack the end of its last output."""
    lm = make_lm()
    answer = lm.engine.answer

    def cut(question: str, orders: dict[str, float], count: int) -> Any:
        return replace(answer(question, orders, count), finish_reason="length" if count == 1 else "stop")

    lm.engine.answer = cut
    executor = make_executor(lm=lm)
    first = executor.execute_batch("Ask", ask(3), journal=path)
    assert [type(failure.error) for failure in first.failed] == [AnswerCutOff] * 3
    second = executor.execute_batch("Ask", ask(3), journal=path)
    assert [result["answer"] for result in second] == [f"answer to q{n}" for n in range(3)]
    assert {result.cached for result in second.succeeded} == {None}
    assert lm.engine.calls == 6
