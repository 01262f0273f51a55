"""What a request costs over HTTP: `hokusai-serve` beside a bare FastAPI handler that calls `dspy.Predict`, in turns.

Both run in processes of their own, over the same language model, which answers at once. One client asks each in turns,
one request after the other, over a connection that stays open. With `--clients` the server of Hokusai is asked by many
clients at once instead. Exit code 1 where a request of Hokusai takes longer than one of the bare handler, or where an
answer is wrong.

    python benchmarks/serve.py
    python benchmarks/serve.py --clients 500 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import psutil
from pydantic import BaseModel

BODY = json.dumps({"inputs": {"question": "Why is the sky blue?"}, "cache": "off"}).encode()
#: Delay of an answer under load, in seconds: a provider takes time, and the requests overlap.
DELAY = 0.05


class Asked(BaseModel):
    """A request."""

    inputs: dict[str, str]
    cache: str


class Answered(BaseModel):
    """What the bare handler answers."""

    outputs: dict[str, str]


def serve_hokusai(told: Connection, delay: float) -> None:
    """Run the server of Hokusai."""
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    from hokusai_serve import ServeLimits, create_app
    from hokusai_serve.http_server import listen, make_server

    with Executor(environ={}, plugins=[], lm=null_lm(answers={"answer": "fine"}, delay=delay)) as executor:
        executor.register_signature("Ask", "question -> answer")
        limits = ServeLimits()
        server = make_server(create_app(executor, limits=limits), limits, told.send)
        server.run(sockets=[listen("127.0.0.1", 0)])


def serve_bare(told: Connection, delay: float) -> None:
    """Run a bare FastAPI handler that calls ``dspy.Predict``."""
    import dspy
    import uvicorn
    from fastapi import FastAPI

    from hokusai_core.testing.lm import null_lm
    from hokusai_serve.http_server import listen

    lm, predict, app = null_lm(answers={"answer": "fine"}, delay=delay), dspy.Predict("question -> answer"), FastAPI()

    @app.post("/v1/execute/Ask")
    async def ask(asked: Asked) -> Answered:
        with dspy.context(lm=lm, disable_history=True):
            return Answered(outputs={"answer": (await predict.acall(**asked.inputs)).answer})

    listener = listen("127.0.0.1", 0)
    told.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(app, access_log=False, log_config=None, http="h11", ws="none")
    uvicorn.Server(config).run(sockets=[listener])


class Client:
    """Asks one server over one connection.

    Args:
        address: address of the server.
    """

    def __init__(self, address: str) -> None:
        self.port = int(address.rpartition(":")[2])
        head = f"POST /v1/execute/Ask HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        self.request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    async def __aenter__(self) -> Client:
        for _ in range(200):  # the process of the server is starting
            try:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                return self
        raise ConnectionError("the server does not answer")

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self) -> float:
        """Ask once; return the seconds that it took."""
        started = time.perf_counter()
        self.writer.write(self.request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = json.loads(await self.reader.readexactly(int(length.partition(b":")[2])))
        if body.get("outputs") != {"answer": "fine"}:
            raise RuntimeError(f"a wrong answer: {body}")
        return time.perf_counter() - started


async def in_turns(servers: dict[str, Server], rounds: int, size: int) -> dict[str, tuple[list[float], float]]:
    """Ask each server in turns; return the seconds of every request, and CPU seconds of the server per request."""
    found: dict[str, list[float]] = {name: [] for name in servers}
    async with Client(servers["hokusai"].address) as one, Client(servers["bare"].address) as other:
        clients = {"hokusai": one, "bare": other}
        before: dict[str, float] = {}
        for number in range(rounds + 1):  # the first round warms up
            for name, client in clients.items():
                seconds = [await client.ask() for _ in range(size)]
                found[name] += seconds if number else []
                before.setdefault(name, servers[name].cpu())
        spent = {name: servers[name].cpu() - before[name] for name in servers}
    return {name: (found[name], spent[name] / (rounds * size)) for name in servers}


async def under_load(address: str, clients: int, seconds: float) -> tuple[list[float], int]:
    """Ask with many clients at once; return the seconds of every request, and the errors."""
    found: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal errors
        async with Client(address) as one:
            while time.perf_counter() < end:
                try:
                    found.append(await one.ask())
                except (OSError, RuntimeError, asyncio.IncompleteReadError):
                    errors += 1
                    return

    await asyncio.gather(*(client() for _ in range(clients)))
    return found, errors


class Server:
    """A server in a process of its own.

    Args:
        address: its address.
        pid: its process.
    """

    def __init__(self, address: str, pid: int) -> None:
        self.address, self._process = address, psutil.Process(pid)

    def cpu(self) -> float:
        """Return the CPU seconds that it has taken."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


def start(stack: ExitStack, target: Any, delay: float) -> Server:
    """Start the process of a server."""
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(tell, delay), daemon=True)
    process.start()
    stack.callback(process.terminate)
    if not told.poll(120):
        raise RuntimeError("a server has not started")
    return Server(str(told.recv()), process.pid or 0)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each server")
    parser.add_argument("--size", type=int, default=50, help="requests of a turn")
    parser.add_argument("--clients", type=int, default=0, help="clients at once, of Hokusai alone")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the clients ask")
    asked = parser.parse_args()
    with ExitStack() as stack:
        if asked.clients:
            address = start(stack, serve_hokusai, DELAY).address
            asyncio.run(under_load(address, 1, 1.0))
            found, errors = asyncio.run(under_load(address, asked.clients, asked.seconds))
            cuts = statistics.quantiles(found, n=100)
            print(
                f"{asked.clients} clients, {asked.seconds:g} s: {len(found)} answers, {len(found) / asked.seconds:.0f} "
                f"per second, p50 {cuts[49] * 1e3:.0f} ms, p99 {cuts[98] * 1e3:.0f} ms, {errors} errors"
            )
            return 1 if errors else 0
        servers = {"hokusai": start(stack, serve_hokusai, 0.0), "bare": start(stack, serve_bare, 0.0)}
        times = asyncio.run(in_turns(servers, asked.rounds, asked.size))
    for name, (seconds, cpu) in times.items():
        p99 = statistics.quantiles(seconds, n=100)[98]
        print(
            f"{name:8} median {statistics.median(seconds) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
            f"CPU of the server {cpu * 1e3:.2f} ms"
        )
    ratio = times["hokusai"][1] / times["bare"][1]
    print(f"a request of Hokusai takes {ratio:.2f} times the CPU of one of the bare handler")
    return 1 if ratio > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
