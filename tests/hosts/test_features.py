"""What a host decides: environment, threads, folders, loggers, and an installation without DSPy."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor, Settings
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache
from hokusai_teleprompt import SqliteFeedbackStore


def test_without_a_timeout_everything_runs_on_the_threads_of_the_host() -> None:
    seen: set[str] = set()

    def answer(_prompt: str) -> str:
        seen.add(threading.current_thread().name.partition("_")[0])
        return "fine"

    lm = null_lm(answers={"answer": answer}, asynchronous=False)
    with Executor(Settings(lm=lm, plugins=[], timeout=None)) as executor:
        executor.register_signature("Ask", "question -> answer")
        before = threading.active_count()
        with ThreadPoolExecutor(2, thread_name_prefix="host") as pool:

            async def ask() -> list[Any]:
                loop = asyncio.get_running_loop()
                calls = (
                    loop.run_in_executor(pool, executor.execute_signature, "Ask", {"question": f"{number}?"})
                    for number in range(6)
                )
                return list(await asyncio.gather(*calls))

            assert len(asyncio.run(ask())) == 6
            assert threading.active_count() <= before + 2
    assert seen == {"host"}


def test_every_file_goes_where_the_host_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "HOKUSAI_DATA_DIR", "HOKUSAI_CACHE_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    own = tmp_path / "own"
    settings = Settings(
        lm=null_lm(),
        plugins=[],
        cache=DiskCache(own / "answers"),
        feedback_store=SqliteFeedbackStore(own / "feedback"),
        promotions=False,
    )
    with Executor(settings) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "?"}, collect_feedback=True)
        executor.execute_batch("Ask", [{"question": "1?"}], journal=own / "journal", progress=False)
    assert not any(home.iterdir())
    assert len([path for path in own.rglob("*") if path.is_file()]) >= 3


def test_loggers_are_the_hosts_to_configure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="hokusai"), Executor(Settings(lm=null_lm(), plugins=[])) as executor:
        executor.register_signature("Ask", "question -> answer")
        result = executor.execute_signature("Ask", {"question": "Canary?"})
    records = [record for record in caplog.records if record.name == "hokusai.execution"]
    assert result["execution_id"] in {getattr(record, "execution_id", None) for record in records}
    assert "Canary" not in caplog.text


def test_the_core_without_dspy_is_importable_and_says_what_to_install() -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dspy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import hokusai_core, hokusai_core.types, hokusai_core.errors, hokusai_core.plugin_api
from hokusai_core import BaseSignature, Executor, InputField, OutputField
class Ask(BaseSignature):
    question: str = InputField()
    answer: str = OutputField()
with Executor(environ={}, plugins=[], lm="openai/gpt-5-mini") as executor:
    executor.register_signature("Ask", Ask)
    assert executor.list_signatures() == ["Ask"]
    assert executor.check_inputs("Ask", {"question": "?"}) == {"question": "?"}
    try:
        executor.execute_signature("Ask", {"question": "?"})
    except hokusai_core.errors.HokusaiError as error:
        print(type(error).__name__, error)
with Executor(environ={}, plugins=[], mode="testing") as executor:
    executor.register_signature("Ask", Ask)
    print(executor.execute_signature("Ask", {"question": "?"})["answer"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "pip install" in first
    assert "dspy" in first
    assert second == "Sample answer"
