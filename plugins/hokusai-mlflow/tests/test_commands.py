from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow.commands import tracking


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(tracking, arguments)


def test_status_shows_what_waits(place: Any) -> None:
    tracker = place.tracker()
    for _ in range(3):
        tracker.record(make_event())
    figures = json.loads(_run("status", "--json").output)
    assert figures["backlog"] == 3
    assert figures["lag"] >= 0
    assert figures["last_error"] is None
    assert "mlflow ui --workers 1 --backend-store-uri sqlite:///" in figures["look_at_it"]
    text = _run("status").output
    assert "backlog" in text
    assert "last error" in text


def test_flush_delivers_what_a_dead_process_left(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(event := make_event())
    tracker._recording.outbox.close()
    done = _run("flush", "--timeout", "60")
    assert done.exit_code == 0
    assert done.output.endswith("Everything is delivered.\n")
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]
    assert json.loads(_run("status", "--json").output)["backlog"] == 0


def test_flush_says_what_keeps_it_from_delivering(place: Any) -> None:
    place.tracker(tracking_uri="http://127.0.0.1:9").record(make_event())
    done = _run("flush", "--timeout", "1")
    assert done.exit_code == 1
    assert "1 executions wait" in done.output
    assert "127.0.0.1:9" in done.output


def test_there_is_nothing_to_say_about_a_folder_that_is_not_there(place: Any) -> None:
    assert json.loads(_run("status", "--json").output)["backlog"] == 0
    assert _run("flush").exit_code == 0
    assert not place.spool.exists()
