"""Forks children under load and counts crossed answers: ``python fork_load.py FOLDER FORKS``.

A server on loopback answers each request with the token in it, so an answer that belongs to another call shows. While
threads of the parent execute signatures, children are forked; each executes on its own. In the end the disk cache is
read: a stored answer must be that of its own question.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Echo(BaseHTTPRequestHandler):
    """Answers as a provider does, with the token of the request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer one request."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = re.findall(r"TOKEN-\w+", json.dumps(sent["messages"][-1]["content"]))[0]
        time.sleep(0.01)
        message = {"role": "assistant", "content": f"[[ ## reply ## ]]\n{token}\n\n[[ ## completed ## ]]"}
        answer = {
            "id": "x", "object": "chat.completion", "created": 1, "model": "x",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """A server that many processes connect to at once."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that a killed child leaves behind."""


def serve() -> None:
    """Serve until killed; print the port first."""
    server = Server(("127.0.0.1", 0), Echo)
    print(server.server_port, flush=True)
    server.serve_forever()


def make(port: int, folder: str) -> Any:
    """Return an executor on that server, with a disk cache."""
    import dspy

    from hokusai_core import Executor
    from hokusai_diskcache import DiskCache

    lm = dspy.LM("openai/x", api_base=f"http://127.0.0.1:{port}/v1", api_key="k", cache=False, num_retries=0)
    executor = Executor(lm=lm, plugins=[], timeout=30, cache=DiskCache(folder), max_workers=4)
    executor.register_signature("Echo", "text -> reply")
    return executor


def ask(executor: Any, tokens: list[str], counts: Counter[str]) -> None:
    """Execute one by one, as a batch and on an event loop, and count what came back."""

    def note(token: str, reply: Any) -> None:
        counts["right" if reply == token else "wrong"] += 1

    try:
        for token in tokens[:3]:
            note(token, executor.execute_signature("Echo", {"text": token})["reply"])
        rest = tokens[3:]
        rows = executor.execute_batch("Echo", [{"text": token} for token in rest], progress=False)
        for token, row in zip(rest, rows, strict=True):
            note(token, row["reply"])
        token = f"{tokens[0]}async"
        note(token, asyncio.run(executor.aexecute_signature("Echo", {"text": token}))["reply"])
    except Exception as error:
        counts[f"failed: {type(error).__name__}: {error}"[:300]] += 1


def child_tokens(number: int) -> list[str]:
    """Return what a child asks for."""
    return [f"TOKEN-c{number}i{i}" for i in range(7)]


def main(folder: str, forks: int) -> None:
    """Fork ``forks`` children under load and print what was counted as JSON."""
    server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        count(int(server.stdout.readline()), folder, forks)
    finally:
        server.kill()
        server.wait()


def count(port: int, folder: str, forks: int) -> None:
    """Fork, wait for all and print the counts."""
    executor, over, asked = make(port, folder), threading.Event(), list[str]()
    counts = Counter({"right": 0, "wrong": 0, "hung": 0, "died": 0, "stored": 0, "stored wrong": 0})

    def load(number: int) -> None:
        at = 0
        while not over.is_set():
            tokens = [f"TOKEN-p{number}n{at}i{i}" for i in range(5)]
            asked.extend(tokens)
            ask(executor, tokens, counts)
            at += 1

    parents = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for thread in parents:
        thread.start()
    time.sleep(0.5)
    reader, writer = os.pipe()
    children: dict[int, float] = {}

    def reap(patience: float) -> None:
        for child, since in list(children.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                del children[child]
                counts["died"] += status != 0
            elif time.monotonic() > since + patience:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                del children[child]
                counts["hung"] += 1

    for number in range(forks):
        child = os.fork()
        if child == 0:
            found: Counter[str] = Counter()
            ask(executor, child_tokens(number), found)
            os.write(writer, (json.dumps(found) + "\n").encode())
            os._exit(0)
        children[child] = time.monotonic()
        while len(children) >= 4:
            reap(60)
            time.sleep(0.01)
    while children:
        reap(60)
        time.sleep(0.02)
    over.set()
    for thread in parents:
        thread.join(60)
    os.close(writer)
    with os.fdopen(reader) as lines:
        for line in lines:
            counts.update(json.loads(line))
    executor.close()
    asked += [token for number in range(forks) for token in child_tokens(number)]
    check_stored(port, folder, asked, counts)
    print(json.dumps(counts))


def check_stored(port: int, folder: str, tokens: list[str], counts: Counter[str]) -> None:
    """Ask every question again with a new executor and count the stored answers that are another question's."""
    with make(port, folder) as executor:
        for token in tokens:
            result = executor.execute_signature("Echo", {"text": token})
            if result.cached is not None:
                counts["stored"] += 1
                counts["stored wrong"] += result["reply"] != token


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve()
    else:
        main(sys.argv[1], int(sys.argv[2]))
