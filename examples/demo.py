#!/usr/bin/env python3
"""Pre-built signatures on real texts: a drafted email, a summary, a classification. Needs no key and no network.

python examples/demo.py                         # with the embedded language model
python examples/demo.py --lm openai/gpt-5-mini  # with another one
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from typing import Any, NamedTuple

from hokusai.services.dspy_pipeline_executor import DSPyPipelineExecutor
from hokusai_core import ExecutionResult
from hokusai_core.errors import HokusaiError

TEXTS = Path(__file__).with_name("texts")


class Job(NamedTuple):
    """A signature, its inputs, and what they are made of."""

    title: str
    signature: str
    inputs: dict[str, Any]


def jobs() -> Iterator[Job]:
    """Yield what the demonstration runs."""
    complaint = message_from_string(read("email-late-delivery.txt"))
    yield Job(
        "an answer to email-late-delivery.txt",
        "EmailDraft",
        {
            "recipient": complaint["From"].partition(" <")[0],
            "subject": "Delivery of your desk",
            "key_points": [
                "We apologize for the late delivery of the desk",
                "The desk will arrive on Friday, October 31",
                "We refund $50",
            ],
        },
    )
    yield Job(
        "report-quarter.txt",
        "SummarizeText",
        {"document": read("report-quarter.txt"), "max_length": "2 sentences"},
    )
    categories = ["Complaint", "Job application", "Price change"]
    for name in ("email-late-delivery.txt", "email-job-application.txt", "email-price-increase.txt"):
        inputs = {"text": read(name), "categories": categories}
        yield Job(name, "ClassifyText", inputs)


def read(name: str) -> str:
    """Return one of the texts."""
    return (TEXTS / name).read_text(encoding="utf-8")


def footer(result: ExecutionResult) -> str:
    """Return how the answer came about."""
    usage = result.usage
    return f"{result.model}  {result.latency:.1f} s  {usage.input_tokens} + {usage.output_tokens} tokens"


def show(job: Job, result: ExecutionResult) -> None:
    """Print an answer: in a frame on a terminal, plainly elsewhere."""
    text = "\n".join(str(value) for value in result.values())
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.panel import Panel
        from rich.text import Text

        title, subtitle = Text(f"{job.signature}: {job.title}", "bold"), Text(footer(result), "dim")
        Console().print(Panel(Text(text), title=title, subtitle=subtitle, title_align="left"))
    else:
        print(f"== {job.signature}: {job.title}\n\n{text}\n\n   {footer(result)}\n", flush=True)


def main() -> int:
    """Run all jobs; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lm", default="local", help="language model [default: the embedded one]")
    lm = parser.parse_args().lm
    # Without the cache, so that every answer is made here and now.
    with DSPyPipelineExecutor(lm=lm, cache_enabled=False, mlflow_tracking=False, timeout=300) as executor:
        for job in jobs():
            try:
                show(job, executor.execute_signature(job.signature, job.inputs))
            except HokusaiError as error:
                print(f"{job.signature}: {error}", file=sys.stderr)
                return 1
    if lm == "local":
        print(
            "The embedded model is small: it shows how things work, not how well. A larger one: "
            "python examples/demo.py --lm provider/model"
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
