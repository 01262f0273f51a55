"""An executor that was made before ``os.fork``: every child gets its own answers, and none waits for what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.errors import ForkError
from hokusai_core.process import check_fork_safe, made_after_fork
from tests.warm_python import WarmPython

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
import asyncio, json, os, sys, threading, time
import dspy
from hokusai_core import Component, Executor, hookimpl
from hokusai_core.errors import ForkError
from hokusai_core.testing.lm import null_lm

def make(**arguments):
    executor = Executor(**{"plugins": [], "lm": null_lm(answers={"answer": "fine"}), "timeout": 20, **arguments})
    executor.register_signature("Answer", "question -> answer")
    return executor

def in_child(work):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as text:
        said = json.loads(text.read())
    os.waitpid(child, 0)
    return said
"""


@pytest.fixture
def run(warm_python: WarmPython) -> Callable[[str], Any]:
    """Return a function that runs a program and returns what it printed."""

    def run(program: str) -> Any:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOKUSAI_")}
        done = warm_python.run(PRELUDE + textwrap.dedent(program), env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("forks", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_forked_under_load_no_answer_is_crossed(forks: int, tmp_path: Path) -> None:
    program = Path(__file__).with_name("fork_load.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "cache"), str(forks)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    print(f"{forks} forks under load: {counts}")
    stored, right = counts.pop("stored"), counts.pop("right")
    assert {name: count for name, count in counts.items() if count} == {}
    assert right >= forks * 8
    assert stored >= forks  # a busy store is left alone for a while, so not all are


def test_each_lock_is_renewed(run: Callable[[str], Any]) -> None:
    """At the fork a thread holds every lock of the executor's parts; the child still works."""
    assert run(
        """
        import gc
        executor = make(requests_per_minute=100_000)
        executor.execute_signature("Answer", {"question": "before"})
        ours = [thing for thing in gc.get_objects() if str(type(thing).__module__).startswith("hokusai_core")]
        locks = [thing._lock for thing in ours if hasattr(thing, "_lock")]
        held, over = threading.Event(), threading.Event()
        def hold():
            for lock in locks:
                lock.acquire()
            held.set()
            over.wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()

        def work():
            executor.register_signature("Other", "question -> answer")
            one = executor.execute_signature("Other", {"question": "inside"})["answer"]
            rows = executor.execute_batch("Answer", [{"question": str(i)} for i in range(3)], progress=False)
            later = executor.execute_async("Answer", {"question": "later"}).result(10)["answer"]
            awaited = asyncio.run(executor.aexecute_signature("Answer", {"question": "awaited"}))["answer"]
            executor.stats(), executor.close()
            return [one, *(row["answer"] for row in rows), later, awaited, len(locks) > 10]

        print(json.dumps(in_child(work)), flush=True)
        os._exit(0)  # this process cannot end properly: its locks are held
        """
    ) == ["fine"] * 6 + [True]


def test_a_call_under_way_in_the_parent_is_made_again_in_the_child(run: Callable[[str], Any]) -> None:
    cached, calls = run(
        """
        executor, slow = make(), null_lm(delay=0.5)
        executor.execute_signature("Answer", {"question": "first"}, lm=slow)
        def ask():
            return executor.execute_signature("Answer", {"question": "same"}, lm=slow)
        threading.Thread(target=ask, daemon=True).start()
        while slow._engine_spec.calls < 2:
            time.sleep(0.01)
        print(json.dumps(in_child(lambda: [ask().cached, slow._engine_spec.calls])))
        """
    )
    assert (cached, calls) == (None, 3)


COMPONENTS = """
class Tracker:
    def __init__(self): self.pid, self.seen = os.getpid(), []
    def record(self, event): self.seen.append(event)
    def flush(self, timeout=None): return True
    async def aflush(self, timeout=None): return True
    def status(self): return {"pid": self.pid, "seen": len(self.seen)}
    def close(self): self.seen.append("closed")

class Safe(Tracker):
    fork_safe = True

class Unsafe(Tracker):
    fork_safe = False

class Plugin:
    @hookimpl
    def provide_trackers(self):
        return [Component("plain", Tracker), Component("safe", Safe)]

def used(executor):
    executor.execute_signature("Answer", {"question": str(os.getpid())})
    return {name: status["pid"] == os.getpid() for name, status in executor.stats()["trackers"].items()}
"""


def test_what_was_made_by_name_is_made_again_unless_it_is_fork_safe(run: Callable[[str], Any]) -> None:
    assert run(
        COMPONENTS
        + textwrap.dedent(
            """
            executor = make(trackers=["plain", "safe"], extra_plugins=[("p", Plugin())])
            print(json.dumps([used(executor), in_child(lambda: used(executor))]))
            """
        )
    ) == [{"plain": True, "safe": True}, {"plain": True, "safe": False}]


def test_what_the_host_passed_is_used_on_unless_it_is_not_fork_safe(run: Callable[[str], Any]) -> None:
    used, refused, parent = run(
        COMPONENTS
        + textwrap.dedent(
            """
            plain, unsafe = make(trackers={"t": Tracker()}), make(trackers={"t": Unsafe()})
            used(unsafe)
            print(json.dumps([in_child(lambda: used(plain)), in_child(lambda: used(unsafe)), used(unsafe)]))
            """
        )
    )
    assert used == {"t": False}
    assert refused.startswith("ForkError: tracker 't' does not work")
    assert "make the executor after the fork" in refused
    assert parent == {"t": True}


def test_an_engine_that_is_not_fork_safe_is_refused_before_a_call(run: Callable[[str], Any]) -> None:
    refused = run(
        """
        lm = null_lm(asynchronous=False)
        lm._engine_spec.fork_safe = False
        executor = make(lm=lm)
        executor.execute_signature("Answer", {"question": "before"})
        print(json.dumps(in_child(lambda: executor.execute_signature("Answer", {"question": "after"})["answer"])))
        """
    )
    assert refused.startswith("ForkError: the engine of language model")


def test_the_declaration_is_read_strictly(run: Callable[[str], Any]) -> None:
    class Undeclared:
        pass

    class Declared:
        fork_safe = True

    class Refused:
        fork_safe = False

    assert made_after_fork(Undeclared())
    assert made_after_fork(Refused())
    assert not made_after_fork(Declared())
    check_fork_safe("cache", "c", Undeclared())
    with pytest.raises(ForkError, match="cache 'c'"):
        check_fork_safe("cache", "c", Refused())
