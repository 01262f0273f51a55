"""What the embedded language model costs: load time, tokens per second, memory, and the time of typical executions.

Every figure is the median of ``--repeat`` runs; loading is measured in fresh processes. The machine's load average is
printed with the table, since another busy process halves the speed. Run it on a quiet machine.

    python benchmarks/local_model.py
    HOKUSAI_LOCAL_MODEL=path/to/model.gguf python benchmarks/local_model.py --repeat 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

_PARAGRAPH = (
    "The ferry to the island does not run from February 10 to 21, because the ship has to be inspected in the dock. "
    "A smaller boat takes passengers at eight and at five; it cannot carry cars. "
)
_LOAD = """
import json, time
import psutil
process = psutil.Process()
from hokusai_local import LlamaEngine
import dspy
before, started = process.memory_info().rss, time.perf_counter()
engine = LlamaEngine()
engine.server()
loaded = time.perf_counter() - started
print(json.dumps({"seconds": loaded, "before": before, "after": process.memory_info().rss}))
"""
_MIB = 1 << 20


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs of each figure")
    repeat = parser.parse_args().repeat

    from hokusai_local import LocalProvider

    provider = LocalProvider()
    model = provider.load("")
    engine = model.lm.engine
    server = engine.server()
    settings = server.settings
    print(f"model           {model.identity}")
    print(f"threads         {settings.prompt_threads} to read, {settings.answer_threads} to write")
    print(f"load average    {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")

    rows = [*_loading(repeat), *_speed(engine, repeat), *_executions(model, repeat)]
    import psutil

    rows.append(("memory after all of this", f"{psutil.Process().memory_info().rss / _MIB:.0f} MiB"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value:>14}")
    provider.close()


def _loading(repeat: int) -> list[tuple[str, str]]:
    runs = []
    for _ in range(repeat):
        run = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True)
        runs.append(json.loads(run.stdout))
    growth = statistics.median(run["after"] - run["before"] for run in runs)
    return [
        ("load the model", f"{statistics.median(run['seconds'] for run in runs):.2f} s"),
        ("memory of the loaded model", f"{growth / _MIB:.0f} MiB"),
        ("memory of the process with DSPy", f"{statistics.median(run['after'] for run in runs) / _MIB:.0f} MiB"),
    ]


def _speed(engine: Any, repeat: int) -> list[tuple[str, str]]:
    # The difference of two prompts and of two answers leaves out what every call costs.
    short, long = (_seconds(engine, _PARAGRAPH * times, 1, repeat) for times in (4, 20))
    one, many = (_seconds(engine, _PARAGRAPH, tokens, repeat) for tokens in (8, 136))
    return [
        ("read a prompt", f"{(long[1] - short[1]) / (long[0] - short[0]):.0f} tokens/s"),
        ("write an answer", f"{(many[2] - one[2]) / (many[0] - one[0]):.0f} tokens/s"),
    ]


def _seconds(engine: Any, prompt: str, tokens: int, repeat: int) -> tuple[float, int, int]:
    """Return seconds, prompt tokens and answer tokens of one call."""
    from hokusai_local.interruption import Interruption

    runs = []
    for _ in range(repeat):
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "temperature": 0.0,
            "cache_prompt": False,
            "ignore_eos": True,
        }
        with engine.server().slot(Interruption()) as slot:
            started = time.perf_counter()
            generation = slot.generate(body, Interruption())
            runs.append((time.perf_counter() - started, generation.prompt_tokens, generation.output_tokens))
    return min(runs)


def _executions(model: Any, repeat: int) -> list[tuple[str, str]]:
    import dspy

    label = dspy.Signature(
        {"text": (str, dspy.InputField()), "tone": (Literal["positive", "negative"], dspy.OutputField())},
        "Classify the tone of the text.",
    )
    answer = dspy.Signature("context, question -> answer, confidence: float", "Answer the question from the context.")
    summary = dspy.Signature("text -> summary", "Summarize the text in one sentence.")
    shots = dspy.Predict(label)
    shots.demos = [
        dspy.Example(text=f"{_PARAGRAPH} It was {word}, number {number}.", tone=tone)
        for number, (word, tone) in enumerate([("great", "positive"), ("awful", "negative")] * 4)
    ]
    texts = iter(range(10_000))

    def timed(name: str, call: Callable[[str], Any]) -> tuple[str, str]:
        runs = []
        with dspy.context(lm=model.lm, adapter=model.adapter):
            call("warm up")
            for _ in range(repeat):
                started = time.perf_counter()
                call(f"{_PARAGRAPH} Note {next(texts)}.")
                runs.append(time.perf_counter() - started)
        return name, f"{statistics.median(runs):.2f} s"

    return [
        timed("choose one of two labels", lambda text: dspy.Predict(label)(text=text)),
        timed("the same with eight demos", lambda text: shots(text=text)),
        timed("summarize a paragraph", lambda text: dspy.Predict(summary)(text=text)),
        timed("answer and confidence", lambda text: dspy.Predict(answer)(context=text, question="When?")),
    ]


if __name__ == "__main__":
    main()
