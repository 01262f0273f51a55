"""``hokusai batch`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TESTING = {"HOKUSAI_MODE": "testing"}

PLUGIN = """
import asyncio, os, time
from hokusai_core import BaseSignature, Component, InputField, LanguageModel, OutputField, hookimpl

class Ask(BaseSignature):
    question = InputField(aliases=("query",))
    hint = InputField(default="none")
    answer = OutputField()

class Secret(BaseSignature):
    text = InputField(sensitive=True)
    reply = OutputField(sensitive=True)

@hookimpl
def provide_signatures():
    return [Ask, Secret]

class Provider:
    def available(self):
        return None
    def load(self, name):
        import dspy
        from hokusai_core.dspy_bridge.null_lm import NullEngine
        def echo(user):
            if "fail" in user and not os.path.exists("mended"):
                raise dspy.LMServerError("scripted outage")
            return "answer to " + user.split("]]\\\\n")[1].split("\\\\n")[0]
        class Counting(NullEngine):
            def answer(self, number, request):
                file = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, b".")
                os.close(file)
                return super().answer(number, request)
        Counting.free = "UNPRICED" not in os.environ
        engine = Counting(answers={"answer": echo, "reply": echo}, delay=float(name or 0))
        return LanguageModel(dspy.LM("null/m", engine=engine, cache=False, num_retries=0))
    def close(self):
        pass

@hookimpl
def provide_language_models():
    return [Component(name="fake", target=Provider)]
""".replace("\\\\", "\\")

#: A backend that answers in this process, and writes down which rows it got.
BACKEND = """
import asyncio
from hokusai_core.plugin_api import Component, JobWorker, hookimpl

class Session:
    capacity, chunk_size, linger, own_time = 8, 4, 0.0, False
    def __init__(self, job, host):
        self.host, self.worker = host, JobWorker(job)
    async def run(self, tasks):
        await asyncio.gather(*(self.answer(task) for task in tasks))
    async def answer(self, task):
        with open("elsewhere", "a") as file:
            print(task.inputs["question"], file=file)
        self.host.deliver(await self.worker.run(task, None))
    def close(self):
        self.worker.close()

class Elsewhere:
    needs_journal = True
    def open(self, job, host):
        return Session(job, host)
    def close(self):
        pass

@hookimpl
def provide_backends():
    return [Component(name="elsewhere", target=Elsewhere)]
"""


@pytest.fixture
def fake(install: Callable[[str, str], None], environment: dict[str, str]) -> None:
    install("askpack", PLUGIN)
    environment["HOKUSAI_LM"] = "fake"
    environment["HOKUSAI_CACHE_ENABLED"] = "false"
    environment["HOKUSAI_PLUGINS"] = "askpack"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def calls(folder: Path) -> int:
    file = folder / "calls"
    return file.stat().st_size if file.exists() else 0


@pytest.mark.usefixtures("fake")
class TestBatch:
    def test_rows_of_json_lines_in_their_order(self, hokusai: Command, tmp_path: Path) -> None:
        rows = [{"question": f"q{n}"} for n in range(30)] + [{"query": "ü 🗝"}]
        (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
        done = hokusai("batch", "Ask", "in.jsonl", "-o", "out.jsonl", "--workers", "5")
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "31 rows" in done.stderr
        records = lines(tmp_path / "out.jsonl")
        assert [record["index"] for record in records] == list(range(31))
        assert [record["outputs"]["answer"] for record in records[:30]] == [f"answer to q{n}" for n in range(30)]
        assert records[30]["inputs"] == {"query": "ü 🗝"}
        assert records[30]["outputs"] == {"answer": "answer to ü 🗝"}
        again = hokusai("batch", "Ask", "in.jsonl", "-o", "out.jsonl")
        assert (again.returncode, calls(tmp_path)) == (0, 31)
        assert "31 kept from before" in again.stderr
        assert [record["outputs"] for record in lines(tmp_path / "out.jsonl")] == [r["outputs"] for r in records]

    def test_some_fail_and_the_same_command_tries_them_again(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "in.jsonl").write_text('{"question": "a"}\n{"question": "fail"}\nnot json\n{"qestion": "b"}\n[1]\n')
        done = hokusai("batch", "Ask", "in.jsonl", "-o", "out.jsonl")
        assert done.returncode == 3
        assert "5 rows, 4 failed" in done.stderr
        assert "line 3 is not JSON" in done.stderr
        assert "first failure: row " in done.stderr
        errors = [record.get("error", {}) for record in lines(tmp_path / "out.jsonl")]
        assert [error.get("type") for error in errors] == [None, "LanguageModelError", *["InputError"] * 3]
        assert "in.jsonl line 3 is not JSON" in errors[2]["message"]
        assert "in.jsonl line 5 is not a JSON object" in errors[4]["message"]
        (tmp_path / "mended").touch()
        again = hokusai("batch", "Ask", "in.jsonl", "-o", "out.jsonl")
        assert again.returncode == 3
        assert "5 rows, 3 failed, 1 kept from before" in again.stderr
        assert lines(tmp_path / "out.jsonl")[1]["outputs"] == {"answer": "answer to fail"}

    def test_a_table_with_chosen_columns(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "in.csv").write_text(
            '\ufeffid,body,hint\n1,"two\nlines",\n2,"a, b",please\n3,x,y,z\n', encoding="utf-8"
        )
        refused = hokusai("batch", "Ask", "in.csv", "-o", "out.jsonl")
        assert refused.returncode == 2
        assert "column 'id' is not an input" in refused.stderr
        assert "--map column=field" in refused.stderr
        done = hokusai("batch", "Ask", "in.csv", "-o", "out.jsonl", "--map", "body=question")
        assert done.returncode == 3  # the row with a cell too many
        records = lines(tmp_path / "out.jsonl")
        assert records[0]["inputs"] == {"question": "two\nlines"}
        assert records[1]["inputs"] == {"hint": "please", "question": "a, b"}
        assert records[1]["outputs"] == {"answer": "answer to a, b"}

    def test_stdin_and_stdout(self, hokusai: Command, tmp_path: Path) -> None:
        done = hokusai("batch", "Ask", "-", stdin=b'{"question": "a"}\n{"question": "b"}\n')
        assert [json.loads(line)["outputs"]["answer"] for line in done.stdout.splitlines()] == [
            "answer to a",
            "answer to b",
        ]
        table = hokusai("batch", "Ask", "-", "--format", "tsv", "-o", "-", stdin=b"question\thint\nc\td\n")
        assert json.loads(table.stdout)["inputs"] == {"question": "c", "hint": "d"}
        assert not list(tmp_path.glob("-*"))

    def test_no_rows(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("out.jsonl")
        done = hokusai("batch", "Ask", "-", "-o", "link")
        assert done.returncode == 0
        assert (tmp_path / "out.jsonl").read_text() == ""
        assert (tmp_path / "link").is_symlink()

    def test_a_ceiling_on_cost(self, hokusai: Command) -> None:
        rows = b'{"question": "a"}\n'
        assert hokusai("batch", "Ask", "-", "--max-cost", "0.5", stdin=rows).returncode == 0
        refused = hokusai("batch", "Ask", "-", "--max-cost", "0.5", stdin=rows, UNPRICED="1")
        assert refused.returncode == 3
        assert "no price of null/m is known, so a ceiling on cost cannot be kept" in refused.stderr
        allowed = hokusai("batch", "Ask", "-", "--max-cost", "0.5", "--unpriced", "allow", stdin=rows, UNPRICED="1")
        assert allowed.returncode == 0
        assert hokusai("batch", "Ask", "-", "--max-cost", "0").returncode == 2

    def test_a_backend_answers_the_rows(
        self, hokusai: Command, install: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        install("away", BACKEND)
        also = {"HOKUSAI_PLUGINS": "askpack,away"}
        rows = "".join(f'{{"question": "q{n}"}}\n' for n in range(9))
        (tmp_path / "in.jsonl").write_text(rows + '{"qestion": "typo"}\n')
        refused = hokusai("batch", "Ask", "in.jsonl", "--backend", "elsewhere", **also)
        assert refused.returncode == 1
        assert "-o FILE" in refused.stderr
        unknown = hokusai("batch", "Ask", "in.jsonl", "--backend", "elsewere", **also)
        assert unknown.returncode == 1
        assert "did you mean 'elsewhere'" in unknown.stderr
        assert calls(tmp_path) == 0
        done = hokusai("batch", "Ask", "in.jsonl", "-o", "out.jsonl", "--backend", "elsewhere", **also)
        assert done.returncode == 3
        assert "10 rows, 1 failed" in done.stderr
        assert sorted((tmp_path / "elsewhere").read_text().split()) == [f"q{n}" for n in range(9)]
        records = lines(tmp_path / "out.jsonl")
        assert [record["outputs"]["answer"] for record in records[:9]] == [f"answer to q{n}" for n in range(9)]
        assert calls(tmp_path) == 9

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["Nope", "-"], "no signature 'Nope'"),
            (["Ask", "missing.jsonl"], "missing.jsonl"),
            (["Ask", "-", "-o", "missing/out.jsonl"], "missing/out.jsonl"),
            (["Ask", "-", "-o", "."], ". is a folder"),
            (["Ask", "-", "-o", "pipe"], "pipe is not a regular file"),
            (["Ask", "in.jsonl", "-o", "../{folder}/in.jsonl"], "is the input, too"),
            (["Ask", "-", "--map", "question"], "--map column=field"),
            (["Ask", "-", "--map", "a=nope"], "no input 'nope'"),
            (["Ask", "-", "--map", "a=question", "--map", "b=question"], "each mapped once"),
            (["Ask", "-", "--workers", "0"], "--workers"),
            (["Ask", "-", "--timeout", "soon"], "timeout"),
        ],
    )
    def test_what_is_wrong_is_told_before_any_call(
        self, hokusai: Command, tmp_path: Path, arguments: list[str], told: str
    ) -> None:
        (tmp_path / "in.jsonl").write_text('{"question": "a"}\n')
        os.mkfifo(tmp_path / "pipe")
        given = [argument.replace("{folder}", tmp_path.name) for argument in arguments]
        done = hokusai("batch", *given, stdin=b'{"question": "a"}\n')
        assert done.returncode in (1, 2)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert calls(tmp_path) == 0

    def test_sensitive_values_are_written_only_where_that_is_asked_for(self, hokusai: Command, tmp_path: Path) -> None:
        rows = b'{"text": "Canary"}\n{"txt": "Canary"}\n'
        shown = hokusai("batch", "Secret", "-", stdin=rows)
        assert "[redacted]" in shown.stdout
        kept = hokusai("batch", "Secret", "-", "-o", "out.jsonl", stdin=rows)
        files = "".join(file.read_text() for file in tmp_path.glob("out*"))
        assert "Canary" not in shown.stdout.splitlines()[0] + shown.stderr + kept.stderr + files.partition("txt")[0]
        asked = hokusai("batch", "Secret", "-", "--sensitive", stdin=rows)
        assert "answer to Canary" in asked.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
    def test_the_same_command_goes_on(self, environment: dict[str, str], tmp_path: Path, how: signal.Signals) -> None:
        (tmp_path / "in.jsonl").write_text("".join(f'{{"question": "q{n}"}}\n' for n in range(300)))
        command = [sys.executable, "-m", "hokusai", "batch", "Ask", "in.jsonl", "-o", "out.jsonl", "--workers", "4"]
        process = subprocess.Popen(
            [*command, "--lm", "fake/0.05"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        while calls(tmp_path) < 20:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, how)
        told = process.communicate(timeout=60)[1]
        assert not (tmp_path / "out.jsonl").exists()
        paid = calls(tmp_path)
        assert len(list(tmp_path.glob(".out.jsonl*"))) <= 1
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "run the same command again" in told
        assert subprocess.run([*command, "--workers", "30"], cwd=tmp_path, env=environment, timeout=60).returncode == 0
        assert calls(tmp_path) <= 300 + 4
        assert paid < 300
        answers = [record["outputs"]["answer"] for record in lines(tmp_path / "out.jsonl")]
        assert answers == [f"answer to q{n}" for n in range(300)]
        assert {file.name for file in tmp_path.glob("*out.jsonl*")} == {"out.jsonl", "out.jsonl.journal"}

    def test_ctrl_c_before_an_open_stdin_writes_what_was_under_way(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        command = [sys.executable, "-m", "hokusai", "batch", "Ask", "-", "--lm", "fake/1"]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b'{"question": "a"}\n{"question": "b"}\n')
            process.stdin.flush()
            assert b"answer to a" in process.stdout.readline()
            process.stdin.write(b'{"question": "c"}\n')
            process.stdin.flush()
            time.sleep(0.4)  # it is under way by then, or never begun
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert len(process.stdout.readlines()) == calls(tmp_path) - 1  # every answer that was paid
            assert b"interrupted with" in process.stderr.read()

    def test_a_journal_of_another_signature(self, hokusai: Command, tmp_path: Path) -> None:
        hokusai("batch", "Ask", "-", "-o", "out.jsonl", stdin=b'{"question": "a"}\n')
        other = hokusai("batch", "Secret", "-", "-o", "out.jsonl", stdin=b'{"text": "a"}\n')
        assert other.returncode == 1
        assert "out.jsonl.journal belongs to askpack/Ask" in other.stderr


TWO_CHOICES = """
inputs = ["note", "book"]
[[steps]]
name = "first"
signature = "ClassifyText"
inputs = { text = "note", categories = { literal = ["weather", "food"] } }

[[steps]]
name = "second"
signature = "ClassifyText"
inputs = { text = "book", categories = { literal = ["weather", "food"] } }
"""
CHAIN = """
inputs = ["report"]
[[steps]]
signature = "ExtractInfo"
inputs = { document = "report", info_types = "names" }
[[steps]]
signature = "SummarizeText"
inputs = { document = "ExtractInfo.extracted_info" }
"""


class TestChain:
    def test_show_draws_and_checks(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(CHAIN)
        done = hokusai("chain", "show", "c.toml", **TESTING)
        assert done.returncode == 0, done.stderr
        assert "flowchart TD" in done.stdout
        assert "-->|extracted_info as document|" in done.stdout
        only = hokusai("chain", "show", "c.toml", "--mermaid")
        assert only.stdout.startswith("flowchart TD")

    def test_what_does_not_fit_together(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(CHAIN.replace("extracted_info", "extractd_info"))
        done = hokusai("chain", "show", "c.toml", **TESTING)
        assert done.returncode == 1
        assert "did you mean 'extracted_info'" in done.stderr
        assert hokusai("chain", "show", "missing.toml").returncode == 1

    def test_run(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(CHAIN)
        done = hokusai("chain", "run", "c.toml", "-i", "report=Ada met Grace.", **TESTING)
        assert done.stdout == "Sample summary\n"
        slip = hokusai("chain", "run", "c.toml", "-i", "doc=Ada met Grace.", **TESTING)
        assert slip.returncode == 2
        assert "c.toml has no input 'doc'" in slip.stderr
        steps = hokusai("chain", "run", "c.toml", "-i", "report=Ada met Grace.", "--steps", "--json", **TESTING)
        assert list(json.loads(steps.stdout)["steps"]) == ["ExtractInfo", "SummarizeText"]

    @pytest.mark.slow
    def test_steps_that_are_over_are_printed_where_another_fails(self, hokusai: Command, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(TWO_CHOICES)
        (tmp_path / "book.txt").write_text("word " * 60_000)
        inputs = ("-i", "note=The sun is out.", "-i", "book=@book.txt")
        done = hokusai("chain", "run", "c.toml", *inputs, "--lm", "local", "--steps", "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["steps"]["first"]["classification"] in ("weather", "food")
        assert "second" in done.stderr
        assert "context" in done.stderr
