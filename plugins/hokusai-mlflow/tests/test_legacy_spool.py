"""A spool of version 0.1 is delivered once. ``fixtures/spool-0.1`` was written by that version.

Its ledger holds three executions and the first step of a chain; its segments what came after: the second step, the
chain, feedback, an optimization and the end of the tracker.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.plugin_api import AppendLog
from hokusai_core.testing.trackers import make_event
from hokusai_mlflow.legacy_spool import has_legacy_spool, import_legacy_spool
from hokusai_mlflow.spool_status import something_waits
from hokusai_mlflow.writer import Writer, locked

FIXTURE = Path(__file__).with_name("fixtures") / "spool-0.1"
#: The address in the fixture.
ADDRESS = "http://127.0.0.1:9"
IDS = [f"{number:032x}" for number in (1, 2, 3, 4, 5)]


@pytest.fixture
def old(place: Any) -> Any:
    """A place whose spool is the fixture."""
    place.spool.mkdir()
    shutil.copytree(FIXTURE / "segments", place.spool / "segments")
    with closing(sqlite3.connect(place.spool / "ledger.db")) as ledger:
        ledger.executescript((FIXTURE / "ledger.sql").read_text())
    return place


def _deliver(place: Any) -> bool:
    with locked(place.spool) as held:
        assert held
        return Writer(place.spool, {ADDRESS: place.uri}).drain(60)


def test_what_waits_in_it_is_delivered_once(old: Any) -> None:
    assert something_waits(old.spool)
    assert _deliver(old)
    assert Counter(row["execution_id"] for row in old.rows()) == Counter(IDS)
    (parent,) = [run for run in old.runs() if run.info.run_name == "nightly"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["team"] == "sales"
    assert parent.data.metrics["hokusai/executions"] == 5
    assert parent.data.metrics["hokusai/failures"] == 1
    assert parent.data.metrics["hokusai/input_tokens"] == 60
    traces = {trace.info.trace_id: trace for trace in old.traces()}
    assert traces.keys() == {*(f"tr-{one}" for one in IDS[:3]), f"tr-{100:032x}"}
    assert [span.name for span in traces[f"tr-{100:032x}"].data.spans].count("language_model") == 2
    assert {found.name for found in traces[f"tr-{IDS[0]}"].info.assessments} == {"rating", "corrected_greeting"}
    assert len([run for run in old.runs() if "hokusai.optimization" in run.data.tags]) == 1
    assert not has_legacy_spool(old.spool)
    assert not something_waits(old.spool)
    assert _deliver(old)
    assert Counter(row["execution_id"] for row in old.rows()) == Counter(IDS)


def test_what_mlflow_has_already_is_not_delivered_again(old: Any) -> None:
    # As if version 0.1 had delivered the first execution, and of the second its row.
    run = old.client.create_run(old.client.create_experiment("Test"), tags={"hokusai.run": "name:nightly"})
    with closing(sqlite3.connect(old.spool / "ledger.db")) as ledger, ledger:
        known = (run.info.run_id, run.info.experiment_id)
        ledger.execute("UPDATE runs SET mlflow_run = ?, experiment_id = ?", known)
        ledger.execute("UPDATE rows SET sent = 1 WHERE id IN (?, ?)", (IDS[0], IDS[1]))
        ledger.execute("DELETE FROM traces WHERE id = ?", (IDS[0],))
    assert _deliver(old)
    assert Counter(row["execution_id"] for row in old.rows()) == Counter(IDS[2:])
    done = old.client.get_run(run.info.run_id)
    assert done.info.status == "FINISHED"
    assert done.data.metrics["hokusai/executions"] == 5  # those in the ledger were counted when they were taken in
    assert f"tr-{IDS[1]}" in {trace.info.trace_id for trace in old.traces()}


def test_a_takeover_that_was_cut_off_is_completed(old: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hokusai_mlflow.legacy_spool._complete", lambda _folder: None)
        assert import_legacy_spool(old.spool)  # as if it had died after the marker
    assert has_legacy_spool(old.spool)
    assert _deliver(old)
    assert Counter(row["execution_id"] for row in old.rows()) == Counter(IDS)


def test_a_run_that_goes_on_has_both(old: Any) -> None:
    tracker = old.tracker(tracking_uri=ADDRESS, run_name="nightly")
    tracker.record(event := make_event())
    assert _deliver(old)
    assert Counter(row["execution_id"] for row in old.rows()) == Counter([*IDS, event.execution_id])
    (run,) = [run for run in old.runs() if run.info.run_name == "nightly"]
    assert run.data.metrics["hokusai/executions"] == 6


def test_nothing_is_taken_over_from_a_process_that_still_appends(old: Any) -> None:
    path = next((old.spool / "segments").glob("*.seg"))
    with AppendLog(path):  # holds the lock
        assert not import_legacy_spool(old.spool)
    assert has_legacy_spool(old.spool)
    assert import_legacy_spool(old.spool)


def test_a_damaged_ledger_is_refused_by_name(old: Any) -> None:
    (old.spool / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(RuntimeError, match=r"ledger\.db cannot be read .* hokusai-mlflow 0\.1 .*tracking flush"):
        _deliver(old)


def test_a_ledger_of_another_version_is_refused_by_name(old: Any) -> None:
    with closing(sqlite3.connect(old.spool / "ledger.db")) as ledger:
        ledger.execute("PRAGMA user_version = 9")
    with pytest.raises(RuntimeError, match="is of version 9"):
        _deliver(old)
