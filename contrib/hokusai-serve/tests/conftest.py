from __future__ import annotations

import datetime
import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.plugin_api import Artifact
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from hokusai_serve import ServeLimits, create_app
from hokusai_serve.http_server import listen, make_server
from hokusai_teleprompt import Report, TrialResult

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105  # it opens nothing


class Mood(enum.Enum):
    CALM = "calm"
    ANGRY = "angry"


class Address(BaseModel):
    street: str
    number: int
    notes: list[str] = []


class Everything(BaseSignature):
    """Write a line about everything."""

    text: str = InputField("What it is about", aliases=("document",))
    count: int = InputField("How many", ge=1, le=9)
    ratio: float = InputField("Share", default=0.5)
    loud: bool = InputField("Whether to shout", default=False)
    mood: Mood = InputField("The mood")
    size: Literal["small", "large"] = InputField("The size", default="small")
    day: datetime.date = InputField("The day")
    names: list[str] = InputField("Who takes part")
    address: Address = InputField("Where")
    figures: dict[str, int] = InputField("Figures by name", default={})
    either: str | int = InputField("A text or a number", default="ten")
    line: str = OutputField("The line")
    score: int = OutputField("A grade", ge=0, le=10)


INPUTS: dict[str, Any] = {
    "text": "Ships",
    "count": 3,
    "mood": "calm",
    "day": "2026-05-01",
    "names": ["Ada"],
    "address": {"street": "Main", "number": 7},
}


class Secret(BaseSignature):
    """Keep it."""

    code: str = InputField("A secret", sensitive=True)
    answer: str = OutputField("A secret as well", sensitive=True)


@pytest.fixture
def inputs() -> dict[str, Any]:
    """Return inputs of ``Everything``."""
    return dict(INPUTS)


@pytest.fixture
def token() -> str:
    """Return a token."""
    return TOKEN


@pytest.fixture
def make_served(make_executor: Callable[..., Executor]) -> Callable[..., Executor]:
    """Return a function that makes an executor with the signatures of these tests."""

    def make(**options: Any) -> Executor:
        executor = make_executor(**{"plugins": [], **options})
        executor.register_signature("Ask", "question -> answer")
        executor.register_signature("Everything", Everything)
        executor.register_signature("Secret", Secret)
        return executor

    return make


@pytest.fixture
def make_client(make_served: Callable[..., Executor]) -> Iterator[Callable[..., TestClient]]:
    """Return a function that makes a client of an application in this process."""
    open_clients: list[TestClient] = []

    def make(executor: Executor | None = None, **options: Any) -> TestClient:
        client = TestClient(
            create_app(executor or make_served(), **options),
            base_url="http://127.0.0.1",
            raise_server_exceptions=False,
        )
        open_clients.append(client.__enter__())
        return client

    yield make
    for client in open_clients:
        client.__exit__(None, None, None)


@pytest.fixture
def running() -> Callable[..., Any]:
    """Return a context manager that runs a real server."""
    return _running


@contextmanager
def _running(executor: Executor, limits: ServeLimits | None = None, **options: Any) -> Iterator[tuple[str, Any]]:
    """Run a real server on a thread; yield its address and the server."""
    bounds = limits or ServeLimits()
    app = create_app(executor, limits=bounds, **options)
    address: list[str] = []
    ready = threading.Event()

    def tell(where: str) -> None:
        address.append(where)
        ready.set()

    server = make_server(app, bounds, tell)
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield address[0], server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def write_reports() -> Callable[[Path], None]:
    """Return a function that writes an evaluation and an optimization into a folder."""
    return _write_reports


def _write_reports(folder: Path) -> None:
    """Write an evaluation that was made, and an optimized signature with a report."""
    rows = [{"inputs": {"question": f"{n}?"}, "outputs": {"answer": "yes" if n % 3 else "no"}} for n in range(30)]
    with Executor(environ={}, lm=null_lm(answers={"answer": "yes"}), plugins=["evaluate"]) as executor:
        executor.register_signature("Ask", "question -> answer")
        evaluate(executor, "Ask", rows, metric="accuracy").save(folder / "ask.json")
        spec = executor.signature("Ask").spec
    report = Report(
        signature="local/Ask",
        optimizer="labeled_fewshot",
        reason="few examples",
        metric={"name": "accuracy", "range": (0, 1), "higher_is_better": True},
        model="null",
        seed=0,
        sizes={"train": 10, "dev": 10, "test": 30},
        baseline_score=0.5,
        candidate_score=0.8,
        improvement=0.3,
        interval=(0.1, 0.5),
        p_value=0.01,
        test="paired",
        promoted=True,
        verdict="better",
        trials=(TrialResult("baseline", 0.5, 10), TrialResult("four demos", 0.8, 20, demos=4, chosen=True)),
        calls=60,
    )
    better = spec.evolve(instructions="Answer in one word.")
    Artifact(better, spec, "local/Ask", report.to_dict(), promoted=True).write(folder / "better.json")
