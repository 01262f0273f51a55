"""The set-up of dev.py: complete environments are reused, half-built ones rebuilt, failures explained.

Everything is real and offline: a small project with one dependency, whose wheel is made here, and the installer that
set up the environment of these tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dev import ROOT, TOOLS

PROJECT = """
[build-system]
requires = ["uv_build>=0.11,<1"]
build-backend = "uv_build"

[project]
name = "{name}"
version = "0.1.0"

[tool.uv.build-backend]
module-root = ""
"""


class Repository:
    """A copy of the task runner with a project of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        for name in ("dev.py", "Makefile"):
            shutil.copy(ROOT / name, root / name)
        self.add_project(".", "toy-core")
        self.write_lock("1.0")

    def add_project(self, folder: str, name: str) -> None:
        package = self.root / folder / name.replace("-", "_")
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (self.root / folder / "pyproject.toml").write_text(PROJECT.format(name=name))

    def write_lock(self, version: str) -> None:
        """Lock the one dependency to a version, and lay its wheel where the installer looks."""
        (self.root / "wheels").mkdir(exist_ok=True)
        wheel = self.root / "wheels" / f"toy_dependency-{version}-py3-none-any.whl"
        info = f"toy_dependency-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("toy_dependency.py", f"version = {version!r}\n")
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-dependency\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.root / "requirements.lock").write_text(f"toy-dependency=={version} --hash=sha256:{digest}\n")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        path = os.pathsep.join([str(TOOLS / "bin"), inherited.get("PATH", "")])
        offline = {"PATH": path, "UV_OFFLINE": "1", "UV_NO_CONFIG": "1", "UV_FIND_LINKS": str(self.root / "wheels")}
        return subprocess.run(
            [sys.executable, "dev.py", *arguments],
            cwd=self.root,
            env={**inherited, **offline, "UV_CACHE_DIR": str(self.root / "cache"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self) -> str:
        """Set up, which must succeed; what was said."""
        done = self.run("install")
        assert done.returncode == 0, done.stderr
        return done.stderr

    def importable(self, expression: str) -> str:
        done = subprocess.run(
            [self.root / ".venv/bin/python", "-I", "-c", f"import toy_dependency; print({expression})"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """One for most tests, each of which finds it installed: an installation takes seconds."""
    made = Repository(tmp_path_factory.mktemp("runner") / "repository")
    made.install()
    return made


@pytest.fixture
def new_repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.mark.slow
def test_unreachable_registry_is_explained_and_the_first_run_that_reaches_it_installs(
    new_repository: Repository,
) -> None:
    done = new_repository.run("install", UV_FIND_LINKS=str(new_repository.root))
    assert done.returncode == 1
    assert "registry could not be reached" in done.stderr
    assert "Traceback" not in done.stderr
    said = new_repository.install()
    assert "creating .venv" in said
    assert "1 packages of requirements.lock" in said
    assert "ready" in said
    assert new_repository.importable("toy_dependency.version") == "1.0"
    assert new_repository.install() == ""


def test_changed_lock_updates_the_environment_in_place(repository: Repository) -> None:
    repository.install()
    repository.write_lock("2.0")
    said = repository.install()
    assert "creating" not in said
    assert repository.importable("toy_dependency.version") == "2.0"


def test_changed_project_file_installs_the_projects_only(repository: Repository) -> None:
    repository.install()
    with (repository.root / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    said = repository.install()
    assert "distributions of this repository" in said
    assert "requirements.lock" not in said


def test_new_and_removed_distributions_are_noticed(repository: Repository) -> None:
    repository.install()
    known = "sorted(found.name for found in __import__('importlib.metadata').metadata.distributions())"
    repository.add_project("plugins/toy-plugin", "toy-plugin")
    repository.install()
    assert repository.importable(known) == "['toy-core', 'toy-dependency', 'toy-plugin']"
    shutil.rmtree(repository.root / "plugins")
    repository.install()
    assert repository.importable(known) == "['toy-core', 'toy-dependency']"


def test_half_built_environment_is_made_anew(repository: Repository) -> None:
    repository.install()
    leftover = repository.root / ".venv" / "leftover"
    leftover.touch()
    (repository.root / ".venv" / ".hokusai-ready.json").unlink()
    assert "creating .venv" in repository.install()
    assert not leftover.exists()


def test_environment_whose_python_is_gone_is_made_anew(repository: Repository) -> None:
    repository.install()
    python = repository.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(repository.root / "no-such-python")
    assert "creating .venv" in repository.install()


def test_moved_repository_gets_an_environment_that_leads_to_its_new_place(
    repository: Repository,
) -> None:
    repository.install()
    repository.root = repository.root.rename(repository.root.with_name("moved"))
    repository.install()
    assert repository.importable("__import__('toy_core').__file__").startswith(str(repository.root))


def test_tampered_package_is_refused(new_repository: Repository) -> None:
    lock = new_repository.root / "requirements.lock"
    lock.write_text(lock.read_text()[:-9] + "00000000\n")
    assert new_repository.run("install").returncode == 1


def test_python_that_cannot_run_is_passed_over(new_repository: Repository, tmp_path: Path) -> None:
    """As a version manager's shim for a version that is not chosen: on the PATH, but refusing."""
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("python3.11", "python3", "python"):
        (shims / name).write_text("#!/bin/sh\necho 'not chosen' >&2\nexit 127\n")
        (shims / name).chmod(0o755)
    code = "import dev, sys; sys.executable = ''; print(dev.find_python())"
    path = os.pathsep.join([str(shims), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=new_repository.root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert str(shims) not in done.stdout
    only_shims = subprocess.run(
        [sys.executable, "-c", code], cwd=new_repository.root, env={"PATH": str(shims)}, capture_output=True, text=True
    )
    assert only_shims.returncode == 1
    assert "no Python from 3.11 to 3.14" in only_shims.stderr


def test_unknown_task_lists_the_tasks() -> None:
    done = subprocess.run([sys.executable, ROOT / "dev.py", "tset"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown task 'tset'" in done.stderr
    assert "test " in done.stderr


def test_make_alone_lists_the_same_tasks_as_the_runner() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    made = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ran = subprocess.run(
        [sys.executable, "dev.py", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert made == ran
    declared = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TASKS"))
    assert set(declared.split(":=")[1].split()) - {"help"} == {
        line.split()[0] for line in ran.splitlines() if line.startswith("  ")
    }


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [([], 0, "dspy    3."), (["numpy=2"], 1, "expected python=VERSION, dspy=VERSION, mlflow=VERSION, not numpy")],
)
def test_versions_lists_what_is_tested_and_refuses_other_names(arguments: list[str], code: int, text: str) -> None:
    command = [sys.executable, "dev.py", "versions", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
