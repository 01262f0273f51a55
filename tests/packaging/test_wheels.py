"""What users install: wheels and source distributions hold what they must, and work without this repository."""

from __future__ import annotations

import json
import os
import shutil
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
    # The templates of new plugins have tests, too.
    return [
        name
        for name in names
        if (parts & set(Path(name).parts) and "hokusai/templates/tests" not in name)
        or name.endswith((".pyc", ".gguf", "uv.lock"))
    ]


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
        module.removeprefix("hokusai_").replace("_", "-") for folder, module in MODULES.items() if folder != ROOT
    ]  # and the command
    # The command brings the signatures that a user has imported.
    assert run(installed, code) == repr(sorted([*plugins, "imported"]))


#: Runs the chain of an installed pack, or of a file, and prints every request that is sent, and what was unpickled.
RUN_CHAIN = """
import json, sys
from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

requests, unpickled, watched = [], [], False

def audit(event, arguments):
    if watched and event == "pickle.find_class":
        unpickled.append(str(arguments))

sys.addaudithook(audit)
lm = null_lm(answers={"note": "short", "topic": "food"})
complete = lm._engine_spec.complete

def recorded(request):
    requests.append([str(request.system), [message.text for message in request.messages]])
    return complete(request)

lm._engine_spec.complete = recorded
with Executor(lm=lm, plugins=["strategies", *sys.argv[2:]], trackers=[]) as executor:
    watched = True
    executor.execute_signature(sys.argv[1], {"report": "we eat"})
    watched = False
print(json.dumps([requests, unpickled]))
"""

MAKE_PACK = """
import sys
from hokusai_core import Executor, SignatureChain
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import TelepromptFineTuner, build_pack

rows = [{"inputs": {"report": f"we eat {number}"}, "outputs": {"topic": "food"}} for number in range(12)]
chain = SignatureChain("Topics", inputs=["report"]).add("Note", {"text": "report"}).add("Judge", {"note": "Note.note"})
with Executor(lm=null_lm(answers={"note": "short", "topic": "food"}), trackers=[]) as executor:
    executor.register_signature("Note", "text -> note")
    executor.register_signature("Judge", "note -> topic")
    tuner = TelepromptFineTuner("bootstrap_fewshot", workdir=False, executor=executor)
    optimized = tuner.compile(chain, rows, "accuracy")
found = optimized.candidate or optimized
assert all(state.demos for state in found.spec.predictors.values())
found.save(sys.argv[1] + "/topics.json")
print(build_pack(sys.argv[1], sys.argv[1], name="chain-pack").path)
"""


def test_an_optimized_chain_in_a_wheel_sends_the_same_bytes_and_unpickles_nothing(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pack = run(installed, MAKE_PACK, str(tmp_path))
    there = json.loads(run(installed, RUN_CHAIN, str(tmp_path / "topics.json")))
    site = next(path for path in installed.parents[1].rglob("site-packages"))
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(site)
    try:
        packed = json.loads(run(installed, RUN_CHAIN, "chain-pack/Topics", "chain-pack"))
    finally:  # other tests share the environment
        for folder in site.glob("chain_pack*"):
            shutil.rmtree(folder)
    assert packed == there
    requests, unpickled = packed
    assert [len(messages) > 1 for _, messages in requests] == [True, True]
    assert unpickled == []
