"""Improve both steps of a chain together, on the embedded language model, and measure the whole.

    python benchmarks/optimize_program.py [--seed 0] [--calls 520] [--seconds 540]

The chain reads the beginning of a Reuters report: the first step writes what the report is about, the second one tells
the topic from that text alone. The texts are those of ``optimize_embedded.py``; held out are texts of the official test
set. Metric, comparison and verdict are about the topic that the second step gives.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from optimize_embedded import news, write

CHAIN = """\
name = "ReportTopic"
inputs = ["report", "categories"]

[[steps]]
signature = "ExtractInfo"
inputs = { document = "report", info_types = { literal = "what it is about" } }

[[steps]]
signature = "ClassifyText"
inputs = { text = "ExtractInfo.extracted_info", categories = "categories" }
"""


def prepare(folder: Path, seed: int, train: int, test: int) -> list[str]:
    """Write the chain and its examples, and return the arguments that name them."""
    (folder / "topics.toml").write_text(CHAIN, encoding="utf-8")
    arguments = [str(folder / "topics.toml")]
    for part, count in (("train", train), ("test", test)):
        path = write(folder / f"{part}.jsonl", news(folder, part), count, seed)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row["inputs"]["report"] = row["inputs"].pop("text")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        arguments += [str(path)] if part == "train" else ["--testset", str(path)]
    return arguments


def main() -> int:
    """Run the optimization, and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=96)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--calls", type=int, default=520)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--lm", default="local")
    parser.add_argument("--folder", type=Path, default=Path("build/optimize-program"))
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = shutil.which("hokusai", path=str(Path(sys.executable).parent)) or "hokusai"
    arguments = [
        "optimize", *prepare(folder, options.seed, options.train, options.test), "--metric", "accuracy",
        "--lm", options.lm, "--seed", str(options.seed), "--calls", str(options.calls),
        "--seconds", f"{options.seconds:g}", "-o", str(folder / "better.json"), "--svg", str(folder / "plot.svg"),
        "--workdir", str(folder / "study"),
    ]  # fmt: skip
    print(f"$ hokusai {' '.join(arguments)}", flush=True)
    started = time.monotonic()
    finished = subprocess.run([command, *arguments], check=False)
    print(f"({time.monotonic() - started:.0f} s in all)", flush=True)
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
