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
import dspy
from hokusai_local import LocalProvider
provider = LocalProvider()
model = provider.load("")
print(model.lm("Name a color.", max_tokens=40)[0])
"""


def answer(engine: LlamaEngine) -> str:
    from dspy.lm15 import Config, Message, Request

    request = Request(model="local/test", messages=(Message.user("Name a color."),), config=Config(max_tokens=6))
    return str(engine.complete(request).text)


def test_a_process_is_silent_and_ends() -> None:
    run = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip()
    assert run.stderr == ""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_child_processes_load_their_own(engine: LlamaEngine, method: str) -> None:
    expected = answer(engine)
    with multiprocessing.get_context(method).Pool(1) as pool:
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
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err


def test_importing_the_plugin_is_light() -> None:
    code = (
        "import sys, hokusai_local.plugin, hokusai_local.provider as p\n"
        "p.LocalProvider().available()\n"
        "print([name for name in ('dspy', 'xllamacpp', 'gguf', 'numpy', 'jsonschema') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
