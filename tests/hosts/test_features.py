"""What a host decides: environment, threads, folders, loggers, and an installation without DSPy."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hokusai_core import Executor, Settings
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import Artifact
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import promote


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


def test_rows_and_tasks_run_on_the_threads_of_the_host() -> None:
    seen: set[str] = set()

    def answer(_prompt: str) -> str:
        seen.add(threading.current_thread().name.partition("_")[0])
        return "fine"

    lm = null_lm(answers={"answer": answer}, asynchronous=False)
    rows = [{"question": f"{number}?"} for number in range(20)]
    with ThreadPoolExecutor(3, thread_name_prefix="host") as pool:
        with Executor(Settings(lm=lm, plugins=[], thread_pool=pool, cache_enabled=False)) as executor:
            executor.register_signature("Ask", "question -> answer")
            assert len(executor.execute_batch("Ask", rows, progress=False).succeeded) == 20
            assert len(list(executor.iter_batch("Ask", rows, progress=False))) == 20
            futures = [executor.execute_async("Ask", row, timeout=None) for row in rows]
            assert {future.result()["answer"] for future in futures} == {"fine"}
        assert seen == {"host"}
        assert pool.submit(int).result() == 0  # the executor has not ended it


def test_a_pool_whose_threads_wait_for_the_executor_holds_nothing_up() -> None:
    lm = null_lm(answers={"answer": "fine"}, asynchronous=False)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="host") as pool,
        Executor(Settings(lm=lm, plugins=[], thread_pool=pool)) as executor,
    ):
        executor.register_signature("Ask", "question -> answer")
        rows = [{"question": f"{number}?"} for number in range(20)]
        batch = pool.submit(executor.execute_batch, "Ask", rows, progress=False)
        assert len(batch.result(30).succeeded) == 20
        pool.shutdown()
        assert executor.execute_async("Ask", rows[0]).result(30)["answer"] == "fine"


def test_only_a_pool_of_threads_is_taken() -> None:
    for wrong in (ProcessPoolExecutor(1), object(), 4):
        with pytest.raises(ConfigurationError, match="is no pool of threads"):
            Settings(thread_pool=wrong)


def test_everything_that_an_executor_keeps_goes_into_its_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    home.mkdir()
    variables = ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
    for name in (*variables, "HOKUSAI_DATA_DIR", "HOKUSAI_CACHE_DIR", "HOKUSAI_FEEDBACK_DIR", "HOKUSAI_SPOOL_DIR"):
        monkeypatch.setenv(name, str(home))
    settings = Settings(
        lm=null_lm(answers={"answer": "fine"}),
        plugins=["diskcache", "mlflow", "teleprompt"],
        cache="diskcache",
        trackers={"mlflow": {"writer": "none"}},
        data_folder=own,
    )
    with Executor(settings) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "?"}, collect_feedback=True)
        promote(executor, "Ask", made_better(executor, tmp_path / "better.json"))
        assert executor.stats()["trackers"]["mlflow"]["tracking_uri"] == f"sqlite:///{own}/mlflow/mlflow.db"
    assert not any(home.iterdir())
    assert {path.name for path in own.iterdir()} == {"cache", "feedback", "mlflow", "promotions", "tracking"}
    with Executor(settings) as executor:
        executor.register_signature("Ask", "question -> answer")
        assert executor.signature("Ask").spec.instructions == "Answer in one word."
    with Executor(settings.with_options(data_folder=None, trackers=(), cache=None)) as executor:
        executor.register_signature("Ask", "question -> answer")
        assert executor.signature("Ask").spec.instructions != "Answer in one word."


def made_better(executor: Executor, file: Path) -> Path:
    base = executor.signature("Ask").spec
    Artifact(evolve(base, instructions="Answer in one word."), base, "local/Ask", promoted=True).write(file)
    return file


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
