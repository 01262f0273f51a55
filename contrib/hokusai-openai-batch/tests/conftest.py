"""A server that plays a provider on loopback, with files, batches and calls at once."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

_TAG = re.compile(r"tag-\d+")
_TEXT = "[[ ## answer ## ]]\nseen {tag}\n\n[[ ## completed ## ]]"


class BatchServer:
    """A server of the batch API on 127.0.0.1. Batches are answered when they are asked about for the second time.

    Attributes:
        looks: how often a batch is asked about before it has ended.
        expires_after: answers after which a batch expires; None for never.
        refused: tags of rows that the service refuses, with the status.
        garbled: tags of rows that are answered with what cannot be read, in batches only.
        fail_batches: a message with which every batch fails.
        on_create: is called with the number of batches, before the client gets a batch that was made.
    """

    def __init__(self) -> None:
        self.looks, self.expires_after = 2, None
        self.refused: dict[str, int] = {}
        self.garbled: set[str] = set()
        self.fail_batches = ""
        self.on_create: Callable[[int], None] = lambda number: None
        self.forget_created = False
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        #: How often each row was answered in a batch, and at once.
        self.in_batches: Counter[str] = Counter()
        self.online: Counter[str] = Counter()
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"played": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base_url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def answered(self) -> int:
        """Answers so far, however they were asked for."""
        return sum(self.in_batches.values()) + sum(self.online.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a batch."""
        with self.lock:
            number = len(self.batches)
            batch = {
                "id": f"batch_{number}", "object": "batch", "endpoint": asked["endpoint"], "status": "validating",
                "input_file_id": asked["input_file_id"], "completion_window": asked["completion_window"],
                "created_at": int(time.time()), "metadata": asked.get("metadata"), "looks": 0,
                "request_counts": {"total": len(self.files[asked["input_file_id"]].splitlines())},
            }  # fmt: skip
            self.batches[str(batch["id"])] = batch
        self.on_create(number)
        return batch

    def look(self, batch_id: str) -> dict[str, Any]:
        """Return a batch, which goes on a little each time that it is asked about."""
        with self.lock:
            batch = self.batches[batch_id]
            batch["looks"] += 1
            if batch["status"] in ("validating", "in_progress"):
                if self.fail_batches:
                    batch |= {"status": "failed", "errors": {"data": [{"message": self.fail_batches}]}}
                    batch["request_counts"] = {"total": 0}
                elif batch["looks"] < self.looks:
                    batch["status"] = "in_progress"
                else:
                    self._end(batch, "completed" if self.expires_after is None else "expired")
            return batch

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel a batch."""
        with self.lock:
            if self.batches[batch_id]["status"] in ("validating", "in_progress"):
                self._end(self.batches[batch_id], "cancelled", 0)
            return self.batches[batch_id]

    def _end(self, batch: dict[str, Any], status: str, most: int | None = None) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        most = self.expires_after if most is None else most
        good, bad = [], []
        for place, line in enumerate(lines[: len(lines) if most is None else most]):
            tag = _tag(json.dumps(line["body"]))
            if tag in self.refused:
                body = {"error": {"message": f"{tag} is refused", "type": "invalid_request_error", "code": None}}
                bad.append(_line(place, line, self.refused[tag], body))
                continue
            self.in_batches[tag] += 1
            good.append(_line(place, line, 200, _response(line["body"], "garbled" if tag in self.garbled else tag)))
        # The service promises no order.
        self.files[f"out-{batch['id']}"] = "\n".join(reversed(good))
        self.files[f"err-{batch['id']}"] = "\n".join(bad)
        batch |= {"status": status, "output_file_id": f"out-{batch['id']}"}
        batch |= {"error_file_id": f"err-{batch['id']}"} if bad else {}


def _tag(text: str) -> str:
    found = _TAG.findall(text)
    return found[-1] if found else "tag-none"


def _line(place: int, line: dict[str, Any], status: int, body: Any) -> str:
    response = {"status_code": status, "request_id": f"req-{place}", "body": body}
    return json.dumps({"id": f"r-{place}", "custom_id": line["custom_id"], "response": response, "error": None})


def _response(body: dict[str, Any], tag: str) -> dict[str, Any]:
    text = "no markers at all" if tag == "garbled" else _TEXT.replace("{tag}", tag)
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": "resp_1", "object": "response", "status": "completed", "model": body["model"],
        "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}],
        "usage": {"input_tokens": 120, "output_tokens": 40, "total_tokens": 160},
    }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    played: BatchServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one packet
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        server, path = self.played, self.path.partition("?")[0].removeprefix("/v1/")
        if path == "batches":
            limit = int(re.findall(r"limit=(\d+)", self.path)[0])
            newest = list(server.batches.values())[::-1][:limit]
            self._send(200, {"object": "list", "data": newest})
        elif path.startswith("batches/"):
            self._send(200, server.look(path.removeprefix("batches/")))
        elif path.startswith("files/"):
            self._send(200, server.files[path.split("/")[1]].encode())
        else:
            self._send(404, {"error": {"message": f"no {path}"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        server, path = self.played, self.path.removeprefix("/v1/")
        if path == "files":
            file_id = f"file-{len(server.files)}"
            content = body.split(b"\r\n\r\n")[-1].rsplit(b"\r\n--", 1)[0]
            lines = [part for part in content.decode().splitlines() if part.startswith("{")]
            server.files[file_id] = "\n".join(lines)
            self._send(200, {"id": file_id, "object": "file", "purpose": "batch", "bytes": len(content)})
        elif path == "batches":
            batch = server.create(json.loads(body))
            if server.forget_created:
                server.forget_created = False
                self.close_connection = True  # the batch is made, and the client gets no answer
                return
            self._send(200, batch)
        elif path.endswith("/cancel"):
            self._send(200, server.cancel(path.split("/")[1]))
        else:
            tag = _tag(body.decode())
            with server.lock:
                server.online[tag] += 1
            message = {"role": "assistant", "content": _TEXT.replace("{tag}", tag)}
            usage = {"prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            model = json.loads(body)["model"]
            self._send(
                200, {"id": "c", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}
            )

    def _send(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def batch_server() -> Iterator[BatchServer]:
    """Yield the server."""
    with BatchServer() as server:
        yield server
