"""Mypy and pyright agree on what a user's editor infers, and neither finds an error that is not marked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).with_name("user_code.py")
ROOT = Path(__file__).parents[2]
#: What the type checker knows of the core and of the standard library, from one run to the next.
TYPES = ROOT / ".mypy_cache" / "tests"


@pytest.mark.slow
def test_mypy_infers_what_users_are_promised() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(TYPES), str(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pyright_infers_what_users_are_promised(tmp_path: Path) -> None:
    settings = {
        "include": [str(CODE)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "reportUnnecessaryTypeIgnoreComment": True,
        "enableTypeIgnoreComments": False,
        "pythonVersion": "3.11",
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--project", str(project), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
