"""Run benchmarks, keep what each has measured in benchmarks/measured, and write docs/benchmarks.md from all of these.

python benchmarks/_record.py startup overhead    # run these
python benchmarks/_record.py                     # write the page only
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "RESULTS", "page_text", "results"]

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "measured"
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
#: What the figures depend on.
_PACKAGES = ("hokusai-core", "dspy", "mlflow-skinny", "litellm")
_INTRODUCTION = """# Benchmarks

<!-- Written by benchmarks/_record.py from benchmarks/measured. Run `make bench ARGS=startup` to measure again. -->

Each benchmark compares Hokusai with what one would use instead, in one run and in turns, so that whatever else the
machine does hits both sides. Read the ratios: the times depend on the machine, and on its load, which stands beside
each. `make bench` runs all of them and writes this page; `make bench ARGS="startup overhead"` runs some. A language
model takes no part unless it is said.
"""


def run(name: str, arguments: list[str]) -> int:
    """Run a benchmark, print what it prints, and keep it; return its exit code."""
    load = os.getloadavg()[0]
    command = [sys.executable, f"benchmarks/{name}.py", *arguments]
    lines: list[str] = []
    with subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if process.returncode not in (0, 1) or not lines:  # 1: over a budget of its own
        return process.returncode or 1
    record = {
        "benchmark": name,
        "command": " ".join(["python", *command[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores",
        "load": round(load, 1),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in _PACKAGES},
        "exit_code": process.returncode,
        "output": "\n".join(lines).strip("\n").split("\n"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return process.returncode


def results() -> list[dict[str, Any]]:
    """Return what was kept, in the order of the names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def page_text() -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION]
    for found in results():
        title, about = _description(found["benchmark"])
        packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
        parts += [
            f"## {found['benchmark'].replace('_', ' ').capitalize()}\n\n{title}\n",
            f"{about}\n" if about else "",
            "```text\n" + "\n".join(found["output"]) + "\n```\n",
            f"`{found['command']}` on {found['date']}: {found['machine']}, load {found['load']}, "
            f"Python {found['python']}, {packages}.\n",
        ]
    return "\n".join(part for part in parts if part)


def _description(name: str) -> tuple[str, str]:
    """Return the first line of the docstring of a benchmark, and its first paragraph."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if not part.startswith((" ", "python "))]
    plain = [re.sub(r"``([^`]+)``", r"`\1`", part) for part in paragraphs]
    return plain[0], plain[1] if len(plain) > 1 else ""


def main(arguments: list[str]) -> int:
    """Run the benchmarks that are named, then write the page; return the highest exit code."""
    codes = [run(name, []) for name in arguments]
    PAGE.write_text(page_text(), encoding="utf-8")
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
