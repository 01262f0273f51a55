"""Improve both steps of a chain together, on the embedded language model, and measure the whole.

    python benchmarks/optimize_program.py [--reads note|both] [--seed 0] [--calls 520] [--seconds 540]

The chain reads the beginning of a Reuters report: the first step writes what the report is about, the second one tells
the topic, from that note alone or from both. The texts are those of ``optimize_embedded.py``; held out are texts of the
official test set. Metric, comparison and verdict are about the topic that the second step gives.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from optimize_embedded import news, write

from hokusai_core import BaseSignature, Budget, Executor, InputField, OutputField, SignatureChain
from hokusai_teleprompt import TelepromptFineTuner


class NoteSubject(BaseSignature):
    """Write in a few words what the report is about."""

    report: str = InputField("The beginning of a news report")
    note: str = OutputField("A few words", max_length=300)


class TopicOfNote(BaseSignature):
    """Tell the topic of a news report from a note on what it is about."""

    note: str = InputField("What the report is about")
    categories: list[str] = InputField("The topics that there are")
    topic: str = OutputField("The topic", choices_from="categories")


class TopicOfReport(BaseSignature):
    """Tell the topic of a news report."""

    report: str = InputField("The beginning of a news report")
    note: str = InputField("What the report is about")
    categories: list[str] = InputField("The topics that there are")
    topic: str = OutputField("The topic", choices_from="categories")


def chain_of(reads: str) -> SignatureChain:
    """Return the chain whose second step reads the note alone, or the report as well."""
    chain = SignatureChain("ReportTopic", inputs=["report", "categories"])
    chain.add(NoteSubject, {"report": "report"})
    if reads == "note":
        return chain.add(TopicOfNote, {"note": "NoteSubject.note", "categories": "categories"})
    return chain.add(TopicOfReport, {"report": "report", "note": "NoteSubject.note", "categories": "categories"})


def examples(folder: Path, part: str, count: int, seed: int) -> list[dict[str, dict[str, object]]]:
    """Return a balanced sample of the official ``train`` or ``test`` set."""
    path = write(folder / f"{part}.jsonl", news(folder, part), count, seed)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {
            "inputs": {"report": row["inputs"]["text"], "categories": row["inputs"]["categories"]},
            "outputs": {"topic": row["outputs"]["classification"]},
        }
        for row in rows
    ]


def main() -> int:
    """Run the optimization, and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reads", choices=["note", "both"], default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=96)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--calls", type=int, default=520)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--lm", default="local")
    parser.add_argument("--optimizer", default="auto")
    parser.add_argument("--folder", type=Path, default=Path("build/optimize-program"))
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (examples(folder, part, getattr(options, part), options.seed) for part in ("train", "test"))
    started = time.monotonic()
    budget = Budget(calls=options.calls, seconds=options.seconds)
    with (
        Executor(trackers=[]) as executor,
        TelepromptFineTuner(
            options.optimizer, options.lm, budget, options.seed, workdir=folder / "study", executor=executor
        ) as finetuner,
    ):
        optimized = finetuner.compile(chain_of(options.reads), train, "accuracy", testset=test)
    optimized.save(folder / "better.json")
    print(optimized.report)
    for name, state in (optimized.candidate or optimized).spec.predictors.items():
        print(f"{name}: {len(state.demos)} demos; {state.instructions}")
    print(f"({time.monotonic() - started:.0f} s in all)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
