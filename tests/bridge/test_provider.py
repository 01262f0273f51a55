"""Models that DSPy itself reaches over HTTP: one attempt a call, usage, cost, errors, cancellation."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest

from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge import ModelCall
from hokusai_core.errors import LanguageModelError, LanguageModelRefused, RateLimitedError
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec

QA = SignatureSpec("Answer", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))


class Provider(ThreadingHTTPServer):
    """Answers like OpenAI's chat completions, with ``status``, and not while ``may_answer`` is unset."""

    daemon_threads = True
    status = 200

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.received, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.received.set()
        self.server.may_answer.wait(30)
        reply: dict[str, Any] = {
            "id": "c1", "object": "chat.completion", "model": "gpt-4o-mini",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {
                "role": "assistant", "content": "[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]"}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }  # fmt: skip
        if self.server.status != 200:
            reply = {"error": {"message": "refused for sk-verysecretkey1234567", "type": "x", "code": "x"}}
        body = json.dumps(reply).encode()
        try:
            self.send_response(self.server.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if self.server.status == 429:
                self.send_header("retry-after", "7")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the client has hung up: that is what one test is about

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def call(provider: Provider) -> ModelCall:
    # Cache and retries as a host leaves them.
    return ModelCall(QA, dspy.LM("openai/gpt-4o-mini", api_base=provider.url, api_key="sk-test"))


def run(call: ModelCall, asynchronous: bool, **options: Any) -> Any:
    prepared = call.prepare({"question": "?"}, **options)
    return asyncio.run(prepared.arun()) if asynchronous else prepared.run()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_answer_usage_and_cost(call: ModelCall, provider: Provider, asynchronous: bool) -> None:
    run(call, asynchronous)
    meter = Meter()
    assert run(call, asynchronous, recorder=meter) == {"answer": "four"}  # DSPy's cache would answer the second time
    assert (meter.usage.input_tokens, meter.usage.output_tokens) == (1000, 100)
    assert meter.cost == pytest.approx(1000 * 0.15e-6 + 100 * 0.6e-6)
    assert len(provider.bodies) == 2
    assert [message["role"] for message in provider.bodies[0]["messages"]] == ["system", "user"]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (503, LanguageModelError), (401, LanguageModelRefused)]
)
def test_one_attempt_and_the_right_error(
    call: ModelCall, provider: Provider, asynchronous: bool, status: int, kind: type[LanguageModelError]
) -> None:
    provider.status = status
    meter = Meter()
    with pytest.raises(kind) as caught:
        run(call, asynchronous, recorder=meter)
    assert len(provider.bodies) == 1
    assert "sk-verysecret" not in str(caught.value)
    assert caught.value.retry_after == (7.0 if status == 429 else None)
    assert caught.value.retryable is (status != 401)
    assert [record.outcome for record in meter.calls] == ["failed"]


def test_cancelling_does_not_wait_for_the_provider(call: ModelCall, provider: Provider) -> None:
    provider.may_answer.clear()

    async def cancelled() -> bool:
        task = asyncio.create_task(call.prepare({"question": "?"}).arun())
        assert await asyncio.to_thread(provider.received.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return provider.may_answer.is_set()

    assert asyncio.run(cancelled()) is False
    provider.may_answer.set()
