"""Does ``auto`` choose as well as the best simple set of demos? Five data sets, measured on texts kept apart.

    python benchmarks/optimize_choice.py [--minutes 10] [--clock wall] [--data all] [--nulls 200] [--folder FOLDER]

For each data set of ``choice_data.py`` it

1. optimizes ``ClassifyText`` with ``auto`` for so many minutes on the embedded language model;
2. makes the five simple candidates (4, 8 and 16 labelled demos, the 4 and 8 nearest demos) out of the same examples to
   learn from, and chooses the best of them on the same examples to choose by;
3. measures what ``auto`` returned and that best candidate on texts that were kept apart from all of this, block by
   block until they are used up or ``--end`` has come, and the signature as it was on the first block.

It prints a table, the difference of ``auto`` and the best simple candidate over all data sets with its paired interval,
and how many gains of 0.2 or more were promoted. Then it runs ``auto`` on data without any rule and a scripted model
that answers at random: what is promoted there is promoted falsely.

Everything that is finished is in the folder, and every answer of the embedded model at temperature 0, which is asked
once for each prompt. The same command goes on where it was stopped. Where other work runs beside, ``--clock cpu``
counts the CPU time of the process: on one core (``taskset -c 0``), a minute is what an idle core computes in a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import dspy
from choice_data import DATA_SETS, make
from embedded_answers import cpu_clock, remembering

from hokusai_core import BaseSignature, Budget, Executor, InputField, OutputField
from hokusai_core.plugin_api import OptimizationTask
from hokusai_core.testing.lm import NullEngine
from hokusai_evaluate import evaluate
from hokusai_evaluate.example_reader import read_examples
from hokusai_evaluate.statistics import compare_paired, score_interval
from hokusai_teleprompt import TelepromptFineTuner
from hokusai_teleprompt.data_split import split_examples
from hokusai_teleprompt.optimized_signature import candidate_spec
from hokusai_teleprompt.study.auto_search import portfolio_of

#: A gain from which on a candidate should be promoted.
REAL = 0.2

Rows = list[dict[str, Any]]


def rows_of(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> Rows:
    """Return examples of ClassifyText."""
    return [
        {"inputs": {"text": text, "categories": list(labels)}, "outputs": {"classification": label}}
        for text, label in pairs
    ]


class DataSetRun:
    """The work on one data set, each step of which is kept in a folder.

    Args:
        name: name of the data set.
        options: the arguments of the command.
        executor: runs signatures.
    """

    def __init__(self, name: str, options: argparse.Namespace, executor: Executor) -> None:
        self.name, self.options, self.executor = name, options, executor
        self.folder: Path = options.folder / f"{name}-{options.seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lm: Any = options.lm
        if options.lm == "local":
            self.lm = remembering(executor.language_model("local"), self.folder / "answers.jsonl")
        pairs, apart = make(name, examples=options.examples, apart=options.apart, seed=options.seed)
        labels = sorted({label for _, label in pairs})
        self.rows, self.apart = rows_of(pairs, labels), rows_of(apart, labels)
        self.auto: dict[str, Any] = {}
        self.simple: tuple[str, type[BaseSignature], dict[str, float]] | None = None
        self.right: dict[str, list[float]] = {}

    def optimize(self) -> None:
        """Run ``auto``, and choose the best simple candidate."""
        self.auto = self._auto()
        self.simple = self._best_simple()

    def measure(self, side: str, count: int) -> None:
        """Measure one side on the first texts that were kept apart.

        Args:
            side: ``as it is``, ``auto``, ``found`` or ``simple``.
            count: how many texts.
        """
        if self.simple is None:
            raise RuntimeError("optimize() comes first")
        name, target = {
            "as it is": ("as it is", "ClassifyText"),
            "auto": (Path(self.auto["returned"]).stem, self.auto["returned"]),
            "found": (Path(self.auto["found"]).stem, self.auto["found"]),
            "simple": self.simple[:2],
        }[side]
        self.right[side] = self._scores(name, target, self.apart[:count], "apart")

    def keep(self) -> None:
        """Write what was measured."""
        simple, _, scores = self.simple or ("", None, {})
        result = {"data": self.name, **self.auto, "simple": simple, "dev": scores, "right": self.right}
        (self.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")

    def _auto(self) -> dict[str, Any]:
        """Return what ``auto`` returned and found, as files of signatures, and its figures."""
        summary = self.folder / "auto.json"
        if summary.exists():
            return dict(json.loads(summary.read_text(encoding="utf-8")))
        started = time.monotonic()
        with cpu_clock() if self.options.clock == "cpu" else nullcontext():
            finetuner = TelepromptFineTuner(
                "auto",
                self.lm,
                Budget(seconds=60 * self.options.minutes),
                self.options.seed,
                executor=self.executor,
                workers=self.options.workers,
                workdir=self.folder / "study",
            )
            optimized = finetuner.compile("ClassifyText", self.rows, "accuracy")
        report = optimized.report
        print(report.table(), flush=True)
        found = optimized.candidate or (optimized if optimized.promoted else None)
        path = self.folder / "found.json"
        if found is not None:
            found.save(path)
        values = {
            "promoted": optimized.promoted,
            "returned": str(path) if optimized.promoted else "ClassifyText",
            "found": str(path) if found is not None else "ClassifyText",
            "chosen": next((trial.label for trial in report.trials if trial.chosen), "nothing"),
            "tried": max(0, len(report.trials) - 1),
            "trials": [[trial.label, trial.score] for trial in report.trials],
            "calls": report.calls,
            "seconds": round(report.seconds),
            "wall_seconds": round(time.monotonic() - started),
            "held_out": [report.baseline_score, report.candidate_score],
            "sizes": dict(report.sizes),
            "verdict": report.verdict,
        }
        summary.write_text(json.dumps(values), encoding="utf-8")
        return values

    def _best_simple(self) -> tuple[str, type[BaseSignature], dict[str, float]]:
        """Return the simple candidate that is best on the examples to choose by, and the scores of all on these."""
        spec = self.executor.signature("ClassifyText").spec
        split = split_examples(spec, read_examples(spec, self.rows).items, seed=self.options.seed)
        dev = [{"inputs": dict(item.inputs), "outputs": dict(item.outputs)} for item in split.dev]
        model = self.executor.language_model(self.lm)
        task = OptimizationTask(spec, split.train, split.dev, lambda *_: 0.0, model, seed=self.options.seed)
        scores: dict[str, float] = {}
        made: dict[str, type[BaseSignature]] = {}
        for item in portfolio_of(task, lambda name, given: self.executor.plugins.create("optimizer", name, **given)):
            label = item.candidate.label
            made[label] = BaseSignature.from_spec(candidate_spec(spec, item.candidate, {}, {}))
            right = self._scores(label, made[label], dev, "dev")
            scores[label] = sum(right) / len(right)
        best = max(scores, key=lambda label: scores[label])
        print(f"{self.name}: {scores}", flush=True)
        return best, made[best], scores

    def _scores(self, name: str, target: Any, rows: Rows, part: str) -> list[float]:
        """Return whether each row is answered right. Answers are kept, and asked for once."""
        evaluation = evaluate(
            self.executor,
            target,
            rows,
            metric="accuracy",
            journal=self.folder / f"{re.sub(r'[^a-zA-Z0-9]+', '-', name)}-{part}.journal",
            lm=self.lm,
            cache="off",
            max_workers=self.options.workers,
        )
        found = {
            row["number"]: next(iter(row["scores"].values())) for row in evaluation.to_dict(rows=True)["row_reports"]
        }
        return [float(found[number] or 0.0) for number in sorted(found)]


def measure_apart(runs: Sequence[DataSetRun], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all sides on the texts kept apart, and return the results.

    The texts come in blocks, a block of every data set in turn, so that it may end after any block.
    """
    done, most = 0, max(len(run.apart) for run in runs)
    while done < most and not is_late(options.end):
        done = min(most, done + options.block)
        for run in runs:
            for side in ("simple", "auto"):
                run.measure(side, done)
            if "as it is" not in run.right:
                run.measure("as it is", options.block)
            run.keep()
        print(f"({done} texts of each data set at most, {time.strftime('%H:%M')})", flush=True)
    return [json.loads((run.folder / "result.json").read_text(encoding="utf-8")) for run in runs]


def is_late(end: str) -> bool:
    """Return whether it is later than a time of the day, such as ``15:40``; empty for none."""
    return bool(end) and time.strftime("%H:%M") >= end


class Guessing(NullEngine):
    """Answers at random, always the same to the same prompt."""

    def answer(self, number: int, request: Any) -> Any:
        text = repr((request.system, [message.text for message in request.messages]))
        label = "ab"[hashlib.sha256(text.encode()).digest()[0] % 2]
        return NullEngine(answers={"label": label}).answer(number, request)


class Label(BaseSignature):
    """Tell the label."""

    text: str = InputField()
    label: Literal["a", "b"] = OutputField()


def null_runs(count: int, folder: Path) -> int:
    """Run ``auto`` on labels without any rule; return how many results were promoted."""
    path = folder / "nulls.jsonl"
    path.touch()
    promoted = [bool(json.loads(line)["promoted"]) for line in path.read_text(encoding="utf-8").splitlines()][:count]
    lm = dspy.LM("scripted/guessing", engine=Guessing(), cache=False, num_retries=0)
    for seed in range(len(promoted), count):
        rng = random.Random(seed)
        rows = [{"text": f"text {number} {rng.random()}", "label": rng.choice("ab")} for number in range(100)]
        with TelepromptFineTuner("auto", lm, Budget(calls=400), seed, workdir=False, workers=2) as finetuner:
            promoted.append(finetuner.compile(Label, rows, "accuracy").promoted)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": seed, "promoted": promoted[-1]}) + "\n")
    return sum(promoted)


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the table, and the differences over all data sets."""
    print("\n| data | texts | as it is | auto | best simple | auto found | held out | promoted | calls | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for result in results:
        means = {side: sum(right) / len(right) for side, right in result["right"].items()}
        before, after = result["held_out"]
        cells = [
            result["data"],
            len(result["right"]["auto"]),
            f"{means['as it is']:.2f} ({len(result['right']['as it is'])} texts)",
            f"{means['auto']:.3f}",
            f"{means['simple']:.3f} ({result['simple']})",
            result["chosen"],
            "nothing" if after is None else f"{before:.2f}, {after:.2f} ({result['sizes']['test']} texts)",
            "yes" if result["promoted"] else "no",
            *(result[name] for name in ("calls", "seconds")),
        ]
        print("| " + " | ".join(map(str, cells)) + " |")
    ours = [score for result in results for score in result["right"]["auto"]]
    theirs = [score for result in results for score in result["right"]["simple"]]
    paired = compare_paired(theirs, ours, confidence=0.95, seed=0)
    print(
        f"what auto returned minus the best simple candidate, {len(ours)} texts: {paired.difference:+.3f} "
        f"[{paired.low:+.3f}, {paired.high:+.3f}]"
    )
    real = [result for result in results if result["held_out"][1] is not None and gain_of(result) >= REAL]
    promoted = sum(bool(result["promoted"]) for result in real)
    print(f"gains of {REAL} or more: {len(real)}, promoted: {promoted}")


def gain_of(result: Mapping[str, Any]) -> float:
    """Return by how much what was found is better than the signature as it was: on the texts kept apart, if it was
    measured there, else on the held-out examples.
    """
    before, after = result["held_out"]
    right = result["right"]
    if not result["promoted"]:
        return float(after - before)
    return float(sum(right["auto"]) / len(right["auto"]) - sum(right["as it is"]) / len(right["as it is"]))


def main() -> int:
    """Run what is not finished, and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="minutes of each optimization")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="by which these minutes are counted")
    parser.add_argument("--data", choices=[*DATA_SETS, "all", "none"], default="all")
    parser.add_argument("--examples", type=int, default=160, help="texts to learn from, to choose by and to compare on")
    parser.add_argument("--apart", type=int, default=400, help="texts that are kept apart, at most")
    parser.add_argument("--block", type=int, default=40, help="texts of each data set that are measured in turn")
    parser.add_argument("--end", default="", help="time of the day after which no further block is begun, as 15:40")
    parser.add_argument("--nulls", type=int, default=200, help="optimizations of data without any rule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lm", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/optimize-choice"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    names = {"all": list(DATA_SETS), "none": []}.get(options.data, [options.data])
    with Executor(trackers=[], cache_enabled=False, promotions=False, max_workers=options.workers) as executor:
        runs = [DataSetRun(name, options, executor) for name in names]
        for run in runs:
            started = time.monotonic()
            run.optimize()
            print(f"({run.name}: {time.monotonic() - started:.0f} s)", flush=True)
        if runs:
            print_results(measure_apart(runs, options))
    if options.nulls:
        promoted = null_runs(options.nulls, options.folder)
        flags = [1.0] * promoted + [0.0] * (options.nulls - promoted)
        low, high = score_interval(flags, confidence=0.95, seed=0)
        print(f"promoted falsely: {promoted} of {options.nulls} data sets without a rule [{low:.3f}, {high:.3f}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
