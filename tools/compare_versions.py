"""Run benchmarks of two checkouts in turns and compare every figure that they print.

    python tools/compare_versions.py --before ../older overhead startup
    python tools/compare_versions.py --before ../older --times 7 "batch --rounds 3"
    python tools/compare_versions.py --before ../older --wheels --same-benchmarks startup

Each checkout runs its own ``benchmarks/NAME.py`` with the Python of its own ``.venv``. With ``--wheels`` an environment
is made for each in ``build/compared``: both hold what ``pip install hokusai-kit`` brings, from wheels, among the very
same packages of others. With ``--same-benchmarks`` the files of this checkout measure both sides; that suits those
which know nothing of a version, such as ``startup``.

Lines are matched by words.
A number that is the same in every run is a size, and stays part of the name; a line's other numbers are figures. Shown
for each figure: the median before and now, and the median of the quotients of the turns with its 95% interval, which is
from order statistics: of few turns from the smallest to the largest. Which of the two goes first alternates. ``worse``
marks a figure whose whole interval is above 1.1. A figure written as ``4x`` says how many times faster something is: it
is worse if the interval is below 1 / 1.1.
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last, so that the packages of the environment that runs this go before

from dev import LOCK, adopt_pip_index, find_python, find_uv, install, output_of  # noqa: E402  # after the path is set

_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w.]*\d)")

#: A figure is called worse only if its whole interval is above this.
WORSE = 1.1

Figures = dict[tuple[str, int], float]


class Side(NamedTuple):
    """One of the two versions.

    Args:
        name: how messages call it.
        python: Python of its environment.
        benchmarks: folder of the benchmarks that measure it.
        folder: working folder; not one that holds packages, if those of the environment are meant.
    """

    name: str
    python: Path
    benchmarks: Path
    folder: Path

    @classmethod
    def of_checkout(cls, checkout: Path, benchmarks: Path) -> Side:
        """Return the side whose environment is the ``.venv`` of its checkout."""
        return cls(checkout.name, checkout / ".venv" / "bin" / "python", benchmarks, checkout)


def figures(output: str) -> Figures:
    """Return the numbers of a benchmark's output, by the words of their line and their place in it."""
    found: Figures = {}
    seen: dict[str, int] = defaultdict(int)
    for line in output.splitlines():
        words = " ".join(_NUMBER.sub("#", line).split())
        numbers = [float(number.replace(",", "")) for number in _NUMBER.findall(line)]
        if not numbers or not re.search(r"[A-Za-z]", words):
            continue
        seen[words] += 1
        label = words if seen[words] == 1 else f"{words} ({seen[words]})"
        found |= {(label, place): number for place, number in enumerate(numbers)}
    return found


def compared(before: list[Figures], now: list[Figures]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield each figure's name and its values before and now, a pair for each turn that has both.

    In a name, ``#`` is the figure meant, ``_`` another figure of its line; sizes are written out.
    """
    every = [*before, *now]
    sizes = {key: before[0][key] for key in before[0] if len({figures.get(key) for figures in every}) == 1}
    for words, place in before[0]:
        if (words, place) in sizes:
            continue
        parts = words.split("#")
        between = [
            "#" if at == place else f"{sizes[words, at]:g}" if (words, at) in sizes else "_"
            for at in range(len(parts) - 1)
        ]
        label = parts[0] + "".join(number + part for number, part in zip(between, parts[1:], strict=False))
        key = (words, place)
        pairs = [(old[key], new[key]) for old, new in zip(before, now, strict=True) if key in new and old.get(key)]
        if pairs:
            yield label, pairs


def interval(values: list[float]) -> tuple[float, float]:
    """Return the values between which the median lies with 95%, by their order alone; with few values all of them."""
    ordered, beyond, left_out = sorted(values), 2.0 ** -len(values), 0
    while beyond <= 0.025:  # the chance that no more than so many values are on one side of the median
        left_out += 1
        beyond += math.comb(len(values), left_out) * 2.0 ** -len(values)
    place = max(left_out - 1, 0)
    return ordered[place], ordered[-1 - place]


def run(side: Side, benchmark: str) -> Figures:
    """Run one benchmark of a side and return its figures."""
    name, *arguments = shlex.split(benchmark)
    command = [str(side.python), str(side.benchmarks / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=side.folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        print(f"{side.name}: {benchmark} ended with {done.returncode}", file=sys.stderr)
    return figures(done.stdout)


def wheels_of(uv: str, checkout: Path, folder: Path) -> list[str]:
    """Build the wheels of what ``pip install hokusai-kit`` brings, and return their paths."""
    for project in [checkout, *(path.parent for path in checkout.glob("plugins/*/pyproject.toml"))]:
        install([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(project)])
    return [str(wheel) for wheel in sorted(folder.glob("*.whl"))]


def installed_from_wheels(before: Path) -> list[tuple[Path, Path]]:
    """Make an environment for each version, and return their Pythons and folders, the older first.

    What this version needs of others, as ``requirements.lock`` pins it, is in both.
    """
    python = find_python()
    uv = find_uv(python)
    adopt_pip_index(python)
    made: list[tuple[Path, Path]] = []
    others: list[str] = []
    for name, checkout in (("now", ROOT), ("before", before)):
        folder = ROOT / "build" / "compared" / name
        interpreter = folder / "bin" / "python"
        install([uv, "venv", "--quiet", "--clear", "--python", python, str(folder)])
        wheels = wheels_of(uv, checkout, folder / "wheels")
        wanted = ["--no-deps", *others] if others else ["--constraints", str(LOCK)]
        install([uv, "pip", "install", "--quiet", "--python", str(interpreter), *wanted, *wheels])
        listed = output_of(uv, "pip", "freeze", "--python", interpreter) or ""
        others = [line for line in listed.splitlines() if "==" in line]
        made.insert(0, (interpreter, folder))
    return made


def main() -> None:
    """Run and print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="the older checkout, with its .venv")
    parser.add_argument("--times", type=int, default=7, help="runs of each")
    parser.add_argument("--wheels", action="store_true", help="compare wheels of both among the same packages")
    parser.add_argument("--same-benchmarks", action="store_true", help="measure both with the files of this checkout")
    parser.add_argument("benchmarks", nargs="+", help="names in benchmarks/, each with its arguments")
    options = parser.parse_args()
    before = options.before.resolve()
    files = [(ROOT if options.same_benchmarks else checkout) / "benchmarks" for checkout in (before, ROOT)]
    sides = [Side.of_checkout(checkout, place) for checkout, place in zip((before, ROOT), files, strict=True)]
    if options.wheels:
        made = installed_from_wheels(before)
        sides = [
            side._replace(python=python, folder=folder) for side, (python, folder) in zip(sides, made, strict=True)
        ]
    for benchmark in options.benchmarks:
        results: list[list[Figures]] = [[], []]
        for number in range(options.times):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                results[side].append(run(sides[side], benchmark))
        print(f"\n## {benchmark} ({options.times} times in turns)\n")
        print("| figure | before | now | now / before | 95% |\n| --- | ---: | ---: | ---: | ---: |")
        for label, pairs in compared(results[0], results[1]):
            quotients = [new / old for old, new in pairs]
            middle = [statistics.median(side) for side in zip(*pairs, strict=True)]
            low, high = interval(quotients)
            mark = " worse" if (high < 1 / WORSE if "#x" in label else low > WORSE) else ""
            print(
                f"| {label} | {middle[0]:g} | {middle[1]:g} | {statistics.median(quotients):.3f} | "
                f"{low:.3f} to {high:.3f}{mark} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
