"""A prefork web server: the executor is made before the fork, and each worker process answers with it.

    python examples/hosts/prefork_server.py

One call before the fork imports DSPy and prepares the signature, so that the workers share that memory. gunicorn with
`--preload` does the same. SIGTERM ends the workers, which close their executor.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from hokusai_core import Executor
from hokusai_core.errors import HokusaiError
from hokusai_core.testing.lm import null_lm


def make_executor() -> Executor:
    """Make the executor that every worker uses."""
    lm = null_lm(answers={"answer": "fine"})  # a server names its model: lm="openai/gpt-5-mini"
    executor = Executor(environ={}, lm=lm, plugins=[], timeout=20)
    executor.register_signature("Ask", "question -> answer")
    executor.execute_signature("Ask", {"question": "Are you there?"})
    return executor


def work(executor: Executor, listener: socket.socket) -> None:
    """Answer requests in a worker process until SIGTERM."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                answer: dict[str, Any] = {**executor.execute_signature("Ask", body), "worker": os.getpid()}
                status = 200
            except HokusaiError as error:
                answer, status = {"error": str(error)}, 422
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    server = HTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    with contextlib.closing(executor):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # a signal that came earlier arrives here
        server.serve_forever()


def start(workers: int, listener: socket.socket) -> list[int]:
    """Fork the workers and return their process ids."""
    executor = make_executor()
    children = []
    # Until a worker has its handler, SIGTERM would kill it before it closes its executor.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(executor, listener)
            except SystemExit:
                status = 0
            finally:
                os._exit(status)  # never return into the code of the parent
        children.append(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    executor.close()
    return children


def main() -> None:
    """Serve until Ctrl-C."""
    with socket.create_server(("127.0.0.1", 8000), backlog=128) as listener:
        children = start(4, listener)
        print("serving on http://127.0.0.1:8000")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        for child in children:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
