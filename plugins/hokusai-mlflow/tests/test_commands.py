from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow.commands import tracking
from hokusai_mlflow.ui_command import short_ui_command


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
    assert figures["look_at_it"] == "hokusai tracking ui"
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


def test_the_user_interface_is_started_so_that_it_needs_no_network(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execvpe", lambda *arguments: started.append(arguments))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    assert _run("ui", "--port", "5017").exit_code == 0
    ((_, command, environment),) = started
    assert command[1:] == ["-m", "mlflow", "ui", "--workers", "1", "--backend-store-uri", place.uri, "--port", "5017"]
    assert environment["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert _run("ui").output == "http://127.0.0.1:9\n"
    assert len(started) == 1


def test_what_is_printed_of_a_new_store_fits_a_line(
    place: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = place.tracker(tracking_uri=None)
    tracker.record(make_event())
    tracker._recording._announce()
    assert capsys.readouterr().err == "hokusai: executions are tracked; look at them with: hokusai tracking ui\n"
    tracker._recording._announce()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("hokusai_mlflow.ui_command.find_spec", lambda name: None)
    uri = tracker.status()["tracking_uri"]
    assert short_ui_command(uri).endswith(f"mlflow ui --workers 1 --backend-store-uri {uri}")
