"""What users install: wheels and source distributions hold what they must, and work without this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from dev import ROOT, projects

FOLDERS = projects()
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text()) for folder in FOLDERS}
NAMES = {folder: str(project["project"]["name"]) for folder, project in PROJECTS.items()}
MODULES = {folder: str(project["tool"]["uv"]["build-backend"]["module-name"]) for folder, project in PROJECTS.items()}

#: Builds one distribution, as an installer would do it, with the build backend of this environment: no network.
BUILD = """
import sys, uv_build
uv_build.build_wheel(sys.argv[1])
uv_build.build_sdist(sys.argv[1])
"""

#: Imports every module of every distribution, and prints where the packages come from and which modules failed.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
origins, failures = {}, {}
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    origins[name] = package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except Exception as error:
                failures[module.name] = repr(error)
print(json.dumps([origins, failures]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of every project."""
    folder = tmp_path_factory.mktemp("dist")
    # The backend's Python part looks for its program on the PATH.
    environment = {**os.environ, "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])}
    for project in FOLDERS:
        command = [sys.executable, "-c", BUILD, str(folder)]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{NAMES[project]}: {done.stderr}"
    return folder


def wheel_of(built: Path, name: str) -> Path:
    (wheel,) = built.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return wheel


def unwanted(names: list[str]) -> list[str]:
    parts = {"tests", "docs", "benchmarks", "plugins_data", "__pycache__", ".venv", ".git", "contrib"}
    return [name for name in names if parts & set(Path(name).parts) or name.endswith((".pyc", ".gguf", "uv.lock"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES.values())
def test_wheel_holds_the_package_and_nothing_else(built: Path, folder: Path) -> None:
    module = MODULES[folder]
    with zipfile.ZipFile(wheel_of(built, NAMES[folder])) as wheel:
        names = wheel.namelist()
    assert f"{module}/py.typed" in names
    assert not unwanted(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {module}
    sources = {path.relative_to(folder).as_posix() for path in (folder / module).rglob("*.py")}
    assert sources <= set(names)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES.values())
def test_source_distribution_holds_only_its_own_distribution(built: Path, folder: Path) -> None:
    (path,) = built.glob(f"{NAMES[folder].replace('-', '_')}-[0-9]*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"pyproject.toml", "PKG-INFO", f"{MODULES[folder]}/py.typed"} <= set(names)
    assert not unwanted(names)
    assert not [name for name in names if name.startswith("plugins/")]


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with all wheels; it finds the dependencies in ours, but not this repository."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    for wheel in built.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    # A folder that a .pth file names is searched, but the .pth files in it, which lead to our sources, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(python: Path, code: str, *arguments: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code, *arguments], cwd=python.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_core_alone_can_be_imported(built: Path, tmp_path: Path) -> None:
    """No plugin is there, nor any of the sources."""
    with zipfile.ZipFile(wheel_of(built, "hokusai-core")) as archive:
        archive.extractall(tmp_path)
    dependencies = sysconfig.get_path("purelib")
    code = f"""
import sys
sys.path = [path for path in sys.path if not path.startswith({str(ROOT)!r})] + [sys.argv[1], {dependencies!r}]
import hokusai_core
print([getattr(hokusai_core, name) for name in hokusai_core.__all__] and hokusai_core.__file__)
"""
    python = Path(sys.executable)
    assert Path(run(python, code, str(tmp_path))).is_relative_to(tmp_path)


@pytest.mark.slow
def test_every_module_can_be_imported_from_the_wheels(installed: Path) -> None:
    modules = MODULES.values()
    origins, failures = json.loads(run(installed, IMPORT_ALL, *modules))
    assert not failures
    assert not {
        name: origin for name, origin in origins.items() if not Path(origin).is_relative_to(installed.parents[1])
    }


def test_every_entry_point_leads_to_something(installed: Path) -> None:
    code = """
from importlib.metadata import entry_points
points = list(entry_points(group="hokusai"))
points += [point for point in entry_points(group="console_scripts") if point.value.startswith("hokusai")]
print(sorted(point.name for point in points if point.load()))
"""
    plugins = [
        module.removeprefix("hokusai_") for folder, module in MODULES.items() if folder != ROOT
    ]  # and the command
    assert run(installed, code) == repr(sorted(plugins))
