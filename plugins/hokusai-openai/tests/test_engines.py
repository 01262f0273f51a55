"""What the engines promise beyond the conformance suite: bodies, connections, threads, forks, loops, memory."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import psutil
import pytest
from dspy.lm15 import (
    Config,
    LM15Error,
    Message,
    OpenAIChatLM,
    Request,
    TextPart,
    UnsupportedFeatureError,
    response_from_openai_chat,
)

from hokusai_core import Budget, Executor
from hokusai_core.errors import BudgetExceeded, LanguageModelError, LanguageModelRefused
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.types import StreamDelta
from hokusai_openai import AsyncOpenAIEngine, OpenAIEngine, OpenAIProvider, ServerOptions
from hokusai_openai.chat_format import ChatFormat
from tests.warm_python import WarmPython

TAGGED = "[[ ## answer ## ]]\n{tag}\n\n[[ ## completed ## ]]"


def request_for(text: str = "How many?", **config: Any) -> Request:
    return Request(model="x", system="Be short.", messages=(Message.user(text),), config=Config(**config))


def tagged(engine: OpenAIEngine, number: int) -> bool:
    answer = engine.complete(request_for(f"tag-{number}")).message.text or ""
    return f"\ntag-{number}\n" in answer


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "seed": 3},
        {"frequency_penalty": 1.0, "presence_penalty": -1.0},
        {"stop": ("END",)},
        {"response_format": {"type": "json_object"}},
        {"extensions": {"guided_choice": ["a", "b"]}},
        {"logprobs": 2},
        {"store": False},
    ],
)
@pytest.mark.parametrize("server", ["openai", "vllm", "ollama"])
def test_bodies_are_those_that_dspy_builds(config: dict[str, Any], server: str) -> None:
    chat = ChatFormat(ServerOptions("http://127.0.0.1:1/v1", "x", server=server))
    turns = (Message.user("Straße \u2028 😀"), Message(role="assistant", parts=(TextPart("one"),)), Message.user("two"))
    request = Request(model="x", system="Be short.", messages=turns, config=Config(**config))
    theirs = json.loads(OpenAIChatLM(api_key="k", compat=server).build_request(request, stream=False).body)
    assert json.loads(chat.body(request)) == theirs


def answer_body(message: Any = None, choice: Any = None, **other: Any) -> dict[str, Any]:
    said = {
        "index": 0,
        "message": {"role": "assistant", "content": "Seven.", **(message or {})},
        "finish_reason": "stop",
    }
    return {"id": "c-1", "model": "m", "choices": [{**said, **(choice or {})}], "usage": {"prompt_tokens": 3}, **other}


@pytest.mark.parametrize(
    ("body", "short"),
    [
        (answer_body(), True),
        (answer_body({"refusal": None, "tool_calls": [], "annotations": []}, {"logprobs": None}), True),
        (answer_body(id=None, model=None, usage=None), True),
        (answer_body(id=7, usage={"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}), True),
        (answer_body(usage={"prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 1}}), True),
        (answer_body(usage={"completion_tokens_details": {"reasoning_tokens": 4}}), True),
        (answer_body({"content": ""}), False),
        (answer_body({"content": None, "refusal": "No."}), False),
        (answer_body({"content": [{"type": "text", "text": "Seven."}]}), False),
        (answer_body({"reasoning_content": "3 + 4"}), False),
        (answer_body({"reasoning": "3 + 4"}), False),
        (answer_body({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}), False),
        (answer_body(choice={"finish_reason": "length"}), False),
        (answer_body(choice={"finish_reason": "unheard-of"}), False),
        (answer_body(choice={"finish_reason": None}), False),
    ],
)
def test_answers_are_those_that_dspy_reads(body: dict[str, Any], short: bool) -> None:
    chat = ChatFormat(ServerOptions("http://127.0.0.1:1/v1", "x"))
    theirs = response_from_openai_chat(json.loads(json.dumps(body)), model="x")
    assert chat.answer(request_for(), json.dumps(body).encode(), lambda name: None) == theirs
    assert (chat._text_answer(request_for(), body) is not None) is short


@pytest.mark.parametrize(
    "body",
    [
        answer_body(usage={"prompt_tokens": -1}),
        answer_body(usage={"prompt_tokens": "many"}),
        answer_body(usage={"prompt_tokens_details": [1]}),
        answer_body(choices=[1, 2]),
        answer_body(choices={"a": 1}),
    ],
)
def test_answers_that_dspy_does_not_read_are_errors(body: dict[str, Any]) -> None:
    chat = ChatFormat(ServerOptions("http://127.0.0.1:1/v1", "x"))
    with pytest.raises(LM15Error):
        chat.answer(request_for(), json.dumps(body).encode(), lambda name: None)


def test_half_a_pair_of_surrogates_in_an_answer_is_kept() -> None:
    chat = ChatFormat(ServerOptions("http://127.0.0.1:1/v1", "x"))
    body = json.dumps(answer_body({"content": "cut \ud83d"})).encode()
    assert chat.answer(request_for(), body, lambda name: None).message.text == "cut \ud83d"


def test_top_k_is_sent_where_servers_know_it_and_refused_elsewhere(server: ChatServer) -> None:
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok"))
    engine.complete(request_for(top_k=3))
    engine.close()
    assert server.received[0].body["top_k"] == 3
    with pytest.raises(UnsupportedFeatureError, match="top_k"):
        OpenAIEngine(ServerOptions(server.base_url, "ok", server="openai")).complete(request_for(top_k=3))


def test_text_that_is_not_unicode_is_refused_before_it_is_sent(server: ChatServer) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        OpenAIEngine(ServerOptions(server.base_url, "ok")).complete(request_for("\ud800"))
    assert server.counts.connections == 0


def test_headers_are_sent_and_hidden(server: ChatServer) -> None:
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok", headers={"X-Team": "team-7"}))
    engine.complete(request_for())
    engine.close()
    assert server.received[0].headers["x-team"] == "team-7"
    assert "authorization" not in server.received[0].headers
    assert "team-7" not in repr(engine)


def test_many_threads_get_their_own_answers(server: ChatServer) -> None:
    server.answer = TAGGED
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok"))
    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(lambda number: tagged(engine, number), range(1_000)))
    assert server.counts.connections <= 32
    engine.close()


def test_a_wide_batch_has_all_its_calls_in_flight() -> None:
    with ChatServer(delay=1.5) as server, Executor(lm=f"{server.base_url}#ok", plugins=["openai"]) as executor:
        executor.register_signature("Ask", "question -> answer")
        rows = [{"question": f"question {number}"} for number in range(150)]
        assert len(executor.execute_batch("Ask", rows, max_workers=150)) == 150
        blocking, server.counts.most_in_flight = server.counts.most_in_flight, 0
        asyncio.run(executor.aexecute_batch("Ask", [{"question": f"why {n}"} for n in range(150)], max_workers=150))
        assert (blocking, server.counts.most_in_flight) == (150, 150)


def test_a_closed_engine_can_be_used_again(server: ChatServer) -> None:
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok"))
    for _ in range(2):
        engine.complete(request_for())
        engine.close()
        engine.close()
    assert server.counts.connections == 2


def test_a_stream_keeps_its_connection(server: ChatServer) -> None:
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok"))
    for _ in range(3):
        pieces = [event.delta.text for event in engine.stream(request_for()) if event.type == "delta"]
        assert "".join(pieces) == server.answer
    assert server.counts.connections == 1
    engine.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_streams_reach_the_user_word_by_word(asynchronous: bool) -> None:
    answer = "[[ ## answer ## ]]\n" + " ".join(f"word{number}" for number in range(20)) + "\n\n[[ ## completed ## ]]"
    with ChatServer(answer, token_delay=0.01) as server:
        executor = Executor(lm=f"{server.base_url}#ok", plugins=["openai"])
        executor.register_signature("Ask", "question -> answer")

        async def collect() -> list[Any]:
            return [event async for event in executor.astream_signature("Ask", {"question": "How many?"})]

        inputs = {"question": "How many?"}
        events = asyncio.run(collect()) if asynchronous else list(executor.stream_signature("Ask", inputs))
        executor.close()
    words = [event for event in events if isinstance(event, StreamDelta)]
    assert len(words) > 10
    finished: Any = events[-1]
    assert finished.result.outputs["answer"].split()[-1] == "word19"


def test_a_budget_in_dollars_knows_the_price(server: ChatServer) -> None:
    provider = OpenAIProvider()
    with Executor(plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Ask", "question -> answer")

        def ask(**options: Any) -> Any:
            lm = provider.load(f"{server.base_url}#ok", **options)
            asked: Any = {"budget": Budget(cost=1.0), "parameters": {"max_tokens": 100}}
            return executor.execute_signature("Ask", {"question": "?"}, lm=lm, **asked)

        with pytest.raises(BudgetExceeded):
            ask()
        assert server.counts.requests == 0
        assert ask(free=True).cost == 0.0
        # 120 tokens of the prompt and 40 of the answer
        assert ask(priced_as="openai/gpt-4o-mini").cost == pytest.approx(120 * 0.15e-6 + 40 * 0.6e-6)
    provider.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_request_that_a_budget_pays_for_is_sent_once(server: ChatServer, asynchronous: bool) -> None:
    """A server that closes a used connection may have worked on the request, and charge for it."""
    provider = OpenAIProvider()
    lm = provider.load(f"{server.base_url}#once", priced_as="openai/gpt-4o-mini")
    with Executor(lm=lm, plugins=[], cache_enabled=False, parameters={"max_tokens": 100}) as executor:
        executor.register_signature("Ask", "question -> answer")

        async def twice(**options: Any) -> None:
            for question in ("one", "two"):
                if asynchronous:
                    await executor.aexecute_signature("Ask", {"question": question}, **options)
                else:
                    executor.execute_signature("Ask", {"question": question}, **options)

        asyncio.run(twice())
        assert server.counts.requests == 3  # the second one twice
        budget = Budget(cost=1.0)
        with pytest.raises(LanguageModelError):
            asyncio.run(twice(budget=budget))
    assert server.counts.requests <= 5
    assert budget.to_dict()["spent"]["uncertain"] > 0
    assert budget.spent.calls == server.counts.requests - 3
    provider.close()


def test_structured_outputs_send_the_schema_of_the_outputs(server: ChatServer) -> None:
    server.answer = '{"teams": ["billing"], "urgent": true}'
    provider = OpenAIProvider()
    plain, structured = (provider.load(f"{server.base_url}#ok", structured_outputs=flag).lm for flag in (False, True))
    assert not plain.supports_response_schema
    assert structured.supports_response_schema
    with Executor(
        lm=provider.load(f"{server.base_url}#ok", structured_outputs=True, priced_as="openai/gpt-4o-mini"), plugins=[]
    ) as executor:
        executor.register_signature("Route", "ticket -> teams: list[str], urgent: bool")
        for _ in range(2):
            result = executor.execute_signature("Route", {"ticket": "I was charged twice."}, cache="off")
            assert (result.outputs["teams"], result.outputs["urgent"]) == (["billing"], True)
            assert result.cost == pytest.approx(120 * 0.15e-6 + 40 * 0.6e-6)
        result = asyncio.run(executor.aexecute_signature("Route", {"ticket": "Where is it?"}))
        assert result.outputs["urgent"] is True
    for request in server.received:
        schema = request.body["response_format"]["json_schema"]["schema"]
        assert set(schema["properties"]) == {"teams", "urgent"}
    assert server.counts.requests == 3
    provider.close()


def test_a_key_in_the_text_of_a_server_is_in_no_error(server: ChatServer) -> None:
    provider = OpenAIProvider()
    lm = provider.load(f"{server.base_url}#echo-key", api_key="a plain key of words").lm
    with pytest.raises(dspy.LMError) as direct:
        lm("How many?")
    with Executor(lm=lm, plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(LanguageModelRefused) as caught:
            executor.execute_signature("Ask", {"question": "How many?"})
    for error in (direct.value, direct.value.__cause__, caught.value, caught.value.__cause__):
        assert "plain key" not in f"{error} {error!r}"
    provider.close()


def test_loops_that_end_leave_nothing_open(server: ChatServer) -> None:
    engine = AsyncOpenAIEngine(ServerOptions(server.base_url, "ok"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(5):
            asyncio.run(engine.complete(request_for()))
            gc.collect()
    assert len(engine._sessions) <= 1
    assert server.counts.connections == 5


def test_an_engine_is_closed_on_each_of_its_loops(server: ChatServer) -> None:
    engine = AsyncOpenAIEngine(ServerOptions(server.base_url, "ok"))
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(engine.complete(request_for()), other).result(10)
    engine.close()
    until = time.monotonic() + 5
    while server._connections and time.monotonic() < until:
        time.sleep(0.01)
    assert not server._connections
    other.call_soon_threadsafe(other.stop)
    thread.join(10)
    other.close()


FORKS = textwrap.dedent(
    """
    import asyncio, os, sys, time
    from dspy.lm15 import Message, Request
    from hokusai_openai import AsyncOpenAIEngine, OpenAIEngine, ServerOptions

    base_url, kind, end, forks = sys.argv[1:5]
    options = ServerOptions(base_url, "ok", timeout=20)
    engine, asynchronous = OpenAIEngine(options), AsyncOpenAIEngine(options)
    loop = asyncio.new_event_loop()

    def wrong(first, loop):
        count = 0
        for number in range(first, first + 20):
            request = Request(model="x", messages=(Message.user(f"tag-{number}"),))
            if kind == "sync":
                answer = engine.complete(request)
            else:
                answer = loop.run_until_complete(asynchronous.complete(request))
            count += f"\\ntag-{number}\\n" not in answer.message.text
        return count

    crossed = wrong(0, loop)
    for number in range(1, int(forks) + 1):
        child = os.fork()
        if not child:
            bad = wrong(1_000_000 * number, asyncio.new_event_loop())
            if end == "exit":
                sys.exit(bad)
            os._exit(bad)
        crossed += wrong(1_000 * number, loop)
        crossed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    print("crossed", crossed)
    """
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("forks", [3, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize("end", ["exit", "_exit"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_forks_cross_no_answer(server: ChatServer, warm_python: WarmPython, kind: str, end: str, forks: int) -> None:
    server.answer = TAGGED
    done = warm_python.run(FORKS, server.base_url, kind, end, str(forks))
    assert done.stdout.splitlines()[-1:] == ["crossed 0"], done.stderr


def memory_of(calls: int, server: ChatServer) -> tuple[float, float]:
    """Return MB of memory after a tenth of the calls, and after all."""
    process = psutil.Process()
    with Executor(lm=f"{server.base_url}#ok", plugins=["openai"], cache_enabled=False) as executor:
        executor.register_signature("Ask", "question -> answer")

        def make(count: int) -> float:
            for _ in range(count):
                executor.execute_signature("Ask", {"question": "How many?"})
            gc.collect()
            return float(process.memory_info().rss) / 1e6

        return make(calls // 10), make(calls - calls // 10)


def test_memory_stays_flat() -> None:
    with ChatServer(keep_requests=False) as server:
        first, last = memory_of(3_000, server)
    assert last - first < 8


@pytest.mark.soak
def test_memory_stays_flat_over_a_hundred_thousand_calls() -> None:
    with ChatServer(keep_requests=False) as server:
        first, last = memory_of(100_000, server)
    print(f"100,000 calls: {first:.1f} MB after the first tenth, {last:.1f} MB after the last")
    assert last - first < 8
