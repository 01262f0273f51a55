"""Measure the structure of the code: sizes, cycles, the files that a call passes, documented names.

    python tools/measure_structure.py                             # this checkout
    python tools/measure_structure.py --json now.json             # keep the figures
    python tools/measure_structure.py --against before.json       # two columns

To measure another version, run this file with the Python of that checkout's environment and ``--root`` its folder.

A statement is a node of the syntax tree that Python calls a statement, docstrings left out. The complexity of a
function is one more than its decisions (McCabe 1976). "Files" are the distinct files of this repository in which a
function is called, "moves" the calls that lead from one of them into another. Both are counted on the second call of
its kind, so that imports and caches are warm.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# Last on the path, so that the packages of the environment that runs this are the ones that are measured.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tools.import_graph import cycles, import_graph  # needs the line above

DECISIONS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.match_case,
    ast.Assert,
)


# ---------------------------------------------------------------------------------------------------------------- sizes


def packages(root: Path) -> list[Path]:
    """Return the folders of all packages of the repository, the core first."""
    found = [path.parent for group in ("plugins", "contrib") for path in root.glob(f"{group}/*/hokusai*/py.typed")]
    return [root / "hokusai_core", *sorted(found)]


def statements(tree: ast.AST) -> int:
    """Count the statements of a syntax tree, docstrings left out."""
    count = 0
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        count += isinstance(node, ast.stmt) and not text
    return count


def complexity(function: ast.AST) -> int:
    """Return the cyclomatic complexity of a function, those inside it included."""
    decisions = sum(isinstance(node, DECISIONS) for node in ast.walk(function))
    alternatives = sum(len(node.values) - 1 for node in ast.walk(function) if isinstance(node, ast.BoolOp))
    return 1 + decisions + alternatives


def sizes(root: Path) -> dict[str, Any]:
    """Return statements, modules, largest module and most complex function of each package, and of all."""
    result: dict[str, Any] = {}
    for package in packages(root):
        modules: dict[str, int] = {}
        functions: dict[str, int] = {}
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(package.parent).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules[name] = statements(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    functions[f"{name}:{node.name}"] = complexity(node)
        largest = max(modules, key=lambda name: modules[name])
        hardest = max(functions, key=lambda name: functions[name])
        circles = cycles(import_graph(package))
        result[package.name] = {
            "statements": sum(modules.values()),
            "modules": len(modules),
            "largest module": f"{largest} ({modules[largest]})",
            "most complex function": f"{hardest} ({functions[hardest]})",
            "modules in cycles": sum(map(len, circles)),
        }
    return result


# ---------------------------------------------------------------------------------------------------------------- paths


class CallCounter:
    """Counts the calls of this repository's functions, on every thread.

    Args:
        folders: folders whose files count.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._folders = tuple(f"{folder}{os.sep}" for folder in folders)
        self._own: dict[str, bool] = {}
        self._local = threading.local()
        self.files: set[str] = set()
        self.calls = self.moves = 0

    def _is_own(self, file: str) -> bool:
        known = self._own.get(file)
        if known is None:
            known = self._own[file] = file.startswith(self._folders) and f"{os.sep}tests{os.sep}" not in file
        return known

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Profile function of ``sys.setprofile``."""
        if event != "call" or not self._is_own(frame.f_code.co_filename):
            return
        file = frame.f_code.co_filename
        self.calls += 1
        self.files.add(file)
        caller = frame.f_back
        while caller is not None and not self._is_own(caller.f_code.co_filename):
            caller = caller.f_back
        self.moves += caller is not None and caller.f_code.co_filename != file

    @contextmanager
    def counting(self) -> Iterator[CallCounter]:
        """Count what is called inside."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield self
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def count(root: Path, work: Callable[[], Any]) -> dict[str, int]:
    """Return files, moves and calls of a piece of work."""
    counter = CallCounter(packages(root))
    with counter.counting():
        work()
    return {"files": len(counter.files), "moves": counter.moves, "calls": counter.calls}


def paths(root: Path) -> dict[str, dict[str, int]]:
    """Return what each way through the code passes, on a language model that answers at once."""
    from hokusai_core import Executor, SignatureChain
    from hokusai_core.testing.lm import null_lm

    found: dict[str, dict[str, int]] = {}
    number = iter(range(10**6))

    def fresh() -> dict[str, str]:
        return {"question": f"What is {next(number)}?"}

    with Executor(lm=null_lm(), plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.register_signature("Check", "answer -> verdict")
        executor.execute_signature("Ask", fresh())
        found["one miss"] = count(root, lambda: executor.execute_signature("Ask", fresh()))
        same = fresh()
        executor.execute_signature("Ask", same)
        executor.execute_signature("Ask", same)
        found["one hit"] = count(root, lambda: executor.execute_signature("Ask", same))
        executor.execute_batch("Ask", [fresh() for _ in range(11)])
    # Of another executor without a thread yet, hence no timeout: a thread that is there already would not be counted.
    with Executor(lm=null_lm(), plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.register_signature("Check", "answer -> verdict")
        executor.execute_signature("Ask", fresh(), timeout=None)
        found["batch of 11 rows"] = count(root, lambda: executor.execute_batch("Ask", [fresh() for _ in range(11)]))
        chain = SignatureChain().add("Ask", {"question": "question"}).add("Check", {"answer": "Ask.answer"})
        executor.execute_chain(chain, fresh())
        found["chain of 2 steps"] = count(root, lambda: executor.execute_chain(chain, fresh()))
    found["tracked hit"] = _tracked(root, fresh)
    found["compile, labeled, 60 rows"] = _compile(root)
    return found


def _tracked(root: Path, fresh: Callable[[], dict[str, str]]) -> dict[str, int]:
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm

    with Executor(lm=null_lm(), plugins=["mlflow"], trackers=["mlflow"]) as executor:
        executor.register_signature("Ask", "question -> answer")
        same = fresh()
        executor.execute_signature("Ask", same)
        executor.execute_signature("Ask", same)
        return count(root, lambda: executor.execute_signature("Ask", same))


def _compile(root: Path) -> dict[str, int]:
    from hokusai.services.dspy_pipeline_executor import DSPyPipelineExecutor
    from hokusai.services.teleprompt_finetuner import TelepromptFineTuner
    from hokusai_core.testing.lm import null_lm

    rows = [
        {"inputs": {"question": f"What is {number}?"}, "outputs": {"answer": f"It is {number}."}}
        for number in range(60)
    ]
    with DSPyPipelineExecutor(lm=null_lm(), mlflow_tracking=False) as executor:
        executor.register_signature("Ask", "question -> answer")
        tuner = TelepromptFineTuner("labeled_fewshot", executor=executor, progress=False)
        return count(root, lambda: tuner.compile("Ask", rows, metric="accuracy"))


# ---------------------------------------------------------------------------------------------------- public names


def public_names(root: Path) -> dict[str, Any]:
    """Return how many names each public module has, and how many of them a page or the README names."""
    import importlib

    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    result: dict[str, Any] = {}
    for module in ("hokusai_core", "hokusai_core.plugin_api", "hokusai_core.types", "hokusai_core.errors"):
        try:
            names = importlib.import_module(module).__all__
        except ModuleNotFoundError:
            continue
        result[module] = {"names": len(names), "documented in docs/": sum(name in text for name in names)}
    return result


# -------------------------------------------------------------------------------------------------------------- report


def measure(root: Path) -> dict[str, Any]:
    """Return every figure."""
    with tempfile.TemporaryDirectory(prefix="hokusai-structure-") as folder:
        home = Path(folder)
        os.chdir(home)
        os.environ |= {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CACHE_HOME": folder, "XDG_STATE_HOME": folder}
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"}
        return {"packages": sizes(root), "paths": paths(root), "public names": public_names(root)}


def flat(figures: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested figures as one level."""
    result: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name} · ")
        else:
            result[f"{prefix}{name}"] = value
    return result


def table(columns: list[dict[str, Any]], headings: list[str]) -> str:
    """Return the figures as a table in Markdown."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [" | ".join(["| what", *headings]) + " |", "|".join(["| ---", *[" ---:"] * len(headings)]) + " |"]
    lines += [" | ".join([f"| {name}", *[str(column.get(name, "-")) for column in columns]]) + " |" for name in names]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout")
    parser.add_argument("--json", type=Path, help="file to keep the figures in")
    parser.add_argument("--against", type=Path, help="file of figures to compare with")
    options = parser.parse_args()
    kept = options.json.resolve() if options.json else None
    before = json.loads(options.against.read_text(encoding="utf-8")) if options.against else None
    figures = measure(options.root.resolve())
    if kept:
        kept.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    columns = [flat(figures)] if before is None else [flat(before), flat(figures)]
    print(table(columns, ["now"] if before is None else ["before", "now"]))


if __name__ == "__main__":
    main()
