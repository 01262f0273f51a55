"""What tracking in MLflow costs the caller, beside ``mlflow.dspy.autolog`` and a run per call, and what gets lost.

One process, one null model, a SQLite store for each side. Every side runs in turns with its own untracked baseline, so
that whatever else the machine does hits both; what is reported is the median of a call with tracking less that of a
call without, and the distribution of the tracker's own time on the caller's thread.

    python benchmarks/tracking.py                          # about two minutes
    python benchmarks/tracking.py --seconds 60 --drain 10000     # the full size

Sections: cost, rate, drain, writer (a thread in the process against a process of its own). ``--only cost rate`` picks
some. What kills and outages do is measured by ``tracking_durability.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECTIONS = ("cost", "rate", "drain", "writer")
INPUTS = {"recipient": "Ada", "subject": "Project update", "key_points": "on time, within budget"}
GOALS = {"autolog": 1 / 20, "run per call": 1 / 800}
#: Microseconds on the caller's thread, and seconds until everything is in the table.
MEDIAN, P99, COMPLETE = 100.0, 1000.0, 30.0


class Setup:
    """A temporary folder, and what tracks into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.environ["HOKUSAI_SPOOL_DIR"] = str(folder / "spool")
        os.environ["XDG_DATA_HOME"] = str(folder / "data")
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        os.environ.pop("MLFLOW_TRACKING_URI", None)

    def uri(self, name: str) -> str:
        """Return the address of a store of that name."""
        return f"sqlite:///{self.folder}/{name}.db"

    def tracker(self, name: str, **options: Any) -> Any:
        """Return a tracker with a store and a spool folder of that name."""
        from hokusai_mlflow import MlflowTracker

        options = {"spool_folder": self.folder / f"spool-{name}", "experiment": "Benchmark"} | options
        return MlflowTracker(tracking_uri=self.uri(name), **options)

    def delivered(self, name: str) -> Counter[str]:
        """Return how often each execution is in the tables of a store."""
        from mlflow import MlflowClient

        from hokusai_mlflow.loading import read_rows

        client = MlflowClient(self.uri(name))
        experiment = client.get_experiment_by_name("Benchmark")
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        return Counter(row["execution_id"] for run in runs for row in read_rows(client, run.info.run_id))


def executor(**options: Any) -> Any:
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm

    made = Executor(lm=null_lm(), plugins=[], **options)
    made.register_signature("EmailDraft", "recipient, subject, key_points -> email_body")
    return made


def milliseconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def in_turns(rounds: int, block: int, sides: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]]) -> Any:
    """Return side -> times of its calls; each side is a context that yields what is called."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            with side() as call:
                taken = [milliseconds(call) for _ in range(block)]
            if number:  # the first round warms up
                times[name] += taken
    return times


class Timed:
    """A tracker whose time on the caller's thread is noted."""

    def __init__(self, tracker: Any) -> None:
        self._tracker, self.times = tracker, []  # type: Any, list[float]

    def record(self, event: Any) -> None:
        """Record, and note how long it took."""
        started = time.perf_counter()
        self._tracker.record(event)
        self.times.append((time.perf_counter() - started) * 1e6)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)


def microseconds(times: list[float]) -> str:
    ordered = sorted(times)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    found = f"median {middle:7.1f} us   p99 {high:7.1f} us   largest {ordered[-1] / 1000:6.2f} ms   n {len(ordered)}"
    return f"{found}   (goals {MEDIAN:g} and {P99:g} us: {verdict(middle <= MEDIAN and high < P99)})"


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def measure_cost(setup: Setup, rounds: int) -> None:
    print("\n== cost: added time on the caller's thread, per execution, null model, SQLite ==")
    import dspy
    import mlflow

    from hokusai_core.testing.lm import null_lm

    timed = Timed(setup.tracker("cost"))
    plain, tracked = executor(cache_enabled=False), executor(cache_enabled=False, trackers={"mlflow": timed})
    predict, model = dspy.Predict("recipient, subject, key_points -> email_body"), null_lm()
    mlflow.set_tracking_uri(setup.uri("peers"))
    mlflow.set_experiment("Peers")

    @contextlib.contextmanager
    def hokusai(side: Any) -> Iterator[Any]:
        yield lambda: side.execute_signature("EmailDraft", INPUTS)

    @contextlib.contextmanager
    def autolog(on: bool) -> Iterator[Any]:
        mlflow.dspy.autolog(disable=not on)
        with dspy.context(lm=model):
            yield lambda: predict(**INPUTS)
        mlflow.dspy.autolog(disable=True)
        if on:
            mlflow.flush_trace_async_logging()  # its threads must not slow the other sides down

    def run_per_call() -> None:
        """Record by hand what a row of ours holds."""
        with mlflow.start_run():
            mlflow.log_params({**INPUTS, "signature": "EmailDraft", "version": "1.0.0", "model": model.model})
            started = time.perf_counter()
            answer = predict(**INPUTS)
            latency = time.perf_counter() - started
            mlflow.log_metrics({"latency": latency, "input_tokens": 10, "output_tokens": 5, "cost": 0.0})
            mlflow.log_text(answer.email_body, "output.txt")
            mlflow.set_tags({"status": "ok", "cached": "no", "attempts": 1})

    @contextlib.contextmanager
    def runs() -> Iterator[Any]:
        with dspy.context(lm=model):
            yield run_per_call

    times = in_turns(
        rounds,
        20,
        {
            "hokusai off": lambda: hokusai(plain),
            "hokusai on": lambda: hokusai(tracked),
            "predict": lambda: autolog(False),
            "autolog": lambda: autolog(True),
        },
    )
    times |= in_turns(max(2, rounds // 10), 5, {"run per call": runs})
    middle = {name: statistics.median(values) for name, values in times.items()}
    ours = middle["hokusai on"] - middle["hokusai off"]
    own = statistics.median(timed.times) / 1000
    print(
        f"  hokusai        {middle['hokusai off']:8.3f} -> {middle['hokusai on']:8.3f} ms   added {ours * 1000:9.1f} us"
    )
    print(f"  tracker itself {microseconds(timed.times)}")
    for name in ("autolog", "run per call"):
        added = middle[name] - middle["predict"]
        ratio = max(ours, own) / added
        print(
            f"  {name:14} {middle['predict']:8.3f} -> {middle[name]:8.3f} ms   added {added * 1000:9.1f} us   "
            f"hokusai is 1/{1 / ratio:.0f} of it (goal 1/{1 / GOALS[name]:.0f}: {verdict(ratio <= GOALS[name])})"
        )
    plain.close()
    tracked.close()


def at_rate(rate: float, seconds: float, call: Callable[[], Any]) -> int:
    """Call at a steady rate and return how often; never faster to make up for a stall of more than a second."""
    started, done = time.perf_counter(), 0
    while (now := time.perf_counter() - started) < seconds:
        if done > now * rate:
            time.sleep(0.0005)
            continue
        call()
        done += 1
    return done


def measure_rate(setup: Setup, rate: float, seconds: float, peer_seconds: float) -> None:
    print(f"\n== rate: {rate:g} executions a second for {seconds:g} s, the writer at work ==")
    from hokusai_core.testing.trackers import make_event

    timed = Timed(setup.tracker("rate"))
    event = make_event()
    import attrs

    def one() -> None:
        timed.record(attrs.evolve(event, execution_id=os.urandom(16).hex(), started_at=time.time()))

    done = at_rate(rate, seconds, one)
    ended = time.perf_counter()
    waited = float("inf")
    while time.perf_counter() - ended < 120:
        if not timed.status()["backlog"]:
            waited = time.perf_counter() - ended
            break
        time.sleep(0.25)
    counts = setup.delivered("rate")
    timed.flush(120)  # the traces as well
    away, stored = timed.status()["traces_sampled_away"], stored_traces(setup.uri("rate"), "Benchmark")
    print(f"  record()       {microseconds(timed.times)}")
    print(
        f"  {done} recorded, {len(counts)} in the table, twice {sum(n > 1 for n in counts.values())}, "
        f"complete {waited:.1f} s after the end (goal {COMPLETE:g} s: "
        f"{verdict(waited <= COMPLETE and len(counts) == done == counts.total())})"
    )
    print(
        f"  traces: {done - away} chosen, {stored} stored, {done - away - stored} lost; {away} sampled away and counted"
    )
    timed.close()
    if peer_seconds:
        _peer_losses(setup, peer_seconds)


def _peer_losses(setup: Setup, seconds: float) -> None:
    import dspy
    import mlflow

    from hokusai_core.testing.lm import null_lm

    mlflow.set_tracking_uri(setup.uri("losses"))
    mlflow.set_experiment("Losses")
    mlflow.dspy.autolog()
    predict = dspy.Predict("recipient, subject, key_points -> email_body")
    with dspy.context(lm=null_lm()):
        predict(**INPUTS)
        done = 1 + at_rate(1000, seconds, lambda: predict(**INPUTS))
    mlflow.dspy.autolog(disable=True)
    mlflow.flush_trace_async_logging()
    stored = stored_traces(setup.uri("losses"), "Losses")
    print(f"  autolog as fast as it goes for {seconds:g} s: {done} calls, {stored} traces, {done - stored} lost")


def stored_traces(uri: str, experiment: str) -> int:
    """Return how many traces an experiment holds."""
    from mlflow import MlflowClient

    client, count, token = MlflowClient(uri), 0, None
    place = client.get_experiment_by_name(experiment).experiment_id
    while True:
        page = client.search_traces(locations=[place], max_results=500, page_token=token, include_spans=False)
        count, token = count + len(page), page.token
        if not token:
            return count


def measure_drain(setup: Setup, count: int) -> None:
    print(f"\n== drain: {count} executions that waited for MLflow ==")
    from hokusai_core.testing.trackers import make_event

    waiting = setup.tracker("drain", writer="none")
    for _ in range(count):
        waiting.record(make_event())
    waiting.close()
    started = time.perf_counter()
    drainer = setup.tracker("drain")
    drainer.record(make_event())
    flushed = drainer.flush(600)
    taken = time.perf_counter() - started
    counts = setup.delivered("drain")
    traces = count + 1 - drainer.status()["traces_sampled_away"]
    print(f"  {taken:.1f} s, the start of the writer and {traces} traces included")
    print(
        f"  delivered {flushed}, in the table {len(counts)} of {count + 1}, twice {sum(n > 1 for n in counts.values())}"
    )
    drainer.close()


def measure_writer(setup: Setup, seconds: float) -> None:
    print("\n== writer: what delivery does to the caller, in a thread of the process and in a process of its own ==")
    from hokusai_core.testing.trackers import make_event
    from hokusai_mlflow.writer import Writer, locked

    def spin(tracker: Any) -> list[float]:
        timed = Timed(tracker)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            timed.record(make_event())
            sum(range(2000))  # the caller's own work holds the interpreter, too
            time.sleep(0.002)
        return timed.times

    inside = setup.tracker("thread", writer="none")
    stop = threading.Event()

    def deliver() -> None:
        with locked(inside.options.spool_folder):
            writer = Writer(inside.options.spool_folder, {})
            while not stop.is_set():
                writer.drain(0.2)

    thread = threading.Thread(target=deliver)
    inside.record(make_event())
    thread.start()
    time.sleep(2)
    print(f"  thread         {microseconds(spin(inside)).partition('   (goals')[0]}")
    stop.set()
    thread.join()
    outside = setup.tracker("process")
    outside.record(make_event())
    outside.flush(60)
    print(f"  process        {microseconds(spin(outside))}")
    outside.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=30, help="rounds of 20 calls a side")
    parser.add_argument("--rate", type=float, default=1000.0, help="executions a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the rate is kept up")
    parser.add_argument("--peer-seconds", type=float, default=8.0, help="how long autolog runs; 0 leaves it out")
    parser.add_argument("--drain", type=int, default=2000, help="executions that wait")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="hokusai-tracking-", ignore_cleanup_errors=True) as folder:
        setup = Setup(Path(folder))
        if "cost" in arguments.only:
            measure_cost(setup, arguments.rounds)
        if "rate" in arguments.only:
            measure_rate(setup, arguments.rate, arguments.seconds, arguments.peer_seconds)
        if "drain" in arguments.only:
            measure_drain(setup, arguments.drain)
        if "writer" in arguments.only:
            measure_writer(setup, 5.0)
        end_writers(Path(folder))


def end_writers(folder: Path) -> None:
    """End the writers that this benchmark started; each has a spool folder of its own."""
    from hokusai_mlflow.spool_status import read_status, writer_is_running

    for spool in folder.glob("spool-*"):
        if writer_is_running(spool):
            os.kill(read_status(spool)["pid"], signal.SIGTERM)


if __name__ == "__main__":
    main()
