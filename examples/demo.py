#!/usr/bin/env python3
"""What Hokusai does, on the embedded language model: no key and no network are needed.

python examples/demo.py                         # with the embedded language model, about two minutes
python examples/demo.py --lm openai/gpt-5-mini  # with another one
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = Path(__file__).with_name("demo")
TEXTS = Path(__file__).with_name("texts")
#: Rows of the batch that are over before it is killed.
KILL_AFTER = 10


class Demonstration:
    """Runs commands in a folder of its own, and shows each with what it prints.

    Args:
        folder: the folder.
        lm: language model of all commands.
    """

    def __init__(self, folder: Path, lm: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOKUSAI_", "MLFLOW_"))}
        # Answers and records stay in the folder, so that the demonstration starts anew each time.
        self.environment = kept | {
            "HOKUSAI_LM": lm,
            "HOKUSAI_CACHE_DIR": str(folder / "answers"),
            "HOKUSAI_DATA_DIR": str(folder / "data"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        }

    def say(self, title: str, text: str) -> None:
        """Print what comes next."""
        print(f"\n== {title}\n{text}\n", flush=True)

    def run(self, *arguments: str, longest: int = 30) -> None:
        """Run a command and print it with its output.

        Raises:
            SystemExit: it failed.
        """
        print(f"$ hokusai {shlex.join(arguments)}", flush=True)
        done = subprocess.run(
            self._command(arguments), cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, check=False
        )
        lines = done.stdout.decode().rstrip().splitlines()
        print("\n".join(lines[:longest]), *(["..."] if len(lines) > longest else []), sep="\n", flush=True)
        if done.returncode:
            raise SystemExit(f"the command failed with exit code {done.returncode}")

    def run_and_kill(self, *arguments: str, journal: str) -> None:
        """Begin a batch, and kill its process once some rows are over."""
        print(f"$ hokusai {shlex.join(arguments)}", flush=True)
        process = subprocess.Popen(
            self._command(arguments), cwd=self.folder, env=self.environment, start_new_session=True
        )
        kept = self.folder / journal
        while process.poll() is None and self._rows(kept) < KILL_AFTER:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"(killed with SIGKILL; {self._rows(kept)} of 30 rows are in {journal})", flush=True)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "hokusai", *arguments]

    def _rows(self, journal: Path) -> int:
        """Return how many rows a journal has; its first line says what it belongs to."""
        return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def show(demo: Demonstration) -> None:
    """Run all steps."""
    demo.say(
        "1. One classification",
        "The answer is one of the categories, whatever the model would like to write.",
    )
    categories = "categories=Complaint, Job application, Price change"
    demo.run("run", "ClassifyText", "-i", "text=@email-late-delivery.txt", "-i", categories)

    demo.say(
        "2. A signature of your own on 30 mails, and a kill in the middle",
        "signatures.py has the class SortMail: the text of a mail goes in, one of three kinds comes out.",
    )
    batch = ("batch", "signatures.py:SortMail", "mails.csv", "-o", "kinds.jsonl")
    demo.run_and_kill(*batch, "--workers", "1", "--no-progress", journal="kinds.jsonl.journal")
    print("\nThe same command goes on with the rest: what is over is not asked again.\n", flush=True)
    demo.run(*batch, "--workers", "1", "--no-progress")

    demo.say("3. The same mails again, into another file", "Every answer comes from the cache: no token is spent.")
    demo.run("batch", "signatures.py:SortMail", "mails.csv", "-o", "again.jsonl", "--no-progress")

    demo.say("4. A chain", "triage.toml has two steps; the second one gets what the first one found.")
    demo.run("chain", "run", "triage.toml", "-i", "mail=I want my money back, the lamp is broken.", "--steps")

    demo.say(
        "5. How good is it? And does an optimization help?",
        "letters.py has a signature that tells four kinds of letters of a bookkeeping apart.\n"
        "held-out.csv has 24 letters with the right answers. A guess is right in one of four.",
    )
    demo.run("init", "--example", "letters")
    demo.run("import", "letters.py")
    demo.run("evaluate", "SortLetter", "held-out.csv", "--metric", "accuracy", "--worst", "0")
    print(
        "\nletters.csv has 60 others. With them, each prompt shows the eight letters that are most like the new one.\n"
        "Both answer the 24 that were held out. Only a difference whose whole interval is above zero is a gain.\n",
        flush=True,
    )
    optimize = ("optimize", "SortLetter", "letters.csv", "--testset", "held-out.csv", "--metric", "accuracy")
    nearest = ("--optimizer", "knn_fewshot", "--set", "k=8")
    demo.run(*optimize, *nearest, "--calls", "150", "-y", "--track", "-o", "better.json", longest=40)
    demo.run("promote", "better.json")

    demo.say("6. What was recorded", "With --track executions and optimizations go to MLflow, with their prompts.")
    demo.run("run", "signatures.py:SortMail", "-i", "body=Please pay 20 euros.", "--track", "--cache", "off")
    demo.run("tracking", "flush")
    demo.run("logs", "-n", "3", "--from", "mlflow")
    uri = demo.environment["MLFLOW_TRACKING_URI"]
    print(
        f"\nTo look at it in a browser:\n$ MLFLOW_TRACKING_URI={uri} {sys.prefix}/bin/hokusai tracking ui", flush=True
    )

    demo.say(
        "7. Free text, last",
        "This is what a model of 135 million parameters writes. It reads well and is often wrong: it is for trying\n"
        "out pipelines. For texts that matter, name a larger model: --lm provider/model."
        if demo.environment["HOKUSAI_LM"] == "local"
        else f"This is what {demo.environment['HOKUSAI_LM']} writes.",
    )
    demo.run("run", "SummarizeText", "-i", "document=@report-quarter.txt", "-i", "max_length=2 sentences")


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lm", default="local", help="language model [default: the embedded one]")
    parser.add_argument("--folder", type=Path, help="folder for its files [default: a new one]")
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="hokusai-demo-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*FILES.iterdir(), TEXTS / "email-late-delivery.txt", TEXTS / "report-quarter.txt"):
        if file.is_file():
            shutil.copy(file, folder)
    started = time.monotonic()
    show(Demonstration(folder, arguments.lm))
    print(f"\nAll of this took {time.monotonic() - started:.0f} s, and is in {folder}.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
