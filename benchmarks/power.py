"""What so many examples can show: how often a comparison finds a true difference, and how often one that is not there.

Two systems answer the same examples; the comparison is that of `hokusai evaluate --against` and of `hokusai optimize`.
Everything is simulated from known truths, so every figure is a share of tries. Prints tables in Markdown.

    python benchmarks/power.py [--tries 2000] [--seed 0]

- right or wrong: the second system loses 10% of the examples and wins 10% and the true difference. Without a difference
  it loses and wins 5%, 15% or 25%; the largest of the three shares is printed;
- scores: the difference of an example has a standard deviation of 0.2;
- held out: how often an optimization of so many examples promotes a true improvement, by the share that it holds out;
- early stopping: 200 rows, looks after every 8, as `--stop early` with 8 workers.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hokusai_evaluate.paired_intervals import mcnemar_exact, melded_interval
from hokusai_evaluate.sequential_test import SequentialTest, end_confidence, look_confidence
from hokusai_evaluate.statistics import compare_paired

SIZES = (20, 60, 100, 200, 1_000)
DIFFERENCES = (0.05, 0.1, 0.2, 0.3)
GAINS = (0.1, 0.15, 0.2, 0.3)
EXAMPLES, SHARES = (100, 160, 200), (0.3, 0.4, 0.5, 0.6)
CONFIDENCE = 0.95
ROWS, STEP = 200, 8

interval = functools.cache(melded_interval)


def right_or_wrong(count: int, wins: float, losses: float, tries: int, seed: int) -> float:
    """Return how often a comparison by right and wrong says "better"."""
    draws = np.random.default_rng(seed).multinomial(count, [wins, losses, 1 - wins - losses], tries)
    better = 0
    for (won, lost, _), times in zip(*np.unique(draws, axis=0, return_counts=True), strict=True):
        # The lower end of the interval is above zero where this is so; a test holds it.
        better += times if won > lost and mcnemar_exact(int(won), int(lost)) <= 1 - CONFIDENCE else 0
    return better / tries


def scores(count: int, difference: float, tries: int, seed: int) -> float:
    """Return how often a comparison by scores says "better"."""
    rng = np.random.default_rng(seed)
    better = 0
    for number in range(tries):
        before = rng.uniform(0.3, 0.7, count)
        after = before + difference + rng.normal(0, 0.2, count)
        better += compare_paired(list(before), list(after), confidence=CONFIDENCE, seed=number).low > 0
    return better / tries


def print_shares(tries: int, seed: int) -> None:
    """Print what an optimization shows, by the share of its examples that it holds out."""
    print("\n| examples | held out | " + " | ".join(f"+{gain:g}" for gain in GAINS) + " |")
    print("|---|---|" + "---|" * len(GAINS))
    for examples in EXAMPLES:
        for share in SHARES:
            count = round(share * examples)
            cells = [f"{right_or_wrong(count, 0.1 + gain, 0.1, 5 * tries, seed):.0%}" for gain in GAINS]
            print(f"| {examples} | {count} ({share:.0%}) | " + " | ".join(cells) + " |", flush=True)


def print_sizes(title: str, null: Callable[[int], float], power: Callable[[int, float], float]) -> None:
    """Print the table of one kind of score."""
    print(f"\n| {title} | false | " + " | ".join(f"+{difference:g}" for difference in DIFFERENCES) + " |")
    print("|---|---|" + "---|" * len(DIFFERENCES))
    for count in SIZES:
        cells = [f"{power(count, difference):.0%}" for difference in DIFFERENCES]
        print(f"| {count:,} | {null(count):.1%} | " + " | ".join(cells) + " |", flush=True)


def early(wins: float, losses: float, tries: int, seed: int) -> tuple[float, float]:
    """Return how often the gate of a stopped test fails, and the share of the calls that it makes."""
    rng = np.random.default_rng(seed)
    failed = asked = 0
    for _ in range(tries):
        draws = rng.random(ROWS)
        gains: NDArray[np.float64] = np.where(draws < wins, 1.0, np.where(draws < wins + losses, -1.0, 0.0))
        test = SequentialTest(0.0, look_confidence(CONFIDENCE), ROWS)
        for start in range(0, ROWS, STEP):
            if test.add(list(gains[start : start + STEP])):
                break
        asked += min(ROWS, start + STEP)
        won, lost = int((gains > 0).sum()), int((gains < 0).sum())
        at_end = interval(won, lost, ROWS, confidence=end_confidence(CONFIDENCE))[1] < 0
        failed += test.side == -1 or (test.side == 0 and at_end)
    return failed / tries, asked / tries / ROWS


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tries, seed = options.tries, options.seed
    print(f"{tries} tries of each, {CONFIDENCE:.0%} intervals: at most {(1 - CONFIDENCE) / 2:.1%} may be false")
    print_sizes(
        "examples, right or wrong",
        lambda count: max(right_or_wrong(count, x, x, 50 * tries, seed) for x in (0.05, 0.15, 0.25)),
        lambda count, difference: right_or_wrong(count, 0.1 + difference, 0.1, tries, seed),
    )
    fewer = max(1, tries // 4)
    print_sizes(
        "examples, scores",
        lambda count: scores(count, 0.0, 5 * tries if count < 1_000 else tries, seed + count),
        lambda count, difference: scores(count, difference, fewer, seed),
    )
    print_shares(tries, seed)
    print("\n| `--stop early`, 200 rows | fails | of the calls |\n|---|---|---|")
    for title, wins, losses in (
        ("the same, 30% of the answers differ", 0.15, 0.15),
        ("worse by 0.1: 0.9 and 0.8", 0.08, 0.18),
        ("worse by 0.2: 0.9 and 0.7", 0.07, 0.27),
        ("worse by 0.2: 0.7 and 0.5", 0.15, 0.35),
        ("worse by 0.2, and right nowhere else", 0.0, 0.2),
        ("better by 0.2: 0.7 and 0.9", 0.27, 0.07),
    ):
        failed, asked = early(wins, losses, tries, seed)
        print(f"| {title} | {failed:.1%} | {asked:.0%} |", flush=True)


if __name__ == "__main__":
    main()
