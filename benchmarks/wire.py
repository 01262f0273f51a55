"""What a call over HTTP costs, of Hokusai and of others, against a server on loopback in another process.

Every side is a process of its own (``benchmarks/_wire_sides.py``). The sides are measured in turns, so that whatever
else the machine does hits all of them. CPU is that of the side's process, all its threads, by ``process_time``. A side
whose packages are not installed is named and left out; one may run in an environment of its own.

    python benchmarks/wire.py [--only cpu] [--sides plugin,hokusai] [--python-of baml=/path/to/python]

Sections: ``cpu`` (CPU per blocking call, hot and with answers that take 40 ms), ``throughput`` (calls per second with
1, 32 and 512 in flight), ``memory`` (resident memory over many calls), ``cancel`` (calls that are cancelled end at the
server), ``forks`` (no answer crosses to another process).
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self, cast

sys.path.insert(0, str(Path(__file__).parent))

from _wire_sides import JSON, SIDES, TEXT

SECTIONS = ("cpu", "throughput", "memory", "cancel", "forks")


class Process:
    """A child process that is ended when the benchmark ends."""

    def __init__(self, *command: str) -> None:
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.input, self.output = cast("IO[str]", self.child.stdin), cast("IO[str]", self.child.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.input.close()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.output.close()

    def line(self) -> str:
        """Return the next line that the process prints."""
        return self.output.readline().strip()


class Server(Process):
    """A server of chat completions.

    Args:
        answer: the text of every answer.
        delay: seconds that every answer takes.
    """

    def __init__(self, answer: str, delay: float = 0.0) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
            file.write(answer)
        options = ("--answer-file", file.name, "--delay", str(delay))
        super().__init__(sys.executable, "-m", "hokusai_core.testing.chat_server", *options)
        self.url = self.line()
        Path(file.name).unlink()


class SideProcess(Process):
    """A side, as a process that carries out commands."""

    def __init__(self, python: str, name: str, url: str) -> None:
        super().__init__(python, str(Path(__file__).with_name("_wire_sides.py")), name, url)
        self.name, self.url = name, url
        first = self.line()
        missing = json.loads(first).get("missing") if first else None
        self.problem = "it ended at once" if not first else f"{missing} is not installed" if missing else ""

    def do(self, command: str, *, timeout: float = 300.0, **arguments: Any) -> dict[str, Any]:
        """Carry out a command and return its answer; a process that takes longer than the timeout is killed."""
        self.input.write(json.dumps({"do": command, **arguments}) + "\n")
        self.input.flush()
        if not select.select([self.output], [], [], timeout)[0]:
            self.child.kill()
            return {"error": f"hung for {timeout:.0f} s"}
        answer = self.line()
        return json.loads(answer) if answer else {"error": "the process of the side has ended"}

    def server_counts(self) -> dict[str, int]:
        """Return what the server has counted."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:  # noqa: S310  # loopback
            return dict(json.load(answer))


class Benchmark:
    """Runs the sections.

    Args:
        names: the sides.
        pythons: side -> the interpreter of its environment, where that is not this one.
    """

    def __init__(self, names: Sequence[str], pythons: dict[str, str]) -> None:
        self.names, self.pythons = names, pythons

    def sides(self, stack: ExitStack, delay: float = 0.0, answers: dict[str, str] | None = None) -> list[SideProcess]:
        """Start the servers and the sides, and name the sides that cannot run."""
        urls = {
            form: stack.enter_context(Server((answers or {}).get(form, form), delay)).url
            for form in {SIDES[name][0].format for name in self.names}
        }
        running = []
        for name in self.names:
            python = self.pythons.get(name, sys.executable)
            side = stack.enter_context(SideProcess(python, name, urls[SIDES[name][0].format]))
            if side.problem:
                say(f"{name}: left out ({side.problem})")
            else:
                running.append(side)
        return running

    def cpu(self, rounds: int, calls: int) -> None:
        """Print the CPU of a blocking call."""
        table: dict[str, list[str]] = {name: [] for name in self.names}
        for delay, share in ((0.0, 1), (0.04, 8)):
            with ExitStack() as stack:
                sides = self.sides(stack, delay)
                found: dict[str, list[float]] = {side.name: [] for side in sides}
                for side in sides:
                    side.do("measure", mode="sync", calls=max(20, calls // share), in_flight=1)
                for number in range(rounds):
                    for side in sides if number % 2 else reversed(sides):
                        answer = side.do("measure", mode="sync", calls=max(20, calls // share), in_flight=1)
                        if "error" in answer:
                            say(f"{side.name}: {answer['error']}")
                            continue
                        found[side.name].append(answer["cpu_us"])
            medians = {name: statistics.median(values) for name, values in found.items() if values}
            for name, median in medians.items():
                ratio = f" ({median / medians['baml']:.2f})" if "baml" in medians else ""
                table[name].append(f"{median:,.0f}{ratio}")
        show(("side", "CPU us a call, hot (x BAML)", "with 40 ms answers"), table)

    def throughput(self, calls: int) -> None:
        """Print the calls per second."""
        cells = [(mode, width) for mode in ("sync", "async") for width in (1, 32, 512)]
        table: dict[str, list[str]] = {}
        for delay in (0.0, 0.05):
            with ExitStack() as stack:
                for side in self.sides(stack, delay):
                    row = table.setdefault(f"{side.name}, {delay * 1000:.0f} ms", [])
                    for mode, width in cells:
                        number = calls if not delay else min(calls, width * 20)
                        side.do("measure", mode=mode, calls=min(number, width * 2), in_flight=width)
                        done = side.do("measure", mode=mode, calls=number, in_flight=width)
                        failed = done.get("error", "")[:40]
                        row.append(failed or f"{done['per_second']:,.0f} {done['cpu_us']:,.0f}")
        show(("side: calls per second, CPU us a call", *(f"{mode} {width}" for mode, width in cells)), table)

    def memory(self, calls: int) -> None:
        """Print the resident memory over many calls."""
        table: dict[str, list[str]] = {}
        with ExitStack() as stack:
            for side in self.sides(stack):
                seen = [
                    side.do("measure", mode="sync", calls=max(1, calls // 10), in_flight=1).get("rss_mb", float("nan"))
                    for _ in range(10)
                ]
                table[side.name] = [f"{seen[0]:.1f}", f"{seen[4]:.1f}", f"{seen[9]:.1f}"]
        show((f"side: MB after a share of {calls:,} calls", "0.1", "0.5", "1"), table)

    def cancel(self, calls: int) -> None:
        """Print how many cancelled calls the server has seen end."""
        table: dict[str, list[str]] = {}
        for name in self.names:
            one = Benchmark([name], self.pythons)
            with ExitStack() as stack:
                for side in one.sides(stack):
                    done = side.do("abandon", timeout=60, calls=calls)
                    counts = side.server_counts()
                    table[name] = [done.get("error", f"{counts['cancelled']} of {calls}"), f"{counts['in_flight']}"]
        show(("side", "cancelled calls that ended at the server", "still running there"), table)

    def forks(self, forks: int) -> None:
        """Print how many answers came to the wrong process."""
        table: dict[str, list[str]] = {}
        tagged = {
            TEXT: TEXT.replace("A customer wants money back for a lamp.", "{tag}"),
            JSON: JSON.replace("A customer wants money back for a lamp.", "{tag}"),
        }
        with ExitStack() as stack:
            for side in self.sides(stack, answers=tagged):
                done = side.do("fork", timeout=60, forks=forks, calls=20)
                table[side.name] = [done.get("error", ""), str(done.get("crossed")), str(done.get("failed"))]
        show((f"side, {forks} forks of 20 calls each side", "error", "crossed", "children that failed"), table)


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def show(head: Sequence[str], table: dict[str, list[str]]) -> None:
    """Print a table in Markdown."""
    say("| " + " | ".join(head) + " |")
    say("|" + "---|" * len(head))
    for name, cells in table.items():
        say("| " + " | ".join([name, *cells]) + " |")
    say("")


def main() -> None:
    """Run the sections that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="one section; may be given more than once")
    parser.add_argument("--sides", default=",".join(SIDES), help="names of sides, with commas between them")
    parser.add_argument("--python-of", action="append", default=[], help="SIDE=PYTHON: the interpreter of a side")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=200, help="calls a round")
    parser.add_argument("--throughput-calls", type=int, default=2_000)
    parser.add_argument("--memory-calls", type=int, default=20_000)
    parser.add_argument("--forks", type=int, default=20)
    options = parser.parse_args()
    pythons = dict(one.split("=", 1) for one in options.python_of)
    benchmark = Benchmark(options.sides.split(","), pythons)
    sections = {
        "cpu": lambda: benchmark.cpu(options.rounds, options.calls),
        "throughput": lambda: benchmark.throughput(options.throughput_calls),
        "memory": lambda: benchmark.memory(options.memory_calls),
        "cancel": lambda: benchmark.cancel(20),
        "forks": lambda: benchmark.forks(options.forks),
    }
    for name in options.only or SECTIONS:
        sections[name]()


if __name__ == "__main__":
    main()
