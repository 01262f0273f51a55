from __future__ import annotations

import errno
import json
import os
import random
import secrets
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Usage
from hokusai_core.plugin_api import OutboxFolder, StageTiming
from hokusai_core.testing.trackers import make_event, make_failure, make_feedback, make_operation, make_outcome
from hokusai_core.types import Attempt
from hokusai_mlflow import target_state
from hokusai_mlflow.delivery.publisher import Publisher
from hokusai_mlflow.loading import load_executions, read_part
from hokusai_mlflow.target_state import state_files
from hokusai_mlflow.writer import Writer, locked


def test_a_row_holds_everything_that_is_known_of_an_execution(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(event := make_event(tags={"team": "sales"}, parent_id="ab" * 16, parent_kind="batch"))
    tracker.record(failure := make_failure())
    assert place.deliver()
    first, second = place.rows()
    assert first | {"started_at": "", "cut": None} == {
        "execution_id": event.execution_id,
        "started_at": "",
        "signature": "pack/Greet",
        "signature_version": "1.2.0",
        "fingerprint": "0123456789abcdef" * 2,
        "status": "ok",
        "inputs": '{"name":"Ada","password":"[redacted]"}',
        "outputs": '{"greeting":"Hello Ada"}',
        "latency": 0.25,
        "input_tokens": 12,
        "output_tokens": 5,
        "cost": 0.001,
        "model": "null/model",
        "model_parameters": '{"temperature":0.5,"max_tokens":100}',
        "cached": None,
        "attempts": 1,
        "attempt_errors": None,
        "error_type": None,
        "error": None,
        "tags": '{"team":"sales"}',
        "parent_id": "ab" * 16,
        "step": None,
        "trace_id": f"tr-{event.execution_id}",
        "cut": None,
    }
    assert second["execution_id"] == failure.execution_id
    assert (second["status"], second["error_type"], second["error"]) == ("failed", "LanguageModelError", "no answer")
    assert json.loads(second["attempt_errors"]) == ["LanguageModelError: no answer"] * 2


def test_the_run_holds_metrics_and_parameters(place: Any) -> None:
    tracker = place.tracker(run_name="nightly", tags={"team": "sales"})
    for latency in (0.1, 0.2, 0.3):
        tracker.record(make_event(latency=latency))
    tracker.record(make_failure(cost=None))
    tracker.record(make_event(cached="memory", usage=Usage(), cost=0.0))
    tracker.close()
    assert place.deliver()
    (run,) = place.runs()
    assert run.info.run_name == "nightly"
    assert run.info.status == "FINISHED"
    assert run.data.tags["team"] == "sales"
    metrics = run.data.metrics
    assert metrics["hokusai/executions"] == 5
    assert metrics["hokusai/failures"] == 1
    assert metrics["hokusai/cache_hit_rate"] == pytest.approx(0.2)
    assert metrics["hokusai/input_tokens"] == 48
    assert metrics["hokusai/cost"] == pytest.approx(0.003)
    assert metrics["hokusai/latency_p50"] == 0.25
    assert run.data.params["Greet.model"] == "null/model"
    assert run.data.params["Greet.version"] == "1.2.0"
    assert run.data.params["Greet.model.temperature"] == "0.5"


def test_metrics_go_on_by_the_number_of_executions(place: Any) -> None:
    tracker = place.tracker()
    for count in (2, 3):
        for _ in range(count):
            tracker.record(make_event())
        assert place.deliver()
    (run,) = place.runs()
    history = place.client.get_metric_history(run.info.run_id, "hokusai/executions")
    assert sorted((point.step, point.value) for point in history) == [(2, 2.0), (5, 5.0)]


def test_a_table_grows_by_parts_that_mlflow_loads(place: Any, host_store: Any) -> None:
    tracker = place.tracker(traces_per_second=0)
    ids = []
    for _ in range(2300):
        tracker.record(event := make_event())
        ids.append(event.execution_id)
    assert place.deliver()
    (run,) = place.runs()
    parts = [artifact.path for artifact in place.client.list_artifacts(run.info.run_id, "executions")]
    assert len(parts) == 3
    assert list(load_executions(run.info.run_id, tracking_uri=place.uri)["execution_id"]) == ids
    listed = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert {entry["path"] for entry in listed} == set(parts)
    host_store.set_experiment("Test")
    assert host_store.load_table(parts[0], [run.info.run_id]).shape[0] == 1000


def test_a_trace_has_a_span_for_each_stage_and_attempt(place: Any) -> None:
    tracker = place.tracker()
    started = time.time() - 100
    attempts = (
        Attempt(1, "failed", 0.1, "a/one", Usage(10, 0, 1), error="LanguageModelError: busy"),
        Attempt(2, "ok", 0.2, "a/two", Usage(10, 4, 1), 0.002),
    )
    stages = (
        StageTiming("bind", 0.0, 0.01),
        StageTiming("language_model", 0.01, 0.1),
        StageTiming("language_model", 0.5, 0.2),
        StageTiming("validate_outputs", 0.7, 0.01),
    )
    tracker.record(
        event := make_event(
            attempts=attempts, stages=stages, latency=0.75, started_at=started, usage=Usage(20, 4, 2), cost=0.002
        )
    )
    assert place.deliver()
    (trace,) = place.traces()
    (run,) = place.runs()
    assert trace.info.trace_id == f"tr-{event.execution_id}"
    assert trace.info.client_request_id == event.execution_id
    assert trace.info.state == "OK"
    assert trace.info.request_metadata["mlflow.sourceRun"] == run.info.run_id
    assert trace.info.token_usage == {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24}
    assert abs(trace.info.request_time - started * 1000) < 2
    root, bind, first, second, validated = trace.data.spans
    assert [span.name for span in (bind, first, second, validated)] == [stage.name for stage in stages]
    assert {span.parent_id for span in (bind, first, second, validated)} == {root.span_id}
    assert root.inputs == {"name": "Ada", "password": "[redacted]"}
    assert root.outputs == {"greeting": "Hello Ada"}
    assert first.status.status_code == "ERROR"
    assert "busy" in first.events[0].attributes["exception.message"]
    assert second.attributes["mlflow.chat.tokenUsage"]["output_tokens"] == 4
    assert second.attributes["mlflow.llm.model"] == "a/two"
    assert abs((second.end_time_ns - second.start_time_ns) / 1e9 - 0.2) < 0.001


def test_trace_ids_do_not_depend_on_the_seed_of_the_host(place: Any) -> None:
    tracker = place.tracker()
    for _ in range(2):
        random.seed(0)
        tracker.record(make_event())
        assert place.deliver()
    assert len({trace.info.trace_id for trace in place.traces()}) == 2


def test_traces_are_sampled_above_the_rate_and_the_rest_is_counted(place: Any) -> None:
    tracker = place.tracker(traces_per_second=1)
    now = time.time()
    for number in range(40):
        tracker.record(make_event(started_at=now + number / 1000))
    tracker.record(failure := make_failure(started_at=now + 0.05))
    tracker.record(wanted := make_event(started_at=now + 0.06, collect_feedback=True))
    assert place.deliver()
    traced = {trace.info.client_request_id for trace in place.traces()}
    (run,) = place.runs()
    assert {failure.execution_id, wanted.execution_id} <= traced
    assert len(traced) == 8 + 2  # eight seconds' worth may come at once
    assert run.data.metrics["hokusai/traces_sampled_away"] == 42 - len(traced)
    assert tracker.status()["traces_sampled_away"] == 42 - len(traced)
    assert {row["execution_id"] for row in place.rows() if row["trace_id"]} == traced


def test_traces_that_queue_keep_others_away_but_no_failures(place: Any) -> None:
    tracker, now = place.tracker(traces_per_second=1), time.time()
    for number in range(60):
        # Slow enough for the rate; but nothing is delivered meanwhile, as if MLflow were slower still.
        tracker.record(make_event(started_at=now + 2 * number))
    tracker.record(failure := make_failure(started_at=now + 130))
    assert place.deliver()
    traced = {row["execution_id"] for row in place.rows() if row["trace_id"]}
    assert len(traced) == 40 + 1  # as many as MLflow should take in forty seconds
    assert failure.execution_id in traced
    tracker.record(later := make_event(started_at=now + 132))
    assert place.deliver()
    assert place.rows()[-1]["execution_id"] == later.execution_id
    assert place.rows()[-1]["trace_id"]


def test_the_share_of_traces_is_kept(place: Any) -> None:
    tracker = place.tracker(sampling=0.25, traces_per_second=10_000)
    for _ in range(200):
        tracker.record(make_event())
    assert place.deliver(120)
    assert 20 <= len(place.traces()) <= 85
    assert len(place.rows()) == 200


def test_a_chain_is_one_trace(place: Any) -> None:
    tracker, chain = place.tracker(), secrets.token_hex(16)
    steps = [
        make_event(parent_id=chain, parent_kind="chain", step=name, started_at=time.time() + at)
        for at, name in enumerate(("Extract", "Summarize"))
    ]
    for step in steps:
        tracker.record(step)
    assert place.deliver()
    (trace,) = place.traces()
    assert (trace.info.trace_id, trace.info.state) == (f"tr-{chain}", "IN_PROGRESS")
    tracker.record(make_operation(chain, kind="chain", name="Extract -> Summarize"))
    assert place.deliver()
    (trace,) = place.traces()
    (root,) = [span for span in trace.data.spans if span.parent_id is None]
    assert (trace.info.trace_id, trace.info.state) == (f"tr-{chain}", "OK")
    assert trace.info.token_usage["total_tokens"] == 34
    assert root.name == "chain Extract -> Summarize"
    children = [span.name for span in trace.data.spans if span.parent_id == root.span_id]
    assert children == ["Extract", "Summarize"]
    assert {row["trace_id"] for row in place.rows()} == {f"tr-{chain}"}


def test_the_trace_of_a_chain_that_was_killed_says_so(place: Any) -> None:
    tracker, chain = place.tracker(), secrets.token_hex(16)
    tracker.record(make_event(parent_id=chain, parent_kind="chain", step="Extract"))
    tracker._recording.outbox.close()  # as its death would
    assert place.deliver()
    (trace,) = place.traces()
    assert (trace.info.trace_id, trace.info.state) == (f"tr-{chain}", "ERROR")
    (root,) = [span for span in trace.data.spans if span.parent_id is None]
    assert "the process ended" in root.events[0].attributes["exception.message"]
    assert [span.name for span in trace.data.spans if span.parent_id == root.span_id] == ["Extract"]
    (run,) = place.runs()
    assert run.info.status == "KILLED"


def test_a_batch_has_totals_of_its_own(place: Any) -> None:
    tracker, batch = place.tracker(), secrets.token_hex(16)
    for _ in range(3):
        tracker.record(make_event(parent_id=batch, parent_kind="batch"))
    tracker.record(make_operation(batch, executions=3, failures=1))
    assert place.deliver()
    (run,) = place.runs()
    (part,) = place.client.list_artifacts(run.info.run_id, "operations")
    (row,) = read_part(place.client, run.info.run_id, part.path)
    assert row["operation_id"] == batch
    assert (row["executions"], row["failures"], row["input_tokens"]) == (3, 1, 24)
    assert len(place.rows()) == 3
    # MLflow adds up the tokens of traces, and each row has one.
    traces = {trace.info.trace_id: trace for trace in place.traces()}
    assert sum(trace.info.token_usage is not None for trace in traces.values()) == 3
    (root, *rows) = traces[f"tr-{batch}"].data.spans
    assert root.outputs["input_tokens"] == 24
    assert [row.parent_id for row in rows] == [root.span_id] * 3
    assert {row.attributes["trace_id"] for row in rows} == traces.keys() - {f"tr-{batch}"}


def test_feedback_becomes_assessments(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(event := make_event(collect_feedback=True))
    tracker.record(make_feedback(event.execution_id))
    assert place.deliver()
    (trace,) = place.traces()
    found = {assessment.name: assessment for assessment in trace.info.assessments}
    assert found["rating"].feedback.value == 2
    assert found["rating"].rationale == "too familiar"
    assert found["rating"].source.source_id == "reviewer"
    assert found["corrected_greeting"].expectation.value == "Good morning, Ada"


def test_outcomes_become_assessments_of_the_same_trace(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(event := make_event(collect_feedback=True))
    tracker.record(make_outcome(event.execution_id))
    tracker.record(make_outcome(event.execution_id, name="minutes", value=12.0, higher_is_better=False))
    assert place.deliver()
    tracker.record(make_outcome(event.execution_id, value=0.5))
    assert place.deliver()
    (trace,) = place.traces()
    found = [(one.name, one.feedback.value, one.metadata["better"]) for one in trace.info.assessments]
    assert sorted(found) == [("minutes", 12.0, "lower"), ("reply_rate", 0.4, "higher"), ("reply_rate", 0.5, "higher")]
    assert {(one.source.source_type, one.source.source_id) for one in trace.info.assessments} == {
        ("CODE", "mail server")
    }


def test_feedback_brings_about_the_trace_that_was_sampled_away(place: Any) -> None:
    tracker = place.tracker(sampling=0)
    tracker.record(event := make_event())
    assert place.deliver()
    assert place.traces() == []
    tracker.record(make_feedback(event.execution_id))
    assert place.deliver()
    (trace,) = place.traces()
    assert trace.info.client_request_id == event.execution_id
    assert trace.data.spans[0].inputs == {"name": "Ada", "password": "[redacted]"}
    assert {assessment.name for assessment in trace.info.assessments} == {"rating", "corrected_greeting"}


def test_feedback_on_an_unknown_execution_is_kept(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_feedback("cd" * 16))
    assert place.deliver()
    (trace,) = place.traces()
    assert len(trace.info.assessments) == 2


def test_a_run_of_the_same_name_goes_on(place: Any) -> None:
    for _ in range(2):
        tracker = place.tracker(run_name="nightly")
        tracker.record(make_event())
        assert place.deliver()
        assert [run.info.status for run in place.runs()] == ["RUNNING"]
        tracker.close()
        assert place.deliver()
    (run,) = place.runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["hokusai/executions"] == 2
    assert len(place.rows()) == 2


def test_a_run_goes_on_until_the_last_of_the_processes_that_share_it(place: Any) -> None:
    parent, child = place.tracker(run_name="shared"), place.tracker(run_name="shared")
    parent.record(make_event())
    child.record(make_event())
    for tracker, status in ((child, "RUNNING"), (parent, "FINISHED")):
        tracker.close()
        assert place.deliver()
        assert [run.info.status for run in place.runs()] == [status]


def test_a_run_that_was_deleted_is_replaced(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    assert place.deliver()
    (run,) = place.runs()
    place.client.delete_run(run.info.run_id)
    tracker.record(event := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]


@pytest.mark.parametrize("damage", [None, b"no state at all"], ids=["deleted", "damaged"])
def test_a_lost_state_duplicates_nothing(place: Any, damage: bytes | None) -> None:
    tracker = place.tracker(run_name="nightly")
    events = [make_event() for _ in range(5)]
    for event in events:
        tracker.record(event)
    assert place.deliver()
    (path,) = state_files(place.spool)
    path.unlink() if damage is None else path.write_bytes(damage)
    tracker.record(last := make_event())  # the segment is read again from its beginning
    assert place.deliver()
    assert Counter(row["execution_id"] for row in place.rows()) == Counter(e.execution_id for e in (*events, last))
    (run,) = place.runs()
    assert run.data.metrics["hokusai/executions"] == 6
    assert len(place.traces()) == 6


def test_a_disk_that_is_full_is_emptied_by_delivery(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tracker = place.tracker()
    tracker.record(first := make_event())
    assert place.deliver()
    tracker.record(second := make_event())
    tracker.close()
    monkeypatch.setattr(target_state, "atomic_write", full)
    assert place.deliver()
    assert OutboxFolder(place.spool).segments() == []
    assert [row["execution_id"] for row in place.rows()] == [first.execution_id, second.execution_id]
    (run,) = place.runs()
    assert (run.info.status, run.data.metrics["hokusai/executions"]) == ("FINISHED", 2)


def test_a_state_of_a_later_version_is_refused_by_name(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    assert place.deliver()
    (path,) = state_files(place.spool)
    path.write_text('{"version": 99}')
    with pytest.raises(RuntimeError, match="written by another version"):
        place.deliver()


def _deliver_and_die(place: Any, after: float) -> None:
    """Deliver in a process that is killed after some seconds."""
    child = os.fork()
    if child == 0:
        try:
            with locked(place.spool) as held:
                if held:
                    Writer(place.spool, {}).drain(60)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_process_left_behind_is_delivered_by_the_next_one_that_starts(place: Any) -> None:
    left = place.tracker()
    left.record(event := make_event())
    left._recording.outbox.close()  # as if its process were dead
    one, other = place.tracker(writer="process"), place.tracker()
    assert not other.flush(0)
    place.wait_until(lambda: not one.status()["backlog"])
    assert one.flush(240)
    assert other.flush(0)
    one.close()
    place.end_writer()
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]
    assert [run.info.status for run in place.runs()] == ["KILLED"]


def test_the_writer_does_not_import_litellm_for_a_price(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "litellm.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    tracker = place.tracker(writer="process")
    tracker.record(make_failure())  # its attempts have no cost, and MLflow would look for one
    assert tracker.flush(240)
    assert len(place.traces()) == 1
    assert not (tmp_path / "imported").exists()
    tracker.close()


def test_a_writer_that_is_killed_again_and_again_delivers_once(place: Any) -> None:
    chance = random.Random(7)
    tracker = place.tracker(traces_per_second=5)
    events = []
    for _ in range(10):
        for _ in range(150):
            tracker.record(event := make_event())
            events.append(event.execution_id)
        _deliver_and_die(place, chance.uniform(0.02, 0.6))
    assert place.deliver()
    assert Counter(row["execution_id"] for row in place.rows()) == Counter(events)
    (run,) = place.runs()
    assert run.data.metrics["hokusai/executions"] == len(events)
    traced = Counter(trace.info.client_request_id for trace in place.traces())
    assert traced == Counter(row["execution_id"] for row in place.rows() if row["trace_id"])


def test_processes_that_are_killed_lose_nothing_that_was_accepted(place: Any) -> None:
    chance = random.Random(11)
    accepted: list[str] = []
    for _ in range(5):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            tracker = place.tracker(sampling=0)
            while True:
                tracker.record(event := make_event())
                os.write(writer, f"{event.execution_id}\n".encode())  # after it was accepted
        os.close(writer)
        time.sleep(chance.uniform(0.02, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader) as lines:
            accepted += lines.read().split()
    assert len(accepted) > 100
    assert place.deliver()
    counts = Counter(row["execution_id"] for row in place.rows())
    assert set(accepted) <= counts.keys()
    assert set(counts.values()) == {1}
    assert {run.info.status for run in place.runs()} == {"KILLED"}


def test_the_writer_waits_until_its_caller_pauses(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    publisher = Publisher(place.spool, {}, lambda: None)
    assert not publisher.step()
    (segment,) = OutboxFolder(place.spool).segments()
    os.utime(segment.path, (time.time() - 3,) * 2)
    while publisher.step():
        """The row first, then its trace."""
    assert publisher.is_done()
    tracker.record(make_event())
    assert not publisher.step()
    assert publisher.step(hurry=True)
    assert len(place.rows()) == 2
