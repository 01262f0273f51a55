"""What plugin discovery costs: this manager, the standard library and pluggy, side by side.

Lays out 0, 10 and 100 extra plugin distributions in a temporary folder and measures each way of finding them in fresh
processes, interleaved, after a first run that warms the file cache and writes the byte code. Shown is the best of
``--repeat`` runs in milliseconds, without the import of the libraries themselves.

    python benchmarks/discovery.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (0, 10, 100)
BUDGET_MS = 40.0

_PRELUDE = """
import sys
sys.path.append(sys.argv[1])
import importlib.metadata, time
import pluggy
import hokusai_core.markers
from hokusai_core.plugins import PluginManager
import hokusai_core.plugins.discovery
started = time.perf_counter()
"""
_CLOSING = "\nprint(time.perf_counter() - started)\n"

WAYS = {
    "list: hokusai_core PluginManager.records()": "PluginManager().records()",
    "list: importlib.metadata.entry_points()": "importlib.metadata.entry_points(group='hokusai')",
    "load all: hokusai_core PluginManager.load()": "PluginManager().load()",
    "load all: pluggy.load_setuptools_entrypoints()": (
        "pluggy.PluginManager('hokusai').load_setuptools_entrypoints('hokusai')"
    ),
}

_MODULE = """
from hokusai_core.markers import hookimpl


@hookimpl
def provide_caches():
    return []
"""


def lay_out(folder: Path, count: int) -> Path:
    """Write ``count`` distributions with one plugin each; their metadata is as long as that of real ones."""
    folder.mkdir()
    for number in range(count):
        name = f"hokusai_extra_{number:03}"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        description = "A line of a description of ordinary length, as in a README.\n" * 150
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: attrs\n\n{description}"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[hokusai]\nextra{number:03} = {name}\n", encoding="utf-8")
        (folder / f"{name}.py").write_text(_MODULE, encoding="utf-8")
    return folder


def measure(code: str, folder: Path) -> float:
    """Return the milliseconds that ``code`` takes in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    program = _PRELUDE + code + _CLOSING
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout) * 1000


def main() -> int:
    """Measure and print the table; exit with 1 where 100 plugins add more than the budget."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=10, help="runs of each cell (10)")
    repeat = parser.parse_args().repeat
    best: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory(prefix="hokusai-discovery-") as temporary:
        folders = {size: lay_out(Path(temporary) / str(size), size) for size in SIZES}
        for turn in range(repeat + 1):
            for way, code in WAYS.items():
                for size, folder in folders.items():
                    taken = measure(code, folder)
                    if turn:  # the first turn only warms
                        best[way, size] = min(taken, best.get((way, size), taken))
    heading = "".join(f"{f'+{size} plugins':>14}" for size in SIZES)
    print(f"{'ms, best of ' + str(repeat):48}{heading}{'added':>10}")
    for way in WAYS:
        cells = "".join(f"{best[way, size]:14.1f}" for size in SIZES)
        print(f"{way:48}{cells}{best[way, SIZES[-1]] - best[way, SIZES[0]]:10.1f}")
    ours = next(iter(WAYS))
    added = best[ours, SIZES[-1]] - best[ours, SIZES[0]]
    verdict = "within" if added < BUDGET_MS else "over"
    print(f"\n{SIZES[-1]} plugins add {added:.1f} ms to listing, {verdict} the budget of {BUDGET_MS:.0f} ms.")
    return 0 if added < BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
