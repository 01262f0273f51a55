from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from hokusai_local import LlamaEngine

ASK = """
import asyncio, os, sys, threading, time
import dspy
from hokusai_local import LocalProvider
provider = LocalProvider()
model = provider.load("")
print(model.lm("Name a color.", max_tokens=20)[0], flush=True)
"""
# One thread writes, one waits for the model, an event loop has given up, and another is left behind.
LEAVE = """
def write():
    try:
        model.lm("Write a long story. " + "word " * 1500, max_tokens=2000)
    except dspy.LMError as error:
        os.write(1, f"{error}{os.linesep}".encode())  # in one piece: another thread prints at the same moment

async def awrite():
    await model.lm.acall("Write a long story.", max_tokens=2000)

async def give_up():
    await asyncio.wait_for(awrite(), 0.2)

for _ in range(2):
    threading.Thread(target=write, daemon=True).start()
try:
    asyncio.run(give_up())
except TimeoutError:
    print("gave up")
threading.Thread(target=asyncio.run, args=(awrite(),), daemon=True).start()
sys.stderr = open(os.devnull, "w")  # where that thread's error goes
time.sleep(0.3)
sys.exit(5)
"""
FORK = """
def child(status):
    print(model.lm("Name a color.", max_tokens=20)[0])
    provider.close()
    print(LocalProvider().load("").lm("Name a color.", max_tokens=20)[0])
    sys.exit(status)

threading.Thread(target=lambda: model.lm("Write a story.", max_tokens=2000), daemon=True).start()
for status in (6, 7):
    process = os.fork()
    if process == 0:
        child(status)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
os._exit(0)
"""


CUT_OFF = "WARNING dspy.clients.lm: LM response was truncated; increase max_tokens or inspect history."


def answer(engine: LlamaEngine) -> str:
    from dspy.lm15 import Config, Message, Request

    request = Request(model="local/test", messages=(Message.user("Name a color."),), config=Config(max_tokens=6))
    return str(engine.complete(request).text)


def run(code: str, status: int = 0) -> list[str]:
    process = subprocess.run([sys.executable, "-c", ASK + code], capture_output=True, text=True, timeout=120)
    # DSPy says of each direct call that its answer was cut off, and nothing else may be said.
    assert [line for line in process.stderr.splitlines() if not line.endswith(CUT_OFF)] == []
    assert process.returncode == status
    return process.stdout.splitlines()


def test_a_process_ends_though_calls_are_under_way() -> None:
    color, *lines = run(LEAVE, status=5)
    assert color
    assert "gave up" in lines
    assert {line.rpartition(": ")[2] for line in lines if line != "gave up"} <= {"the process is ending"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_child_uses_the_model_and_ends_like_any_process() -> None:
    color, *lines = run(FORK)
    assert lines == [color, color, "6", color, color, "7"]


def test_child_processes_load_their_own(engine: LlamaEngine) -> None:
    expected = answer(engine)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(answer, (engine,)).get(timeout=120) == expected
    assert answer(engine) == expected


def test_interrupting_a_generation_raises_in_the_caller() -> None:
    code = ASK + 'print("ready", flush=True)\nmodel.lm("Write a story. " + "word " * 2500, max_tokens=1500)'
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT)
    assert "KeyboardInterrupt" in err


def test_importing_the_plugin_is_light() -> None:
    code = (
        "import sys, hokusai_local.plugin, hokusai_local.provider as p\n"
        "p.LocalProvider().available()\n"
        "print([name for name in ('dspy', 'xllamacpp', 'gguf', 'numpy', 'jsonschema') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
