from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from hokusai_core import BaseSignature, InputField, OutputField

BEST = "Look for eating and say food for it; say sport for everything else. MAGIC"
_OUTPUT = re.compile(r"^\d+\. `(\w+)` \((.+?)\):", re.M)


class Topic(BaseSignature):
    """Tell the topic."""

    text: str = InputField()
    topic: Literal["sport", "food"] = OutputField()


class Reply(BaseSignature):
    """Reply to the message."""

    message: str = InputField()
    reply: str = OutputField()


class ThinkingEngine:
    """Answers by a function of the whole prompt: system text, the messages before, and the last one.

    For any other output it gives ``proposal``: optimizers ask it for instructions.
    """

    supports_response_schema = False
    supports_function_calling = False
    supports_reasoning = False
    supported_params = frozenset({"max_tokens", "temperature"})

    def __init__(self, answers: dict[str, Callable[[str, str, str], Any]], proposal: str = BEST) -> None:
        self.answers, self.proposal = answers, proposal
        self.calls = 0
        self.writes_json, self.nonsense = True, ""
        self.fail: Callable[[int], BaseException | None] = lambda number: None
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> ThinkingEngine:
        return self

    def complete(self, request: Request) -> Response:
        with self._lock:
            self.calls += 1
            number = self.calls
        error = self.fail(number)
        if error is not None:
            raise error
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        texts = [message.text or "" for message in request.messages]
        values = {name: self._value(name, kind, system, texts) for name, kind in _asked(system)}
        if self.nonsense:
            text = self.nonsense
        elif self.writes_json and "Outputs will be a JSON object" in system:
            text = json.dumps(values)
        else:
            shown = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
            text = "\n\n".join([*(f"[[ ## {k} ## ]]\n{v}" for k, v in shown.items()), "[[ ## completed ## ]]"])
        words = len(" ".join([system, *texts]).split())
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=words, output_tokens=len(text.split())),
        )

    def stream(self, request: Request) -> Any:
        raise NotImplementedError

    def close(self) -> None: ...

    def _value(self, name: str, kind: str, system: str, texts: list[str]) -> Any:
        if name in self.answers:
            return self.answers[name](system, "\n".join(texts[:-1]), texts[-1])
        if kind.startswith("dict"):
            return {"predict": self.proposal}
        if kind.startswith("list"):
            return [self.proposal]
        if kind.startswith("bool"):
            return True
        return self.proposal


def _asked(system: str) -> list[tuple[str, str]]:
    listed = system.partition("Your output fields are:\n")[2].partition("\nAll interactions will be structured")[0]
    return _OUTPUT.findall(listed)


def topic_of(user: str) -> str:
    return "food" if "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1] else "sport"


def _always_sport(system: str, shown: str, user: str) -> str:
    return "sport"


def _knows_by_instruction(system: str, shown: str, user: str) -> str:
    return topic_of(user) if "MAGIC" in system else "sport"


def _knows_by_demos(system: str, shown: str, user: str) -> str:
    return topic_of(user) if "food" in shown.rpartition("output fields")[0] + shown else "sport"


def make_lm(engine: ThinkingEngine) -> Any:
    return dspy.LM("scripted/thinking", engine=engine, cache=False, num_retries=0)


@pytest.fixture
def by_instruction() -> Any:
    """A language model that answers right once its instructions tell it how."""
    return make_lm(ThinkingEngine({"topic": _knows_by_instruction}))


@pytest.fixture
def by_demos() -> Any:
    """A language model that answers right once a demo shows it both answers."""
    return make_lm(ThinkingEngine({"topic": _knows_by_demos}))


@pytest.fixture
def stubborn() -> Any:
    """A language model that nothing improves."""
    return make_lm(ThinkingEngine({"topic": _always_sport}))


@pytest.fixture
def thinking() -> Callable[..., Any]:
    """Return a function that makes a language model out of functions of (system, earlier messages, last message)."""
    return lambda **answers: make_lm(ThinkingEngine(answers))


@pytest.fixture
def topics() -> list[dict[str, Any]]:
    """Sixty examples, half of each topic."""
    return make_topics(60)


def make_topics(count: int) -> list[dict[str, Any]]:
    return [
        {
            "inputs": {"text": f"we {'eat' if number % 2 else 'run'} number {number}"},
            "outputs": {"topic": "food" if number % 2 else "sport"},
        }
        for number in range(count)
    ]


@pytest.fixture
def topic_signature() -> type[BaseSignature]:
    return Topic


@pytest.fixture
def reply_signature() -> type[BaseSignature]:
    return Reply


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a user folder of its own."""
    folder = tmp_path / "user-data"
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(folder))
    monkeypatch.delenv("HOKUSAI_FEEDBACK_DIR", raising=False)
    return folder
