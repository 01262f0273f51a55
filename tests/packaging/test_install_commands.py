"""Every command that installs a distribution of this project works where the project came from.

Until a release, a name such as ``hokusai-redis`` finds nothing on a registry, or another project's work.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev import ROOT, projects
from hokusai_core.plugin_api import install_command

PAGES = [
    path
    for folder in (ROOT, ROOT / "docs", *(project for project in projects() if project != ROOT))
    for path in folder.glob("*.md")
    if path.name != "CHANGELOG.md"
]
SOURCES = [
    path
    for project in projects()
    for package in project.glob("hokusai*")
    for path in package.rglob("*.py")
    if "tests" not in path.parts and path.name != "install_command.py"
]
BY_NAME = re.compile(r"pip install [^`#]*?(?<![\w/])hokusai-\w+")
FOLDER = re.compile(r"(?<![\w.])\./((?:plugins|contrib)/[\w-]+)")


def wrong_lines(text: str) -> list[str]:
    """Lines that install by name without saying that this is how it will be after a release."""
    commands = (line for line in text.splitlines() if BY_NAME.search(line))
    # In the folder of a new plugin, --group dev is added to an environment that has hokusai-kit.
    return [line for line in commands if "after a release" not in line.lower() and "-e . --group dev" not in line]


def test_pages_install_from_the_clone() -> None:
    assert len(PAGES) > 40
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in PAGES}
    assert {str(path): lines for path, text in texts.items() if (lines := wrong_lines(text))} == {}
    named = {name for text in texts.values() for name in FOLDER.findall(text)}
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / name / "pyproject.toml").is_file()) == []


def test_a_command_that_works_only_after_a_release_is_found() -> None:
    assert wrong_lines("$ pip install hokusai-redis")
    assert wrong_lines("`pip install --upgrade hokusai-core`")
    assert not wrong_lines(
        "$ pip install ./contrib/hokusai-redis    # in the clone; after a release: pip install hokusai-redis"
    )


def literals(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_messages_name_commands_that_work() -> None:
    assert len(SOURCES) > 300
    found = {str(path.relative_to(ROOT)): text for path in SOURCES for text in literals(path) if BY_NAME.search(text)}
    assert found == {}, "write hokusai_core.plugin_api.install_command(...)"


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says where the core was installed from; None for a registry."""

    def set_origin(path: Path | None) -> None:
        text = None if path is None else json.dumps({"url": path.as_uri(), "dir_info": {}})
        core = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: core)

    return set_origin


def test_the_command_names_what_the_core_was_installed_from(origin: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "my wheels" / "hokusai_core-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    origin(ROOT)
    assert install_command("hokusai-redis") == f"pip install {ROOT}/contrib/hokusai-redis"
    assert install_command("hokusai-core>=0.1", options="--upgrade") == f"pip install --upgrade {ROOT}"
    assert install_command("hokusai-mlflow[full]") == f"pip install '{ROOT}/plugins/hokusai-mlflow[full]'"
    assert install_command("pandas>=2", "hokusai-none") == "pip install 'pandas>=2' hokusai-none"
    origin(wheel)
    assert install_command("hokusai-redis") == f"pip install --find-links '{wheel.parent}' hokusai-redis"
    assert install_command("pandas") == "pip install pandas"
    origin(None)
    assert install_command("hokusai-redis") == "pip install hokusai-redis"


def test_an_environment_without_pip_is_given_to_uv(origin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    origin(None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert install_command("hokusai-redis") == f"uv pip install --python {sys.executable} hokusai-redis"
