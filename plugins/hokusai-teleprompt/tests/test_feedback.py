from __future__ import annotations

import asyncio
import datetime
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureSpec
from hokusai_core.errors import FeedbackError
from hokusai_core.plugin_api import REDACTED, FeedbackGiven, FieldSpec, install_command
from hokusai_core.protocols import FeedbackStore
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.trackers import make_event
from hokusai_teleprompt import FeedbackCollector, SqliteFeedbackStore

PLUGINS = ["teleprompt"]


class Draft(BaseSignature):
    """Draft an email."""

    recipient: str = InputField()
    password: str = InputField(sensitive=True)
    body: str = OutputField()
    tone: Literal["kind", "cold"] = OutputField()
    code: str = OutputField(sensitive=True)


INPUTS = {"recipient": "Ada", "password": "CANARY-1"}
ANSWERS = {"body": "Dear Ada", "tone": "kind", "code": "CANARY-2"}


@pytest.fixture
def executor() -> Any:
    with Executor(lm=null_lm(answers=ANSWERS), plugins=PLUGINS) as executor:
        executor.register_signature("Draft", Draft)
        yield executor


@pytest.fixture
def collector() -> Any:
    with FeedbackCollector() as collector:
        yield collector


def run(executor: Executor, **options: Any) -> Any:
    return executor.execute_signature("Draft", INPUTS, **{"collect_feedback": True, **options})


def test_an_execution_is_kept_before_its_result_is_there(executor: Executor, collector: Any) -> None:
    result = run(executor)
    kept = collector.execution(result["execution_id"])
    assert (kept.signature, kept.outputs["body"]) == ("local/Draft", "Dear Ada")
    assert executor.stats()["feedback"] == {"kept": 1, "failed": 0, "last_error": None}


def test_only_what_was_asked_for_is_kept(executor: Executor, collector: Any, own_folder: Path) -> None:
    executor.execute_signature("Draft", INPUTS)
    assert not own_folder.exists()
    assert list(collector.unrated()) == []


@pytest.mark.parametrize("cache", ["use", "refresh", "off"])
def test_cached_and_shared_results_are_kept_as_well(executor: Executor, collector: Any, cache: str) -> None:
    ids = [run(executor, cache=cache).execution_id for _ in range(3)]
    assert [kept.execution_id for kept in collector.unrated()] == ids
    assert len(set(ids)) == 3


def test_an_event_loop_keeps_them_too(executor: Executor, collector: Any) -> None:
    async def both() -> list[str]:
        results = await asyncio.gather(
            *(executor.aexecute_signature("Draft", INPUTS, collect_feedback=True) for _ in range(3))
        )
        return [result.execution_id for result in results]

    ids = asyncio.run(both())
    assert {kept.execution_id for kept in collector.unrated()} == set(ids)


def test_testing_mode_keeps_nothing(own_folder: Path) -> None:
    with Executor(mode="testing", plugins=PLUGINS) as executor:
        executor.register_signature("Draft", Draft)
        run(executor)
    assert not own_folder.exists()


def test_a_store_that_fails_is_no_secret_and_costs_no_answer(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder.write_text("a file where the folder should be")
    with Executor(lm=null_lm(answers=ANSWERS), plugins=PLUGINS) as executor:
        executor.register_signature("Draft", Draft)
        with pytest.warns(UserWarning, match="was not kept for feedback"):
            result = run(executor)
        assert result["body"] == "Dear Ada"
        stats = executor.stats()["feedback"]
        assert (stats["kept"], stats["failed"]) == (0, 1)
        assert "cannot be" in stats["last_error"] or "not a directory" in stats["last_error"].lower()


def test_without_a_store_the_caller_is_told() -> None:
    with Executor(lm=null_lm(answers=ANSWERS), plugins=[]) as executor:
        executor.register_signature("Draft", Draft)
        with pytest.warns(UserWarning, match=re.escape(install_command("hokusai-teleprompt"))):
            run(executor)


def test_sensitive_values_are_nowhere(executor: Executor, collector: Any, own_folder: Path) -> None:
    result = run(executor)
    collector.add_feedback(result.execution_id, 2, {"body": "Hello", "code": "CANARY-3"})
    (given,) = collector.get_feedback()
    assert {given.inputs["password"], given.outputs["code"], given.corrections["code"]} == {REDACTED}
    collector.close()
    content = b"".join(path.read_bytes() for path in own_folder.rglob("*") if path.is_file())
    assert b"Dear Ada" in content
    assert b"CANARY" not in content


def test_feedback_and_its_history(executor: Executor, collector: Any) -> None:
    first, second = run(executor).execution_id, run(executor).execution_id
    collector.add_feedback(first, 2, {"body": "Hi"}, "too stiff", "ann")
    collector.add_feedback(first, 4, source="bob")
    collector.add_feedback(first, 5, source="ann")
    collector.add_feedback(second, 3)
    assert collector.feedback_count() == 3
    assert [(g.source, g.rating) for g in collector.history(first)] == [("ann", 2), ("bob", 4), ("ann", 5)]
    current = {(g.execution_id, g.source): (g.rating, dict(g.corrections)) for g in collector.get_feedback()}
    assert current == {(first, "ann"): (5, {}), (first, "bob"): (4, {}), (second, "anonymous"): (3, {})}
    assert {g.rating for g in collector.get_feedback(min_rating=4)} == {4, 5}
    assert collector.get_feedback("Draft") == collector.get_feedback("local/Draft") == collector.get_feedback()
    assert collector.get_feedback("Dra") == []
    assert collector.feedback_count("Draft") == 3


def test_since(executor: Executor, collector: Any) -> None:
    collector.add_feedback(run(executor).execution_id, 1)
    middle = time.time()
    collector.add_feedback(run(executor).execution_id, 5)
    assert [g.rating for g in collector.get_feedback(since=middle)] == [5]
    assert [g.rating for g in collector.get_feedback(since=datetime.datetime.fromtimestamp(middle))] == [5]
    assert collector.get_feedback(since=time.time() + 10) == []
    yesterday = datetime.datetime.now() - datetime.timedelta(days=1)  # local time
    for point in (yesterday, yesterday.date(), yesterday.isoformat(), yesterday.date().isoformat()):
        assert len(collector.get_feedback(since=point)) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("min_rating", value) for value in (0, 6, "4", 3.5, True)),
     *(("since", value) for value in ("yesterday", datetime.timedelta(days=1), True))],
)  # fmt: skip
def test_a_filter_that_cannot_be_used_is_refused(collector: Any, name: str, value: Any) -> None:
    with pytest.raises(FeedbackError, match=f"{name}=.*: expected"):
        collector.get_feedback(**{name: value})


@pytest.mark.parametrize("rating", [0, 6, -1, 3.0, True, "4", None])
def test_a_bad_rating_is_refused(executor: Executor, collector: Any, rating: Any) -> None:
    execution_id = run(executor).execution_id
    with pytest.raises(FeedbackError, match="rating="):
        collector.add_feedback(execution_id, rating)
    assert collector.feedback_count() == 0


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        ({"bdy": "x"}, "'bdy' is not an output of local/Draft; did you mean 'body'"),
        ({"recipient": "x"}, "'recipient' is not an output"),
        ({"tone": "warm"}, "tone"),
        ({"body": ""}, "body"),
        (["body"], "must be a mapping"),
        ("body", "must be a mapping"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(
    executor: Executor, collector: Any, corrections: Any, message: str
) -> None:
    execution_id = run(executor).execution_id
    with pytest.raises(FeedbackError, match=message):
        collector.add_feedback(execution_id, 2, corrections)
    assert collector.feedback_count() == 0


@pytest.mark.parametrize("execution_id", ["unknown", "", None, 7])
def test_an_unknown_execution_is_refused(collector: Any, execution_id: Any) -> None:
    with pytest.raises(FeedbackError, match=r"no execution 'unknown' is kept in|execution_id must be a text"):
        collector.add_feedback(execution_id, 3)
    assert collector.feedback_count() == 0


def test_an_execution_that_is_not_kept_is_a_lookup_error_that_says_how_to_keep_one(collector: Any) -> None:
    with pytest.raises(LookupError, match=r"'gone' .*collect_feedback=True"):
        collector.add_feedback("gone", 3)
    with pytest.raises(LookupError, match=r"'gone' .*collect_feedback=True"):
        collector.history("gone")


def test_every_problem_is_named_at_once(collector: Any) -> None:
    with pytest.raises(FeedbackError) as caught:
        collector.add_feedback("x", 9, ["y"], 3, 4)
    for word in ("rating=9", "corrections", "comment", "source"):
        assert word in str(caught.value)


def test_deleting_leaves_nothing_behind(executor: Executor, collector: Any, own_folder: Path) -> None:
    keep, remove = run(executor).execution_id, run(executor).execution_id
    collector.add_feedback(keep, 5)
    collector.add_feedback(remove, 1, {"body": "DELETED-WORD"})
    assert collector.delete(remove)
    assert not collector.delete(remove)
    with pytest.raises(FeedbackError, match="may also have been deleted"):
        collector.history(remove)
    assert collector.feedback_count() == 1
    collector.close()
    assert b"DELETED-WORD" not in b"".join(path.read_bytes() for path in own_folder.rglob("*") if path.is_file())


def test_export(executor: Executor, collector: Any, tmp_path: Path) -> None:
    execution_id = run(executor).execution_id
    collector.add_feedback(execution_id, 2, {"body": "Grüße"})
    assert collector.export(tmp_path / "feedback.jsonl") == 1
    (row,) = map(json.loads, (tmp_path / "feedback.jsonl").read_text(encoding="utf-8").splitlines())
    assert (row["execution_id"], row["corrections"], row["rating"]) == (execution_id, {"body": "Grüße"}, 2)


def test_another_place_and_another_store(executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_FEEDBACK_DIR", str(tmp_path / "elsewhere"))
    with Executor(lm=null_lm(answers=ANSWERS), plugins=PLUGINS) as other:
        other.register_signature("Draft", Draft)
        execution_id = run(other).execution_id
    assert FeedbackCollector().execution(execution_id).outputs["body"] == "Dear Ada"
    assert FeedbackCollector(tmp_path / "elsewhere").execution(execution_id)  # type: ignore[truthy-bool]
    store = SqliteFeedbackStore(tmp_path / "mine.db")
    assert isinstance(store, FeedbackStore)
    with Executor(lm=null_lm(answers=ANSWERS), plugins=PLUGINS, feedback_store=store) as other:
        other.register_signature("Draft", Draft)
        execution_id = run(other).execution_id
    assert FeedbackCollector(store=store).execution(execution_id)  # type: ignore[truthy-bool]
    assert FeedbackCollector(store="sqlite", executor=executor).feedback_count() == 0
    with pytest.raises(FeedbackError, match="not both"):
        FeedbackCollector(tmp_path, store=store)


def test_trackers_of_the_executor_hear_of_it() -> None:
    listeners = [ListeningTracker(), ListeningTracker()]
    executors = [
        Executor(lm=null_lm(answers=ANSWERS), plugins=PLUGINS, trackers={"ear": listener}) for listener in listeners
    ]
    with executors[0], executors[1]:
        executors[0].register_signature("Draft", Draft)
        execution_id = run(executors[0]).execution_id
        FeedbackCollector().add_feedback(execution_id, 4, {"code": "CANARY"})
        (told,) = [event for event in listeners[0].events if isinstance(event, FeedbackGiven)]
        assert (told.execution_id, told.rating, told.corrections) == (execution_id, 4, {"code": "[redacted]"})
        assert listeners[1].events == []
        FeedbackCollector(executor=executors[1]).add_feedback(execution_id, 5)
        assert [event.rating for event in listeners[1].events] == [5]  # type: ignore[union-attr]
        executors[0].close()
        FeedbackCollector().add_feedback(execution_id, 3)  # as in a process that has not made the execution
        assert [event.rating for event in listeners[1].events] == [5, 3]  # type: ignore[union-attr]


def test_the_store_is_for_this_user_alone(executor: Executor, own_folder: Path) -> None:
    run(executor)
    folder = own_folder / "feedback"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "feedback.db").stat().st_mode) == 0o600
    folder.chmod(0o777)
    with pytest.raises(ValueError, match="others can write"):
        FeedbackCollector().feedback_count()


def test_a_store_of_a_newer_version_is_refused(executor: Executor, own_folder: Path) -> None:
    run(executor)
    database = sqlite3.connect(own_folder / "feedback" / "feedback.db")
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(FeedbackError, match="is of version 7"):
        FeedbackCollector().feedback_count()


def test_many_are_read_page_by_page(tmp_path: Path) -> None:
    store = SqliteFeedbackStore(tmp_path)
    spec = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))
    events = [make_event() for _ in range(1203)]
    database = store._open()
    database.execute("PRAGMA synchronous = OFF")  # the loop below would otherwise take a second of syncing
    for event in events:
        store.keep(event, spec)
    assert [kept.execution_id for kept in store.read()] == [event.execution_id for event in events]
    store.keep(events[0], spec)
    assert sum(1 for _ in store.read()) == 1203
    store.close()
    store.close()


def give(path: Path, ids: list[str], name: str, hang: bool) -> None:
    collector = FeedbackCollector(path)
    for number, execution_id in enumerate(ids):
        collector.add_feedback(execution_id, 1 + number % 5, {"greeting": f"corrected by {name}"}, source=name)
        (path / f"{name}.log").open("a").write(f"{execution_id}\n")
    if hang:
        (path / f"{name}.done").touch()
        time.sleep(600)


def test_120_feedbacks_from_four_processes_one_of_which_is_killed(tmp_path: Path) -> None:
    store = SqliteFeedbackStore(tmp_path)
    spec = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))
    events = [make_event(signature="local/Greet", inputs={"name": f"N{n}"}) for n in range(120)]
    for event in events:
        store.keep(event, spec)
    context = multiprocessing.get_context("spawn")
    ids = [event.execution_id for event in events]
    processes = [
        context.Process(target=give, args=(tmp_path, ids[30 * n : 30 * n + 30], f"p{n}", n == 3)) for n in range(4)
    ]
    for process in processes:
        process.start()
    while not (tmp_path / "p3.done").exists():
        assert processes[3].is_alive()
        time.sleep(0.05)
    os.kill(processes[3].pid or 0, signal.SIGKILL)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, -signal.SIGKILL]
    with FeedbackCollector(tmp_path) as collector:
        assert collector.feedback_count() == 120
        assert {g.execution_id for g in collector.get_feedback()} == set(ids)


def test_a_process_killed_while_it_writes_loses_nothing_that_returned(tmp_path: Path) -> None:
    store = SqliteFeedbackStore(tmp_path)
    spec = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))
    events = [make_event() for _ in range(400)]
    for event in events:
        store.keep(event, spec)
    process = multiprocessing.get_context("spawn").Process(
        target=give, args=(tmp_path, [event.execution_id for event in events], "victim", False)
    )
    process.start()
    log = tmp_path / "victim.log"
    while not log.exists() or len(log.read_text().splitlines()) < 20:
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    returned = set(log.read_text().split())
    stored = {g.execution_id for g in FeedbackCollector(tmp_path).get_feedback()}
    assert returned <= stored
    assert len(stored) <= len(returned) + 1


def test_a_forked_process_uses_the_store_of_its_parent(tmp_path: Path) -> None:
    store = SqliteFeedbackStore(tmp_path)
    spec = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))
    first, second = make_event(), make_event()
    store.keep(first, spec)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.keep(second, spec)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [kept.execution_id for kept in store.read()] == [first.execution_id, second.execution_id]
