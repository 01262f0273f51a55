"""What the plugins of Redis, OpenTelemetry and MCP cost: a hit, an execution, a call.

    python benchmarks/contrib_plugins.py [--rounds 5] [--turns 300]

One process and a model that answers at once. The rounds take the sides in turns. Told are the time of the
best round, which other work on the machine disturbs least, and the processor time of this process.

- ``redis``: an execution that a server on loopback answers, blocking and awaited, beside the cache on disk; and a call
  whose answer is stored, with the lease that lets one process make it.
- ``otel``: what the tracker adds to an execution, with the plugin's own exporters and a collector on loopback.
- ``mcp``: what a call by a client of the SDK adds to an execution, in process and over HTTP on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

Side = Callable[[int], None]


def executor_with(**options: Any) -> Executor:
    """Return an executor over a model that answers at once."""
    executor = Executor(**{"plugins": [], "lm": null_lm(answers={"answer": "42"}), **options})
    executor.register_signature("Ask", "question -> answer")
    return executor


class Times:
    """The times of one side, a round each, in microseconds of a call."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    @contextmanager
    def round(self, turns: int) -> Iterator[None]:
        """Time what is done inside."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall.append((time.perf_counter() - wall) / turns * 1e6)
        self.processor.append((time.process_time() - processor) / turns * 1e6)

    def best(self, less: Times | None = None) -> tuple[float, float]:
        """Return time and processor time of the best round, less those of another side."""
        wall, processor = min(self.wall), min(self.processor)
        return (wall, processor) if less is None else (wall - min(less.wall), processor - min(less.processor))


def measure(sides: dict[str, Side], options: argparse.Namespace) -> dict[str, Times]:
    """Return the times of each side."""
    found = {name: Times() for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            with found[name].round(options.turns):
                side(options.turns)
    return found


def redis_sides(options: argparse.Namespace) -> None:
    """Print what hits and misses cost."""
    from hokusai_diskcache import DiskCache
    from hokusai_redis import RedisCache
    from hokusai_redis.testing import RedisProcess

    server = RedisProcess().start()
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        executors = {
            "disk": executor_with(cache=DiskCache(folder), cache_entries=1),
            "redis": executor_with(cache=RedisCache(server.url), cache_entries=1),
        }

        def hits(executor: Executor) -> Side:
            for question in "ab":
                executor.execute_signature("Ask", {"question": question})

            def run(turns: int) -> None:
                for turn in range(turns):
                    # Two questions in turn, and one entry in memory: the store answers each time.
                    executor.execute_signature("Ask", {"question": "ab"[turn % 2]})

            return run

        def awaited(turns: int) -> None:
            async def main() -> None:
                for turn in range(turns):
                    await executors["redis"].aexecute_signature("Ask", {"question": "ab"[turn % 2]})

            asyncio.run(main())

        def misses(executor: Executor) -> Side:
            def run(turns: int) -> None:
                for _ in range(turns):
                    executor.execute_signature("Ask", {"question": f"new {next(numbers)}"})

            return run

        sides = {
            "hit on disk": hits(executors["disk"]),
            "hit in redis": hits(executors["redis"]),
            "hit in redis, awaited": awaited,
            "miss, stored on disk": misses(executors["disk"]),
            "miss, stored in redis with a lease": misses(executors["redis"]),
        }
        show("redis", {name: times.best() for name, times in measure(sides, options).items()})
        for executor in executors.values():
            executor.close()
    server.close()


def otel_sides(options: argparse.Namespace) -> None:
    """Print what the tracker adds to an execution."""
    from hokusai_otel import OtelTracker
    from hokusai_otel.testing import Collector

    with Collector() as collector:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        plain = executor_with(cache_enabled=False)
        tracked = executor_with(cache_enabled=False, trackers={"otel": OtelTracker()})
        content = executor_with(cache_enabled=False, trackers={"otel": OtelTracker(content=True)})

        def execute(executor: Executor) -> Side:
            executor.execute_signature("Ask", {"question": "?"})

            def run(turns: int) -> None:
                for _ in range(turns):
                    executor.execute_signature("Ask", {"question": "?"})

            return run

        found = measure({"none": execute(plain), "otel": execute(tracked), "content": execute(content)}, options)
        show(
            "otel",
            {
                "an execution without": found["none"].best(),
                "added by the tracker": found["otel"].best(found["none"]),
                "added by the tracker with content": found["content"].best(found["none"]),
            },
        )
        for executor in (plain, tracked, content):
            executor.close()


def mcp_sides(options: argparse.Namespace) -> None:
    """Print what a call of a tool costs beside the execution."""
    import uvicorn
    from mcp import Client

    from hokusai_mcp import ToolServer, http_app
    from hokusai_mcp.http_transport import listen

    executor = executor_with(cache_enabled=False)
    tools = ToolServer(executor)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(http_app(tools), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    async def alone(times: Times) -> None:
        await executor.aexecute_signature("Ask", {"question": "?"})
        with times.round(options.turns):
            for _ in range(options.turns):
                await executor.aexecute_signature("Ask", {"question": "?"})

    async def called(target: Any, times: Times) -> None:
        async with Client(target) as client:
            await client.call_tool("Ask", {"question": "?"})
            with times.round(options.turns):
                for _ in range(options.turns):
                    await client.call_tool("Ask", {"question": "?"})

    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    execution, inside, http = Times(), Times(), Times()
    for _ in range(options.rounds):
        asyncio.run(alone(execution))
        asyncio.run(called(tools.server, inside))
        asyncio.run(called(url, http))
    show(
        "mcp",
        {
            "an awaited execution": execution.best(),
            "added in process": inside.best(execution),
            "added over HTTP, client and server": http.best(execution),
        },
    )
    server.should_exit = True
    thread.join()
    listener.close()
    executor.close()


def show(section: str, figures: dict[str, tuple[float, float]]) -> None:
    """Print microseconds."""
    for name, (wall, processor) in figures.items():
        print(f"{section:6} {name:40} {wall:9.0f} us {processor:9.0f} us of processor")


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=["redis", "otel", "mcp"])
    options = parser.parse_args()
    for name, run in (("redis", redis_sides), ("otel", otel_sides), ("mcp", mcp_sides)):
        if name in options.only:
            run(options)


if __name__ == "__main__":
    main()
