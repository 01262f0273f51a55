"""A system that has no threads or file descriptors left: rows that can run do, the others say what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ResourcesExhausted

MakeExecutor = Callable[..., Executor]
REFUSAL = "can't start new thread"


def ask(count: int) -> list[dict[str, str]]:
    return [{"question": f"q{number}"} for number in range(count)]


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function after which the system has only so many threads left."""
    start = threading.Thread.start

    def limit(left: int) -> None:
        def scarce(thread: threading.Thread) -> None:
            nonlocal left
            if thread.name.startswith("hokusai"):
                if left <= 0:
                    raise RuntimeError(REFUSAL)
                left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarce)

    return limit


@pytest.mark.parametrize("workers", [4, 80], ids=["threads", "event loop"])
@pytest.mark.parametrize("source", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_few_threads_run_all_rows(
    make_executor: MakeExecutor,
    no_more_threads: Callable[[int], None],
    workers: int,
    source: Callable[[Any], Any],
    left: int,
) -> None:
    executor = make_executor()
    no_more_threads(left)
    results = executor.execute_batch("Ask", source(ask(20)), max_workers=workers, timeout=None)
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(20)]


def test_a_deadline_that_needs_a_thread_is_not_dropped(
    make_executor: MakeExecutor, make_lm: Any, no_more_threads: Callable[[int], None]
) -> None:
    """Without the thread that looks after deadlines, a row would hang for as long as its call does."""
    executor = make_executor(lm=make_lm(asynchronous=False))
    no_more_threads(1)
    results = executor.execute_batch("Ask", ask(3), max_workers=4, timeout=60)
    assert {type(failure.error) for failure in results.failed} == {ResourcesExhausted}
    assert len(results.failed) == 3
    assert REFUSAL in str(results.failed[0].error)
    assert "max_workers" in str(results.failed[0].error)


def test_an_iterator_that_cannot_begin_gives_its_journal_back(
    make_executor: MakeExecutor, no_more_threads: Callable[[int], None], tmp_path: Any
) -> None:
    executor = make_executor()
    no_more_threads(0)
    with pytest.raises(ResourcesExhausted, match="no thread left"):
        executor.iter_batch("Ask", ask(3), journal=tmp_path / "j")
    assert len(executor.execute_batch("Ask", ask(3), journal=tmp_path / "j", timeout=None).succeeded) == 3


class Provider(ThreadingHTTPServer):
    """Answers like OpenAI's chat completions, after a moment in which other connections are open."""

    daemon_threads = True
    request_queue_size = 100


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(0.3)
        text = "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        reply = {"id": "c", "object": "chat.completion", "model": "m", "choices": [message], "usage": usage}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    server = Provider(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


PROGRAM = textwrap.dedent("""
    import os, resource, sys
    import dspy
    from hokusai_core import Executor

    lm = dspy.LM("openai/gpt-4o-mini", api_base=sys.argv[1], api_key="sk-test", cache=False, num_retries=0)
    with Executor(plugins=[], lm=lm) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "warm"})
        used = max(map(int, os.listdir("/proc/self/fd"))) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        rows = [{"question": f"q{n}"} for n in range(60)]
        results = executor.execute_batch("Ask", rows, max_workers=int(sys.argv[2]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        print(len(results.succeeded), len(results.failed), {type(one.error).__name__ for one in results.failed})
        print(results.failed[0].error)
        print(len(executor.execute_batch("Ask", rows, max_workers=4).succeeded))
""")


@pytest.mark.skipif(sys.platform != "linux", reason="counts the open files of a process in /proc")
@pytest.mark.parametrize("workers", [40, 80], ids=["threads", "event loop"])
def test_few_descriptors_run_some_rows_and_the_others_say_so(address: str, workers: int) -> None:
    command = [sys.executable, "-c", PROGRAM, address, str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, message, again = done.stdout.splitlines()
    succeeded, failed, kinds = first.split(" ", 2)
    assert int(succeeded) > 0
    assert int(failed) > 0
    assert int(succeeded) + int(failed) == 60
    assert kinds == "{'ResourcesExhausted'}"
    assert "no file descriptors left" in message
    assert "ulimit -n" in message
    assert again == "60"
