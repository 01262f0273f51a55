"""``hokusai run`` with language models: the embedded one, remote ones that cannot be reached, none at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

WEATHER = ("ClassifyText", "-i", "text=The sun is out, and it is warm.", "-i", "categories=weather, food")


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_no_language_model_at_all(hokusai: Command) -> None:
    done = hokusai("run", *WEATHER, HOKUSAI_DISABLE_PLUGINS="local")
    assert done.returncode == 1
    assert len(lines(done.stderr)) == 1
    assert "there is no language model" in done.stderr
    assert "HOKUSAI_LM=" in done.stderr
    assert "the plugin 'local' of hokusai-local is switched off" in done.stderr


@pytest.mark.parametrize("name", ["nonsense", "unknown/nothing"])
def test_unknown_language_model(hokusai: Command, name: str) -> None:
    done = hokusai("run", *WEATHER, "--lm", name)
    assert done.returncode == 1
    assert len(lines(done.stderr)) == 1, done.stderr
    assert name.partition("/")[0] in done.stderr


def test_remote_model_without_a_key(hokusai: Command) -> None:
    done = hokusai("run", *WEATHER, "--lm", "openai/gpt-5-mini")
    assert done.returncode == 1
    assert len(lines(done.stderr)) == 1, done.stderr
    assert done.stderr.count("OPENAI_API_KEY") == 1
    assert "Set the provider's API key" not in done.stderr  # the engine has said it better


@pytest.mark.slow
def test_timeout_of_the_embedded_model_ends_in_one_line(hokusai: Command) -> None:
    text = "text=" + "The rain has stopped and the sun is out. " * 200
    done = hokusai("run", "ExpandText", "-i", text, "--lm", "local", "--timeout", "1.5")
    assert done.returncode == 1, done.stderr  # and no abort while the model's thread is torn down
    assert "took longer than its timeout" in lines(done.stderr)[-1]


@pytest.mark.slow
def test_embedded_model_answers_and_the_next_process_is_served_from_disk(hokusai: Command) -> None:
    first = json.loads(hokusai("run", *WEATHER, "--lm", "local", "--json").stdout)
    assert first["outputs"]["classification"] in ("weather", "food")
    assert first["usage"]["calls"] == 1
    assert first["cached"] is None
    second = json.loads(hokusai("run", *WEATHER, "--lm", "local", "--json").stdout)
    assert second["cached"] == "disk"
    assert second["outputs"] == first["outputs"]
    assert "1 " in hokusai("cache", "stats").stdout


@pytest.mark.slow
def test_embedded_model_answers_where_none_is_named(hokusai: Command) -> None:
    done = hokusai("run", *WEATHER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("weather", "food")
    assert "the embedded one answers" in done.stderr


@pytest.mark.slow
def test_document_that_is_too_long_for_the_embedded_model(hokusai: Command, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 200_000, encoding="utf-8")
    done = hokusai("run", "SummarizeText", "-i", "document=@long.txt", "--lm", "local")
    assert done.returncode == 1
    assert done.stdout == ""
    note, error = lines(done.stderr)  # the model's note on texts comes before the call
    assert "has 135 million parameters" in note
    assert "does not fit into the context" in error
    assert "word word" not in done.stderr


@pytest.mark.slow
def test_timeout_passes(hokusai: Command) -> None:
    done = hokusai("run", *WEATHER, "--lm", "local", "--timeout", "0.01")
    assert done.returncode == 1
    assert len(lines(done.stderr)) == 1
    assert "timeout of 0.01 s" in done.stderr


@pytest.mark.slow
def test_interrupt_during_a_run(environment: dict[str, str], tmp_path: Path) -> None:
    document = "The water will be turned off on Monday. " * 120
    arguments = ["run", "SummarizeText", "-i", f"document={document}", "--lm", "local", "--cache", "off"]
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "hokusai", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stderr is not None
        # The runtime of the model is imported when it is about to be loaded.
        for line in process.stderr:
            if "xllamacpp" in line:
                break
        process.send_signal(signal.SIGINT)
        patience = threading.Timer(60, process.kill)
        patience.start()
        rest = process.stderr.readlines()
        patience.cancel()
    assert process.returncode == 130
    assert [line for line in rest if not line.startswith("import time:")] == ["hokusai: interrupted\n"]
