"""Routes to providers: the requests, prices and errors of DSPy's own calls, without what DSPy does anew each time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pydantic
import pytest
from dspy.dsp.utils import settings as dspy_settings
from dspy.lm15 import CacheConfig
from dspy.utils.callback import BaseCallback

from hokusai_core import Budget, Executor
from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge import MeteredLM, ModelCall, provider_routes
from hokusai_core.dspy_bridge.provider_routes import known_route
from hokusai_core.errors import BudgetExceeded, DeadlineExceeded
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec

QA = SignatureSpec("Answer", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "how many?"}]
USAGE = {
    "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 30},
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Answers like OpenAI's chat completions with the question that was asked, and keeps what it was sent."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections = self.hung_up = 0
        self.model, self.pause, self.trickle = "gpt-4o-mini-2024-07-18", 0.0, 0.0
        self.usage: dict[str, Any] = USAGE
        #: How many events of a stream come before the server stops; None for all.
        self.events: int | None = None
        #: What is answered in place of all that.
        self.reply: dict[str, Any] | None = None
        #: Requests that wait for each other: none is answered before all have come.
        self.together: threading.Barrier | None = None
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        server = self.server
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.requests.append((self.path, dict(self.headers.items()), asked))
        texts = [str(message.get("content")) for message in asked.get("messages", ())]
        found = re.search(r"question ## \]\]\n(.*)", texts[-1]) if texts else None
        question = found[1] if found else "none"
        text = f"[[ ## answer ## ]]\n{question}\n\n[[ ## completed ## ]]"
        message = {"role": "assistant", "content": text}
        reply = {
            "id": "c1", "object": "chat.completion", "model": server.model, "usage": server.usage,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        }  # fmt: skip
        body = json.dumps(server.reply or reply).encode()
        if server.together:
            server.together.wait(60)
        if server.pause and self._waits():
            return
        if asked.get("stream"):
            return self._stream(text)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            for part in [bytes([byte]) for byte in head.encode() + body] if server.trickle else [head.encode() + body]:
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(server.trickle)
        except OSError:
            self.server.hung_up += 1

    def _stream(self, text: str) -> None:
        self.close_connection = True
        pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
        choices: list[Any] = [{"index": 0, "delta": {"role": "assistant", "content": piece}} for piece in pieces]
        events: list[Any] = [{"choices": [choice]} for choice in choices]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append({"choices": [], "usage": self.server.usage})
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        common = {"id": "c1", "object": "chat.completion.chunk", "model": self.server.model}
        lines = [f"data: {json.dumps(common | event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        try:
            for line in [head, *lines[: self.server.events]]:
                self.wfile.write(line.encode())
                self.wfile.flush()
                time.sleep(self.server.trickle)
        except OSError:
            self.server.hung_up += 1

    def _waits(self) -> bool:
        """Wait, and return whether the client has hung up meanwhile."""
        self.connection.settimeout(self.server.pause)
        try:
            gone: bool = self.connection.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        self.server.hung_up += gone
        self.close_connection = True
        return gone

    def finish(self) -> None:
        with contextlib.suppress(OSError):  # the client has hung up
            super().finish()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield started
    started.shutdown()
    started.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def model(server: Server, name: str = "openai/gpt-4o-mini", **options: Any) -> Any:
    return dspy.LM(name, api_base=server.url, api_key="sk-test", **options)


def ask(lm: Any, asynchronous: bool, *, messages: Any = MESSAGES, **options: Any) -> Any:
    return asyncio.run(lm.acall(messages=messages, **options)) if asynchronous else lm(messages=messages, **options)


def routes(lm: Any) -> list[Any]:
    return [entry for key, entry in lm._engine_store.items() if "hokusai" in key]


class Reply(pydantic.BaseModel):
    answer: str


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.2, "max_tokens": 40, "top_p": 0.5, "seed": 7},
    {"stop": ["x", "y"], "frequency_penalty": 0.1, "user": "me"},
    {"response_format": {"type": "json_object"}},
    {"temperature": 1},
    {"logprobs": True},
    {"response_format": Reply},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, PICTURE]}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, *MESSAGES[1:]]},
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "name",
    ["openai/gpt-4o-mini", "openai/gpt-5-mini", "openai/unknown", "groq/llama", "deepseek/deepseek-chat",
     "hosted_vllm/qwen", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "openrouter/a/b"],
)  # fmt: skip
def test_a_provider_is_sent_what_dspy_itself_sends(server: Server, name: str, asynchronous: bool) -> None:
    for options in PARAMETERS:
        sent = []
        for make in (lambda lm: lm, lambda lm: MeteredLM(lm, Meter())):
            lm = model(server, name, cache=False, num_retries=0)
            for _ in range(2):  # the second call of a metered one finds the route
                server.requests.clear()
                failure = None
                try:
                    ask(make(lm), asynchronous, **options)
                except dspy.LMError as error:  # the answer is one of OpenAI's, or the provider lacks an option
                    failure = type(error)
                sent.append((failure, server.requests[:]))
        assert sent[0] == sent[1] == sent[2] == sent[3]
        assert sent[0][1] or sent[0][0]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", ["openai/gpt-4o-mini", "openai/o3", "groq/llama-3.3-70b-versatile", "openai/unknown"])
def test_cost_and_usage_are_those_of_dspy(server: Server, name: str, asynchronous: bool) -> None:
    for answered in ("gpt-4o-mini-2024-07-18", "unheard-of"):
        server.model = answered
        for usage in (USAGE, {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, {}):
            server.usage = usage
            lm, meter = model(server, name, cache=False), Meter()
            ask(lm, asynchronous)
            for _ in range(2):
                ask(MeteredLM(lm, meter), asynchronous)
            dspys, *ours = lm.history
            assert [entry["cost"] for entry in ours] == [dspys["cost"]] * 2
            assert [entry["usage"] for entry in ours] == [dspys["usage"]] * 2
            assert [record.cost for record in meter.calls] == [dspys["cost"]] * 2
            told = usage is USAGE
            assert (meter.usage.cached_tokens, meter.usage.reasoning_tokens) == (800 * told, 60 * told)
            assert [entry["cost_details"]["kind"] for entry in ours] == [dspys["cost_details"]["kind"]] * 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_cost_and_usage_of_a_provider_that_counts_cached_tokens_apart(server: Server, asynchronous: bool) -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_input_tokens": 900,
        "cache_creation_input_tokens": 50,
    }
    server.reply = {
        "id": "m1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "four"}], "usage": usage,
    }  # fmt: skip
    lm, meter = model(server, "anthropic/claude-sonnet-4-5", cache=False, max_tokens=100), Meter()
    for call in (lm, MeteredLM(lm, meter), MeteredLM(lm, meter)):
        assert ask(call, asynchronous) == ["four"]
    dspys, *ours = lm.history
    assert dspys["cost"] > 0
    assert [(entry["cost"], entry["usage"]) for entry in ours] == [(dspys["cost"], dspys["usage"])] * 2
    assert (meter.usage.input_tokens, meter.usage.cached_tokens) == (2 * 1050, 2 * 900)


def test_a_budget_on_cost_holds(server: Server) -> None:
    with Executor(lm=model(server), cache_enabled=False) as executor:
        executor.register_signature("Answer", "question -> answer")
        budget = Budget(cost=0.0006)
        options: Any = {"budget": budget, "parameters": {"max_tokens": 100}}
        executor.execute_signature("Answer", {"question": "1"}, **options)
        executor.execute_signature("Answer", {"question": "2"}, **options)
        with pytest.raises(BudgetExceeded, match="is left, and the next call may cost up to"):
            executor.execute_signature("Answer", {"question": "3"}, **options)


class Listener(BaseCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append(("start", instance))

    def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        self.seen.append(("end", bool(outputs)))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_callbacks_history_and_usage_trackers_of_the_host_stay(server: Server, asynchronous: bool) -> None:
    listener = Listener()
    lm = model(server, callbacks=[listener])
    with dspy.track_usage() as used:
        for _ in range(2):
            ask(MeteredLM(lm, Meter()), asynchronous)
    assert listener.seen == [("start", lm), ("end", True)] * 2
    assert len(lm.history) == 2
    assert used.get_total_tokens()["openai/gpt-4o-mini"]["total_tokens"] == 2200
    assert lm.supports_function_calling is True


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_dspys_client_cannot_carry_goes_through_litellm(server: Server, asynchronous: bool) -> None:
    lm, meter = model(server, extra_headers={"x-team": "blue"}), Meter()
    for _ in range(2):
        ask(MeteredLM(lm, meter), asynchronous)
    assert [headers.get("x-team") for _, headers, _ in server.requests] == ["blue", "blue"]
    assert [record.outcome for record in meter.calls] == ["ok", "ok"]
    assert known_route(lm, lm.kwargs) is None


def test_a_gateway_that_the_environment_names_goes_through_litellm(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Server()
    threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    lm = MeteredLM(model(server), Meter())
    lm("hi")
    monkeypatch.setenv("OPENAI_API_BASE", other.url)
    lm("hi")
    assert known_route(lm.wrapped, lm.kwargs) is None
    monkeypatch.delenv("OPENAI_API_BASE")
    assert known_route(lm.wrapped, lm.kwargs) is not None
    assert len(server.requests) == 2  # an address in the code stands above that of the environment
    other.shutdown()
    other.server_close()


def test_other_parameters_and_other_messages_take_their_own_way(server: Server) -> None:
    lm = model(server)
    metered = MeteredLM(lm, Meter())
    metered("hi")
    assert known_route(lm, lm.kwargs) is not None
    assert known_route(lm, {**lm.kwargs, "temperature": 0.5}) is None
    metered("hi", n=2)
    metered(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    lm.kwargs["api_key"] = "sk-other"
    metered("hi")
    keys = [headers["Authorization"] for _, headers, _ in server.requests]
    assert keys == ["Bearer sk-test"] * (len(keys) - 1) + ["Bearer sk-other"]


def test_equal_values_of_other_types_are_sent_as_they_are(server: Server) -> None:
    lm = model(server, cache=False)
    for call in (lm, MeteredLM(lm, Meter())):
        call("hi", temperature=1)
        call("hi", temperature=True)
    sent = [body["temperature"] for _, _, body in server.requests]
    assert [repr(value) for value in sent] == ["1.0", "True"] * 2


def test_prompt_cache_is_passed_on(server: Server) -> None:
    lm = model(server, cache=False, prompt_cache=CacheConfig(retention="long"))
    plain = [ask(call, False) for call in (lm, MeteredLM(lm, Meter()), MeteredLM(lm, Meter()))]
    bodies = [body for _, _, body in server.requests]
    assert len(plain) == 3
    assert bodies[1:] == bodies[:1] * 2
    assert "prompt_cache_retention" in bodies[0]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_proxy_of_the_environment_is_used_from_the_next_call_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    proxy = Server()
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    lm = MeteredLM(model(server), Meter())
    ask(lm, asynchronous)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
    ask(lm, asynchronous)
    ask(lm, asynchronous)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    ask(lm, asynchronous)
    monkeypatch.delenv("http_proxy")
    ask(lm, asynchronous)
    assert (len(server.requests), len(proxy.requests)) == (3, 2)
    assert proxy.requests[0][0].startswith(server.url)
    proxy.shutdown()
    proxy.server_close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_connections_are_as_many_as_the_calls_in_flight_and_a_bounded_number_is_kept(
    server: Server, asynchronous: bool
) -> None:
    lm, width = model(server), 150
    server.together = threading.Barrier(width)
    call = ModelCall(QA, lm)

    def idle() -> int:
        (kept,) = routes(lm)
        ((_, transport),) = kept.clients.values()
        return int(transport.pool_stats()["idle"])

    async def main() -> tuple[list[str], int]:
        answers = await asyncio.gather(*(call.prepare({"question": str(n)}).arun() for n in range(width)))
        return [answer["answer"] for answer in answers], idle()

    if asynchronous:
        answers, kept = asyncio.run(main())
    else:
        with ThreadPoolExecutor(width) as pool:
            answers = list(pool.map(lambda n: call.prepare({"question": str(n)}).run()["answer"], range(width)))
        kept = idle()
    assert answers == [str(number) for number in range(width)]
    assert server.connections == width  # DSPy's own client stops at 100
    assert kept <= 128
    if not asynchronous:
        server.together = None
        for number in range(50):
            call.prepare({"question": str(number)}).run()
        assert server.connections == width


@pytest.mark.parametrize(
    "options", [{"response_format": Reply}, {"messages": [{"role": "user", "content": [PICTURE]}]}]
)
def test_a_call_of_any_form_shares_the_connections_and_leaves_nothing_behind(
    server: Server, options: dict[str, Any]
) -> None:
    lm = model(server)
    for _ in range(3):
        ask(MeteredLM(lm, Meter()), False, **options)
    ask(MeteredLM(lm, Meter()), False)
    assert server.connections == 1
    (kept,) = routes(lm)
    assert all("how many?" not in str(route.template) for route in kept.known.values())


def streamed(lm: Any, asynchronous: bool, **options: Any) -> tuple[list[str], Meter, Any]:
    pieces: list[str] = []
    meter = Meter()
    metered = MeteredLM(lm, meter, deadline=options.pop("deadline", None))
    metered.on_text = pieces.append
    return pieces, meter, lambda: ask(metered, asynchronous, **options)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_streamed_answer_has_the_cost_and_usage_of_a_whole_one(server: Server, asynchronous: bool) -> None:
    lm, whole = model(server), Meter()
    expected = ask(MeteredLM(lm, whole), asynchronous)
    for _ in range(2):
        pieces, meter, call = streamed(lm, asynchronous)
        assert call() == expected
        assert len(pieces) > 5
        assert "".join(pieces) == expected[0]
        assert (meter.usage, meter.cost, meter.finish_reason) == (whole.usage, whole.cost, "stop")
    assert whole.cost is not None
    assert server.requests[-1][2]["stream"] is True


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_ends_too_early_is_an_error(server: Server, asynchronous: bool) -> None:
    lm, server.events = model(server), 4
    pieces, meter, call = streamed(lm, asynchronous)
    with pytest.raises(dspy.LMError):
        call()
    assert len(pieces) == 4
    assert [record.outcome for record in meter.calls] == ["failed"]


def test_a_stream_that_trickles_ends_at_the_deadline(server: Server) -> None:
    lm, server.trickle = model(server), 0.1
    pieces, _, call = streamed(lm, asynchronous=False)
    with dspy_settings.context(hokusai_deadline=time.monotonic() + 0.5), pytest.raises(dspy.LMTimeoutError):
        call()
    assert 0 < len(pieces) < 8


@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaving_a_stream_ends_it_at_the_provider(server: Server, asynchronous: bool) -> None:
    lm, server.trickle = model(server), 0.05

    def leave(_: str) -> None:
        raise RuntimeError("enough")

    metered = MeteredLM(lm, Meter())
    metered.on_text = leave
    with pytest.raises(dspy.LMUnexpectedError, match="enough"):
        ask(metered, asynchronous)
    until = time.monotonic() + 5
    while not server.hung_up and time.monotonic() < until:
        time.sleep(0.01)
    assert server.hung_up == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_closing_the_model_closes_the_connections(server: Server, asynchronous: bool) -> None:
    lm = model(server)

    async def awaited() -> None:
        await MeteredLM(lm, Meter()).acall("hi")
        assert len(routes(lm)) == 1
        await lm.aclose()

    if asynchronous:
        asyncio.run(awaited())
    else:
        MeteredLM(lm, Meter())("hi")
        assert len(routes(lm)) == 1
        lm.close()
    assert routes(lm) == []
    MeteredLM(lm, Meter())("hi")
    assert server.connections == 2


def test_a_call_meets_its_deadline_by_itself(server: Server) -> None:
    lm = model(server)
    call, seen = ModelCall(QA, lm), []
    assert not call.prepare({"question": "1"}, deadline=time.monotonic() + 9).keeps_deadline
    call.prepare({"question": "1"}).run()
    for options in ({"pause": 9.0}, {"trickle": 0.01}):  # an answer that does not come, and one that never ends
        server.pause, server.trickle = options.get("pause", 0.0), options.get("trickle", 0.0)
        deadline = time.monotonic() + 0.3
        prepared = call.prepare({"question": "2"}, deadline=deadline)
        assert prepared.keeps_deadline
        with pytest.raises(DeadlineExceeded):
            prepared.run()
        seen.append(time.monotonic() - deadline)
    assert all(0 <= late < 1.5 for late in seen), seen
    server.pause = server.trickle = 0.0
    assert call.prepare({"question": "3"}, deadline=time.monotonic() + 9).run() == {"answer": "3"}
    until = time.monotonic() + 5
    while server.hung_up < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert server.hung_up == 2  # the calls have ended at the provider, too


def test_a_name_that_is_not_resolved_in_time_does_not_hold_up_a_call(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model(server)
    call = ModelCall(QA, lm)
    call.prepare({"question": "1"}).run()
    for entry in routes(lm):
        for _, transport in entry.clients.values():
            transport._pool.close_all()
            transport._pool._closed = False
    original = socket.getaddrinfo

    given_up, resolved = threading.Event(), threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        given_up.wait(60)
        resolved.set()
        return original(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    prepared = call.prepare({"question": "2"}, deadline=time.monotonic() + 0.2)
    assert prepared.keeps_deadline
    with pytest.raises(DeadlineExceeded):
        prepared.run()
    assert not resolved.is_set()
    given_up.set()


def test_media_and_other_adapters_keep_no_deadline_by_themselves(server: Server) -> None:
    lm, deadline = model(server), time.monotonic() + 60
    call = ModelCall(QA, lm)
    call.prepare({"question": "1"}).run()
    assert call.prepare({"question": "2"}, deadline=deadline).keeps_deadline
    picture = dspy.Image(url="data:image/png;base64,AAAA")
    assert not call.prepare({"question": {"a": picture}}, deadline=deadline).keeps_deadline
    assert not ModelCall(QA, lm, "json").prepare({"question": "2"}, deadline=deadline).keeps_deadline
    with dspy_settings.context(callbacks=[Listener()]):
        assert not call.prepare({"question": "2"}, deadline=deadline).keeps_deadline


def test_cancelled_calls_end_at_the_provider(server: Server) -> None:
    lm = model(server)
    server.pause = 20.0

    async def cancel(number: int) -> None:
        task = asyncio.create_task(ModelCall(QA, lm).prepare({"question": str(number)}).arun())
        while len(server.requests) <= number:  # noqa: ASYNC110  # the server is on another thread
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main() -> None:
        for number in range(5):
            await cancel(number)
            until = time.monotonic() + 1
            while server.hung_up <= number and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    asyncio.run(main())
    assert server.hung_up == 5


def _answers_in_child(executor: Executor, number: int, report: Any) -> None:
    found = []
    for turn in range(10):
        question = f"{number}/{turn}"
        outputs = executor.execute_signature("Answer", {"question": question}, cache="off").outputs
        found.append((question, outputs["answer"]))
    report.put(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_no_answer_crosses_to_another_process(server: Server) -> None:
    context = multiprocessing.get_context("fork")
    report = context.Queue()
    with Executor(lm=model(server), cache_enabled=False) as executor:
        executor.register_signature("Answer", "question -> answer")
        executor.execute_signature("Answer", {"question": "parent"})
        children = [context.Process(target=_answers_in_child, args=(executor, n, report)) for n in range(20)]
        own = []
        for number, child in enumerate(children):
            child.start()
            question = f"parent/{number}"
            own.append((question, executor.execute_signature("Answer", {"question": question}).outputs["answer"]))
        found = [pair for _ in children for pair in report.get(timeout=60)]
        for child in children:
            child.join(30)
    assert [pair for pair in [*found, *own] if pair[0] != pair[1]] == []
    assert len(found) == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_makes_connections_of_its_own_without_an_executor(server: Server) -> None:
    lm = MeteredLM(model(server), Meter())
    lm("hi")
    before = server.connections
    child = os.fork()
    if child == 0:
        try:
            lm("hi")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert server.connections == before + 1
    lm("hi")
    assert server.connections == before + 1


def _numbers() -> tuple[int, int]:
    gc.collect()
    return len(gc.get_objects()), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts what the process has open")
@pytest.mark.parametrize("calls", [300, pytest.param(20_000, marks=pytest.mark.soak)])
def test_memory_and_files_stay_as_they_are(server: Server, calls: int) -> None:
    call, answer = ModelCall(QA, model(server)), None
    for number in range(50):
        call.prepare({"question": str(number)}).run()
    server.requests.clear()
    before = _numbers()
    for number in range(calls):
        deadline = time.monotonic() + 30
        answer = call.prepare({"question": str(number)}, deadline=deadline).run()
        server.requests.clear()
    assert answer == {"answer": str(calls - 1)}
    objects, files = (now - then for now, then in zip(_numbers(), before, strict=True))
    assert objects < 500
    assert files <= 2


def test_routes_are_bounded(server: Server) -> None:
    lm = model(server)
    metered = MeteredLM(lm, Meter())
    for number in range(provider_routes._MOST_ROUTES + 5):
        metered("hi", seed=number)
    (kept,) = routes(lm)
    assert len(kept.known) <= provider_routes._MOST_ROUTES
    assert len(kept.clients) == 1
    assert server.connections == 1
