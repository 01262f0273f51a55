"""What the cache costs beside DSPy's own, with a language model that answers at once.

Both sides get the same inputs and the same null model, in turns within one process, so that whatever else the machine
does hits both. A ratio below 1 means that Hokusai is faster. Reading from disk is measured in fresh processes.

    python benchmarks/cache.py [--executions 1000] [--entries 100000] [--peers PYTHON]

``--peers`` names a Python that has ``langchain-community`` (its SQLite cache; ``langchain-core`` alone has none) and
``llm`` (which has no cache: looking an answer up means asking its log), whose rows are left out otherwise.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

GOALS = {"memory hit": 1 / 20, "disk hit, fresh process": 1 / 8, "miss with store": 1.15}
_BLOCK = 50
#: Far above what is filled in: nothing may be evicted.
_SIZE_LIMIT = 64 * 2**30


def inputs(count: int) -> list[dict[str, Any]]:
    """Return inputs of an ordinary length."""
    points = "the milestone was reached, the next steps are agreed, the budget holds"
    return [{"recipient": f"Person {n}", "subject": "Project update", "key_points": points} for n in range(count)]


class Sides:
    """DSPy and Hokusai on the same null model, each with its cache in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        import dspy

        from hokusai_core import Executor
        from hokusai_core.testing.lm import NullEngine
        from hokusai_diskcache import DiskCache

        dspy.configure_cache(disk_cache_dir=str(folder / "dspy"))
        text = "Dear all, the project is well on its way. " * 8

        def model(*, cache: bool) -> Any:
            return dspy.LM("null/model", engine=NullEngine(answers={"body": text}), cache=cache, num_retries=0)

        self._lm = model(cache=True)
        self._predict = dspy.Predict("recipient, subject, key_points -> body")
        self._context = dspy.context(lm=self._lm)  # as people use it; everything else as DSPy ships
        self._context.__enter__()
        cache = DiskCache(folder / "hokusai", size_limit=_SIZE_LIMIT)
        self.executor = Executor(lm=model(cache=False), plugins=[], cache=cache, cache_entries=10**6, cache_bytes=2**30)
        self.executor.register_signature("Email", "recipient, subject, key_points -> body")
        # Whatever is imported and built once: not what a hit costs.
        self.dspy({"recipient": "Ana", "subject": "s", "key_points": "k"})
        self.hokusai({"recipient": "Ana", "subject": "s", "key_points": "k"})

    def dspy(self, row: dict[str, Any]) -> str:
        """Execute with DSPy."""
        return str(self._predict(**row).body)

    def hokusai(self, row: dict[str, Any]) -> str:
        """Execute with Hokusai."""
        return str(self.executor.execute_signature("Email", row)["body"])

    def close(self) -> None:
        """Close what Hokusai has open."""
        self.executor.close()


def in_turns(rows: Sequence[dict[str, Any]], *sides: Callable[[dict[str, Any]], Any]) -> list[float]:
    """Return the median seconds that each side takes for one row, the sides taking turns."""
    times: list[list[float]] = [[] for _ in sides]
    for start in range(0, len(rows), _BLOCK):
        order = list(enumerate(sides))
        random.shuffle(order)
        for number, side in order:
            for row in rows[start : start + _BLOCK]:
                since = time.perf_counter()
                side(row)
                times[number].append(time.perf_counter() - since)
    return [statistics.median(side) for side in times]


def fill(folder: Path, entries: int) -> None:
    """Put entries into the store of ``folder`` until it holds that many, directly."""
    from hokusai_core.plugin_api import CacheEntry

    secret = (folder / "hokusai" / "secret").read_bytes()
    parts = dict.fromkeys(("fingerprint", "model", "parameters", "adapter", "input:subject"), "0123456789abcdef")
    outputs = json.dumps({"body": "Dear all, the project is well on its way. " * 8}).encode()

    def rows(count: int) -> Iterable[tuple[Any, ...]]:
        draw, now = random.Random(count), time.time()
        for _ in range(count):
            entry = CacheEntry(
                f"{draw.getrandbits(256):064x}", "pack/Filler", outputs, "null/model", now, None, 0.5, parts=parts
            )
            yield entry.key, now, now, entry.signature, entry.to_bytes(secret)

    with sqlite3.connect(folder / "hokusai" / "store" / "cache.db") as connection:
        connection.execute("PRAGMA cache_size = -400000")
        ((there,),) = connection.execute("SELECT value FROM Settings WHERE key = 'count'").fetchall()
        connection.executemany(
            "INSERT INTO Cache (key, raw, store_time, access_time, tag, mode, value) VALUES (?, 1, ?, ?, ?, 1, ?)",
            rows(max(0, entries - there)),
        )
    connection.close()


# -- what runs in processes of its own -----------------------------------------------------------------------------


def role_disk(folder: Path, count: int) -> dict[str, Any]:
    """Read every answer once, in turns."""
    sides = Sides(folder)
    quiet()
    dspy, hokusai = in_turns(inputs(count), sides.dspy, sides.hokusai)
    assert sides.executor.stats()["language_model_calls"] == 0  # noqa: S101
    return {"dspy": dspy, "hokusai": hokusai}


def role_grown(folder: Path, count: int) -> dict[str, Any]:
    """Read every answer once, from a store that has grown."""
    sides = Sides(folder)
    quiet()
    return {"hokusai": in_turns(inputs(count), sides.hokusai)[0]}


def role_throughput(folder: Path, count: int, side: str) -> dict[str, Any]:
    """Read every answer once, beginning when told to."""
    sides = Sides(folder)
    work, rows = getattr(sides, side), inputs(count)
    random.shuffle(rows)
    quiet()
    print("ready", flush=True)
    sys.stdin.readline()
    since = time.monotonic()
    for row in rows:
        work(row)
    return {"since": since, "until": time.monotonic(), "count": count}


def quiet() -> None:
    """Keep full collections, which take tens of milliseconds after importing DSPy, out of the figures."""
    gc.collect()
    gc.freeze()


def child(role: str, folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, __file__, "--role", role, "--folder", str(folder), *map(str, arguments)]


def run_child(role: str, folder: Path, count: int) -> dict[str, Any]:
    """Run a role in a fresh process and return what it found."""
    done = subprocess.run(child(role, folder, "--executions", count), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def throughput(folder: Path, side: str, processes: int, count: int) -> float:
    """Return the hits per second of that many processes together."""
    command = child("throughput", folder, "--executions", count, "--side", side)
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None  # noqa: S101
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None  # noqa: S101
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    spent = max(one["until"] for one in found) - min(one["since"] for one in found)
    return float(sum(one["count"] for one in found) / spent)


# -- tables --------------------------------------------------------------------------------------------------------


def compare(folder: Path, count: int, peers: dict[str, Any]) -> list[str]:
    """Measure hits and misses, print the table, and return which goals were missed."""
    sides = Sides(folder)
    quiet()
    found = {"miss with store": in_turns(inputs(count), sides.dspy, sides.hokusai)}
    found["memory hit"] = in_turns(inputs(count), sides.dspy, sides.hokusai)
    sides.close()
    fresh = [run_child("disk", folder, count) for _ in range(3)]
    best = min(fresh, key=lambda one: one["hokusai"] / one["dspy"])
    middle = sorted(fresh, key=lambda one: one["hokusai"] / one["dspy"])[1]
    found["disk hit, fresh process"] = [middle["dspy"], middle["hokusai"]]
    print(f"\n{'':28}{'DSPy':>12}{'Hokusai':>12}{'ratio':>9}{'goal':>9}")
    missed = []
    for name, goal in GOALS.items():
        dspy, hokusai = found[name]
        print(f"{name:28}{dspy * 1e6:>9.1f} us{hokusai * 1e6:>9.1f} us{hokusai / dspy:>9.3f}{goal:>9.3f}")
        if hokusai / dspy > goal:
            missed.append(name)
    print(f"(disk hit: the middle one of three processes; the best ratio was {best['hokusai'] / best['dspy']:.3f})")
    for peer, figures in peers.items():
        print(f"\n{peer:28}{'theirs':>12}{'Hokusai':>12}{'ratio':>9}")
        for name, theirs in figures["hits"].items():
            hokusai = found[name][1]
            print(f"{name:28}{theirs * 1e6:>9.1f} us{hokusai * 1e6:>9.1f} us{hokusai / theirs:>9.3f}")
    return missed


def compare_throughput(folder: Path, count: int) -> None:
    print(f"\n{'disk hits per second':28}{'DSPy':>12}{'Hokusai':>12}{'speed-up':>9}")
    for processes in (1, 2, 8):
        dspy, hokusai = (throughput(folder, side, processes, count) for side in ("dspy", "hokusai"))
        name = f"{processes} process{'es' if processes > 1 else ''}"
        print(f"{name:28}{dspy:>12.0f}{hokusai:>12.0f}{hokusai / dspy:>8.1f}x")


def compare_growth(folder: Path, count: int, entries: int, python: str | None) -> list[str]:
    """Measure a hit as the store grows, print the table, and return which goals were missed."""
    print(f"\n{'disk hit as the store grows':28}{'Hokusai':>12}{'vs first':>9}   others")
    sizes = sorted({size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= entries} | {entries})
    first = worst = 0.0
    for size in sizes:
        fill(folder, size)
        run_child("grown", folder, min(count, 200))  # fills the file cache of the system
        hit = statistics.median(run_child("grown", folder, count)["hokusai"] for _ in range(3))
        first = first or hit
        worst = max(worst, hit / first)
        others = [
            f"{name} {figures['grown'] * 1e6:.0f} us"
            for name, figures in ask_peers(python, size).items()
            if figures["grown"]
        ]
        print(f"{size:<28,}{hit * 1e6:>9.1f} us{hit / first:>9.2f}   {', '.join(others)}")
    return ["growth"] if worst > 2 else []


def ask_peers(python: str | None, entries: int = 0) -> dict[str, Any]:
    """Return the figures of other libraries, per library, as another Python measures them."""
    if python is None:
        return {}
    program = Path(__file__).with_name("cache_peers.py")
    done = subprocess.run([python, str(program), str(entries)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print the tables; the exit code says whether every goal was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1000, help="executions of a measurement")
    parser.add_argument("--entries", type=int, default=100_000, help="entries that the store grows to, up to 1000000")
    parser.add_argument("--peers", help="a Python that has langchain-community and llm")
    parser.add_argument("--only", choices=("hits", "throughput", "growth"), action="append", help="only these tables")
    for hidden in ("--role", "--side"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        roles: dict[str, Callable[..., dict[str, Any]]] = {
            "disk": role_disk,
            "grown": role_grown,
            "throughput": role_throughput,
        }
        extra = (options.side,) if options.side else ()
        print(json.dumps(roles[options.role](options.folder, options.executions, *extra)))
        return 0
    tables, missed = options.only or ("hits", "throughput", "growth"), []
    if options.peers is None:
        print("Left out without --peers: langchain-community's SQLite cache, a look-up in the log of llm.")
    with tempfile.TemporaryDirectory(prefix="hokusai-bench-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        if "hits" in tables:
            missed += compare(folder, options.executions, ask_peers(options.peers))
        else:
            warm = Sides(folder)
            for row in inputs(options.executions):
                warm.hokusai(row)
                if "throughput" in tables:
                    warm.dspy(row)
            warm.close()
        if "throughput" in tables:
            compare_throughput(folder, options.executions)
        if "growth" in tables:
            missed += compare_growth(folder, options.executions, options.entries, options.peers)
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nevery goal met")
    return bool(missed)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
