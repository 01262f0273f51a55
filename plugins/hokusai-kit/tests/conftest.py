"""The command in a process of its own, with folders of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.warm_python import COMMAND, WarmPython

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment without settings, and with a home that is new."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOKUSAI_", "MLFLOW_"))}
    home = tmp_path / "home"
    home.mkdir()
    kept.pop("OPENAI_API_KEY", None)
    # The cache of the user stays: the weights of the embedded model are prepared there once for the machine.
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folders = {"HOME": home, "XDG_DATA_HOME": home / ".local", "HOKUSAI_CACHE_DIR": home / "answers"}
    return kept | {"XDG_CACHE_HOME": caches} | {name: str(path) for name, path in folders.items()}


@pytest.fixture
def hokusai(environment: dict[str, str], tmp_path: Path, warm_python: WarmPython) -> Command:
    """Return a function that runs the command and returns what it printed and its exit code.

    Keyword arguments in capitals are environment variables; ``stdin`` is what it reads.
    """

    def run(*arguments: str, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess[str]:
        return warm_python.run(COMMAND, *arguments, stdin=stdin, env=environment | variables, cwd=tmp_path)

    return run


@pytest.fixture
def install(environment: dict[str, str], tmp_path: Path) -> Callable[[str, str], None]:
    """Return a function that installs a plugin for the command: a module, its metadata and its entry point."""
    site = tmp_path / "site"
    environment["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [environment.get("PYTHONPATH")])])

    def put(name: str, source: str) -> None:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[hokusai]\n{name} = {name}\n", encoding="utf-8")

    return put
