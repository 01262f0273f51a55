"""A server of chat completions on loopback that sends a bill, for tests of budgets."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

ANSWER = "[[ ## answer ## ]]\nSeven.\n\n[[ ## grade ## ]]\n4\n\n[[ ## completed ## ]]"


class BillingServer:
    """Answers with random numbers of tokens, as many as a call may have, and adds up what they cost.

    Some calls are refused and cost nothing. Some are answered and charged, and the answer never arrives.

    Args:
        input_price: US dollars for a million tokens of prompts.
        output_price: US dollars for a million tokens of answers.
        seed: of everything random.
        refused: share of calls that are refused with 429 or 503.
        broken: share of calls whose answer breaks off.
        delay: seconds that an answer takes at most.
    """

    def __init__(
        self,
        input_price: str,
        output_price: str,
        *,
        seed: int = 0,
        refused: float = 0.0,
        broken: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        self.prices = Decimal(input_price) / 10**6, Decimal(output_price) / 10**6
        self.refused, self.broken, self.delay = refused, broken, delay
        self.billed = Decimal(0)
        self.calls = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, body: dict[str, Any], size: int) -> tuple[int, dict[str, Any], bool, float]:
        """Return status, body, whether it breaks off, and the seconds that it takes."""
        with self._lock:
            draw = self._random
            nap = draw.random() * self.delay
            if draw.random() < self.refused:
                return draw.choice([429, 503]), {"error": {"message": "busy", "type": "busy"}}, False, nap / 4
            texts = sum(len(message["content"].encode()) for message in body["messages"])
            asked = draw.randint(1, texts + 8 * len(body["messages"]))
            limit = body.get("max_tokens") or body["max_completion_tokens"]
            thought = draw.randint(0, limit)
            answered = draw.choice([draw.randint(thought, limit), limit])
            count = body.get("n", 1)
            self.calls += 1
            self.billed += asked * self.prices[0] + answered * count * self.prices[1]
            usage = {
                "prompt_tokens": asked,
                "completion_tokens": answered * count,
                "total_tokens": asked + answered * count,
                "completion_tokens_details": {"reasoning_tokens": thought * count},
            }
            broken = draw.random() < self.broken
        choice = {"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        choices = [{"index": index, **choice} for index in range(count)]
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, {**reply, "choices": choices, "usage": usage}, broken, nap


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    owner: BillingServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        raw = self.rfile.read(size)
        if len(raw) < size:
            return
        server: Any = self.server
        status, body, broken, nap = server.owner.answer(json.loads(raw), size)
        time.sleep(nap)
        content = json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        )
        if broken:
            self.wfile.write(head + content[: len(content) // 2])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(head + content)

    def log_message(self, *_: Any) -> None:
        """Write nothing to stderr."""
