"""Batches against a provider that is reached over HTTP: who hangs up, and who waits for how long."""

from __future__ import annotations

import asyncio
import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest

from hokusai_core import Executor

MakeExecutor = Callable[..., Executor]


class Provider(ThreadingHTTPServer):
    """Answers like OpenAI's chat completions; hangs while ``hanging``, and turns the first calls away with 429."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        self.hanging, self.storm, self.retry_after = False, 0, lambda: "1"
        self.calls = self.hung_up = 0
        #: Question -> when it was turned away last, and when it was answered.
        self.turned_away: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.lock, self.over = threading.Lock(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        provider = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"].split("[[ ## question ## ]]\n")[1].split("\n")[0]
        with provider.lock:
            provider.calls += 1
            turned_away = provider.calls <= provider.storm
            (provider.turned_away if turned_away else provider.answered)[question] = time.monotonic()
        if provider.hanging:
            self._hang()
            return
        text = f"[[ ## answer ## ]]\nanswer to {question}\n\n[[ ## completed ## ]]"
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        reply = {"id": "c", "object": "chat.completion", "model": "m", "choices": [message], "usage": usage}
        data = json.dumps({"error": {"message": "slow down"}} if turned_away else reply).encode()
        self.send_response(429 if turned_away else 200)
        if turned_away:
            self.send_header("retry-after", provider.retry_after())  # type: ignore[no-untyped-call]
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang(self) -> None:
        self.close_connection = True
        while not self.server.over.is_set():
            if select.select([self.connection], [], [], 0.02)[0]:  # the client sends nothing more but that it is gone
                with self.server.lock:
                    self.server.hung_up += 1
                return

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def executor(provider: Provider, make_executor: MakeExecutor) -> Executor:
    address = f"http://127.0.0.1:{provider.server_address[1]}/v1"
    return make_executor(lm=dspy.LM("openai/gpt-4o-mini", api_base=address, api_key="sk-test", cache=False))


def ask(count: int) -> list[dict[str, str]]:
    return [{"question": f"q{number}"} for number in range(count)]


def wait_until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_cancelling_hangs_up(executor: Executor, provider: Provider) -> None:
    provider.hanging = True

    async def main() -> None:
        one = asyncio.create_task(executor.aexecute_signature("Ask", {"question": "single"}))
        many = asyncio.create_task(executor.aexecute_batch("Ask", ask(50), max_workers=6))
        await asyncio.to_thread(wait_until, lambda: provider.calls == 7)
        for work in (one, many):
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(main())
    wait_until(lambda: provider.hung_up == 7)
    assert provider.calls == 7


def test_a_deadline_hangs_up(executor: Executor, provider: Provider) -> None:
    provider.hanging = True
    results = executor.execute_batch("Ask", ask(70), max_workers=70, timeout=1.0)
    assert {type(failure.error).__name__ for failure in results.failed} == {"DeadlineExceeded"}
    assert len(results.failed) == 70
    wait_until(lambda: provider.hung_up == provider.calls)
    provider.hanging = False
    assert executor.execute_batch("Ask", ask(1))[0]["answer"] == "answer to q0"


@pytest.mark.parametrize(("workers", "form"), [(3, "seconds"), (70, "seconds"), (3, "date")])
def test_retry_after_is_waited_for(executor: Executor, provider: Provider, workers: int, form: str) -> None:
    if form == "date":  # which has whole seconds
        provider.retry_after = lambda: formatdate(time.time() + 2, usegmt=True)
    provider.storm = 3
    results = executor.execute_batch("Ask", ask(12), max_workers=workers, timeout=30.0)
    assert [result["answer"] for result in results] == [f"answer to q{number}" for number in range(12)]
    assert provider.turned_away
    for question, at in provider.turned_away.items():
        assert provider.answered[question] - at > 0.8
    assert provider.calls == 12 + 3
