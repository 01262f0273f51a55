"""What only shows in a process of its own: imports, forks, Ctrl-C, the end of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.warm_python import WarmPython

GUARD = 240.0

PRELUDE = """
import asyncio, os, sys, threading, time
from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

def make(**arguments):
    executor = Executor(**{"plugins": [], "lm": null_lm(), **arguments})
    executor.register_signature("Answer", "question -> answer")
    return executor
"""


def python(program: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without any setting of this machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOKUSAI_")}
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=GUARD, env=environment, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def told(warm_python: WarmPython) -> Callable[[str], str]:
    """Return a function that runs a program, in which DSPy is imported already, and returns what it printed."""

    def told(program: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOKUSAI_")}
        done = warm_python.run(PRELUDE + textwrap.dedent(program), env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return told


HEAVY = ("dspy", "litellm", "mlflow", "pydantic", "diskcache", "xllamacpp", "openai", "numpy")


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("import hokusai_core", set()),
        ("from hokusai_core import BaseSignature, InputField, OutputField, hookimpl, Component", set()),
        (
            "from hokusai_core import BaseSignature, Executor, InputField, OutputField\n"
            "class Greet(BaseSignature):\n    name: str = InputField()\n    greeting: list[str] = OutputField()\n"
            "with Executor(plugins=[]) as executor:\n"
            "    executor.register_signature('Greet', Greet)\n"
            "    assert executor.list_signatures() == ['Greet']\n"
            "    assert executor.check_inputs('Greet', {'name': 'Ada'})\n"
            "    executor.config, executor.stats()",
            set(),
        ),
    ],
    ids=["import", "a plugin's imports", "listing and checking"],
)
def test_what_is_imported(program: str, allowed: set[str]) -> None:
    shown = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = python(program + shown)
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert found & set(HEAVY) <= allowed
    assert {name for name in found if name.startswith("hokusai")} == {"hokusai_core"}


def test_importing_brings_no_event_loop_and_no_thread_pool() -> None:
    done = python("import hokusai_core, sys; print([n for n in ('asyncio', 'concurrent.futures') if n in sys.modules])")
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_executes(told: Callable[[str], str]) -> None:
    output = told(
        """
        executor = make(lm=null_lm(asynchronous=False, delay=0.01))
        executor.execute_signature("Answer", {"question": "before"})
        busy = threading.Thread(target=lambda: executor.execute_signature("Answer", {"question": "same"},
                                                                         lm=null_lm(delay=1)))
        busy.start()
        time.sleep(0.2)  # the flight of "same" is under way, and its leader does not come along
        child = os.fork()
        if child == 0:
            hit = executor.execute_signature("Answer", {"question": "before"}, timeout=10)
            fresh = executor.execute_signature("Answer", {"question": "after"}, timeout=10)
            same = executor.execute_signature("Answer", {"question": "same"}, timeout=10, lm=null_lm())
            task = asyncio.run(executor.aexecute_signature("Answer", {"question": "task"}, timeout=10))
            os._exit(0 if (hit.cached, fresh.cached, task.cached) == ("memory", None, None) else 3)
        _, status = os.waitpid(child, 0)
        busy.join(10)
        print(os.waitstatus_to_exitcode(status), executor.execute_signature("Answer", {"question": "x"})["answer"])
        executor.close()
        """
    )
    assert output == "0 some answer"


INTERRUPTED = (
    PRELUDE
    + """
executor = make(lm=null_lm(asynchronous=ASYNC, delay=30))
print("ready", flush=True)
try:
    EXECUTE
except KeyboardInterrupt:
    started = time.monotonic()
    again = executor.execute_signature("Answer", {"question": "?"}, lm=null_lm(), timeout=20)
    calls = executor.services.pipeline._shared_calls._calls
    print(again["answer"], again.cached, executor.stats()["errors"], calls, flush=True)
executor.close()
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("execute", "asynchronous"),
    [
        ("executor.execute_signature('Answer', {'question': '?'})", True),
        ("executor.execute_signature('Answer', {'question': '?'}, timeout=None)", False),
        ("asyncio.run(executor.aexecute_signature('Answer', {'question': '?'}))", True),
        ("asyncio.run(executor.aexecute_signature('Answer', {'question': '?'}))", False),
    ],
    ids=["sync", "sync-without-deadline", "async", "async-blocking-lm"],
)
def test_ctrl_c_leaves_nothing_behind(execute: str, asynchronous: bool) -> None:
    program = INTERRUPTED.replace("EXECUTE", execute).replace("ASYNC", str(asynchronous))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)  # well inside the call, which takes 30 s
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=GUARD)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    answer, _, rest = output.strip().partition(" None ")
    assert answer == "some answer"
    assert "KeyboardInterrupt" in rest or "CancelledError" in rest
    assert rest.endswith("{}"), "no flight is left"
    assert "Traceback" not in errors


def test_an_abandoned_call_does_not_keep_the_process_alive(told: Callable[[str], str]) -> None:
    started = time.monotonic()
    output = told(
        """
        executor = make(lm=null_lm(asynchronous=False, delay=300))
        try:
            executor.execute_signature("Answer", {"question": "?"}, timeout=1)  # the call has begun by then
        except TimeoutError as error:
            print(error.attempts[0].outcome)
        """
    )
    assert output == "abandoned"
    assert time.monotonic() - started < GUARD


def test_an_executor_that_is_never_closed_lets_the_process_end(told: Callable[[str], str]) -> None:
    assert told("executor = make()\nprint(executor.execute_signature('Answer', {'question': '?'})['answer'])") == (
        "some answer"
    )


def test_nothing_is_logged_or_printed_and_no_logger_is_set_up() -> None:
    done = python(
        PRELUDE
        + """
import logging
import dspy
before = [(name, logger.level, list(logger.handlers)) for name, logger in logging.root.manager.loggerDict.items()
          if isinstance(logger, logging.Logger)], list(logging.root.handlers), logging.root.level
with make() as executor:
    executor.execute_signature("Answer", {"question": "?"})
    asyncio.run(executor.aexecute_signature("Answer", {"question": "!"}))
known = {name for name, _, _ in before[0]}
after = [(name, logger.level, list(logger.handlers)) for name, logger in logging.root.manager.loggerDict.items()
         if isinstance(logger, logging.Logger) and name in known], list(logging.root.handlers), logging.root.level
assert after == before
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
