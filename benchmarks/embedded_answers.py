"""The embedded language model for long benchmarks: each prompt is asked once, and time can be counted by the CPU."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dspy
from attrs import evolve
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from hokusai_core import LanguageModel
from hokusai_local import AsyncLlamaEngine, EngineOptions, LlamaEngine

__all__ = ["cpu_clock", "remembering"]


class RememberingEngine(LlamaEngine):
    """Keeps the answers at temperature 0, which depend on nothing but the request, in a file.

    Args:
        options: how to load and ask the model.
        path: the file.
    """

    def __init__(self, options: EngineOptions, path: Path) -> None:
        super().__init__(options)
        self._path, self._lock = path, threading.Lock()
        path.touch()
        lines = path.read_text(encoding="utf-8").splitlines()
        self._answers: dict[str, Any] = dict(json.loads(line) for line in lines if line.endswith("]]"))

    def complete_unless(self, request: Request, cancelled: threading.Event) -> Response:
        """Return the kept answer to a request, else that of the model."""
        if request.config.temperature:
            return super().complete_unless(request, cancelled)
        asked = repr((request.model, request.system, request.messages, request.config))
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        known = self._answers.get(key)
        if known is not None:
            text, read, written = known
            message, usage = Message.assistant([TextPart(text)]), Usage(input_tokens=read, output_tokens=written)
            return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)
        response = super().complete_unless(request, cancelled)
        if response.finish_reason == "stop":
            answer = [response.message.text, response.usage.input_tokens, response.usage.output_tokens]
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                self._answers[key] = answer
                file.write(json.dumps([key, answer]) + "\n")
        return response


def remembering(model: LanguageModel, path: Path) -> LanguageModel:
    """Return the embedded language model with its answers kept in a file.

    Args:
        model: the model as its provider makes it.
        path: the file.
    """
    engine = RememberingEngine(model.lm.engine.options, path)
    given = {"cache": False, "num_retries": 0, **model.lm.kwargs}
    return evolve(model, lm=dspy.LM(model.lm.model, engine=engine, async_engine=AsyncLlamaEngine(engine), **given))


@contextmanager
def cpu_clock() -> Iterator[None]:
    """Let budgets count CPU seconds of this process, which other work on the machine does not lengthen."""
    clock = SimpleNamespace(monotonic=time.process_time, sleep=time.sleep)
    with (
        mock.patch("hokusai_core.execution.budget_ledger.time", clock),
        mock.patch("hokusai_teleprompt.study.phase_budget.time", clock),
    ):
        yield
