"""A worker pool that forks: tasks use an executor that was made before the fork, by its global name.

    python examples/hosts/forking_worker.py

Do not pass an executor as an argument of a task; it cannot be pickled. With the start methods `spawn` and `forkserver`
make it in the `initializer` of the pool, as `begin` shows.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

EXECUTOR: Executor | None = None


def begin() -> None:
    """Make the executor of this process, unless it came through a fork."""
    global EXECUTOR
    if EXECUTOR is None:
        lm = null_lm(answers={"label": "praise"})  # a worker names its model: lm="openai/gpt-5-mini"
        EXECUTOR = Executor(environ={}, lm=lm, plugins=[], timeout=20)
        EXECUTOR.register_signature("Label", "text -> label")


def label(text: str) -> tuple[str, int]:
    """Label a text; return the label and the process that found it."""
    if EXECUTOR is None:
        raise RuntimeError("begin() was not called in this process")
    return EXECUTOR.execute_signature("Label", {"text": text})["label"], os.getpid()


def run(texts: list[str], processes: int = 2, method: str = "fork") -> list[tuple[str, int]]:
    """Label texts in a pool."""
    if method == "fork":
        begin()
        label("This makes everything ready, once for all processes.")
    context = multiprocessing.get_context(method)
    with context.Pool(processes, initializer=begin) as pool:
        return pool.map(label, texts, chunksize=1)


if __name__ == "__main__":
    for found, process in run(["A fine day.", "What a mess.", "Thank you!"], method=(sys.argv[1:] or ["fork"])[0]):
        print(found, process)
