"""What holds for the repository as a whole: its distributions are named wherever they must be, and nothing leaks."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from dev import ROOT, projects

FOLDERS = projects()
ADD_ONS = [
    folder for folder in FOLDERS if folder.parent.name in ("plugins", "contrib") and folder.name != "hokusai-kit"
]


def project_file(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


ROOT_FILE = project_file(ROOT)
VERSION: str = ROOT_FILE["project"]["version"]
NAMES = {folder: str(project_file(folder)["project"]["name"]) for folder in FOLDERS}
MODULES = {folder: str(project_file(folder)["tool"]["uv"]["build-backend"]["module-name"]) for folder in FOLDERS}
PLUGIN_MODULES = {module for folder, module in MODULES.items() if folder != ROOT}

every_distribution = pytest.mark.parametrize("folder", FOLDERS, ids=NAMES.values())
every_add_on = pytest.mark.parametrize("folder", ADD_ONS, ids=lambda folder: folder.name)


def shared_files() -> list[Path]:
    """All files that are, or would be, part of a commit; of a copy without git all that is no build product."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        names = [Path(name) for name in listed.split("\0") if name]
    else:
        made = {".venv", ".venv.lock", ".tools", "build", "dist", "uv.lock", "__pycache__", ".hypothesis"}
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [
            name
            for name in names
            if not made & set(name.parts) and not any(part.endswith("_cache") for part in name.parts)
        ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def texts(*suffixes: str) -> dict[Path, str]:
    found = {}
    for path in shared_files():
        if path != Path(__file__).resolve() and (not suffixes or path.suffix in suffixes):
            try:
                found[path] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


def lines_with(pattern: str, *suffixes: str) -> list[str]:
    expression = re.compile(pattern, re.IGNORECASE)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in texts(*suffixes).items()
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


# ------------------------------------------------------------------------------------------------------- distributions


@every_distribution
def test_project_file_agrees_with_the_root(folder: Path) -> None:
    project = project_file(folder)["project"]
    for key in ("requires-python", "license", "authors"):
        assert project[key] == ROOT_FILE["project"][key], key
    assert project_file(folder)["build-system"] == ROOT_FILE["build-system"]
    assert "tool" not in project_file(folder) or folder == ROOT or set(project_file(folder)["tool"]) == {"uv"}


@every_distribution
def test_distribution_is_named_after_its_folder_and_complete(folder: Path) -> None:
    package = folder / MODULES[folder]
    if folder != ROOT:
        assert NAMES[folder] == folder.name
    assert project_file(folder)["project"]["readme"] == "README.md"
    assert (folder / "README.md").is_file()
    assert (package / "py.typed").is_file()
    assert "__all__" in assigned_names(package / "__init__.py")


def assigned_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@every_add_on
def test_add_on_has_one_entry_point_and_its_module(folder: Path) -> None:
    module = MODULES[folder]
    entry_points = project_file(folder)["project"]["entry-points"]
    assert entry_points.pop("pytest11", {module: f"{module}.pytest_plugin"}) == {module: f"{module}.pytest_plugin"}
    assert entry_points == {"hokusai": {module.removeprefix("hokusai_").replace("_", "-"): f"{module}.plugin"}}
    assert (folder / module / "plugin.py").is_file()


@every_distribution
def test_siblings_are_required_from_a_version_on_never_up_to_one(folder: Path) -> None:
    project = project_file(folder)["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    for requirement in (Requirement(text) for group in groups for text in group):
        if requirement.name in NAMES.values():
            assert {part.operator for part in requirement.specifier} == {">="}, str(requirement)


@every_distribution
def test_environment_meets_every_requirement(folder: Path) -> None:
    """A requirement that was added without `make lock` shows here, not as an import error somewhere."""
    unmet = []
    for requirement in (Requirement(text) for text in project_file(folder)["project"]["dependencies"]):
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                unmet.append(f"{requirement}: not installed")
            else:
                if not requirement.specifier.contains(version, prereleases=True):
                    unmet.append(f"{requirement}: {version} is installed")
    assert not unmet


def test_root_names_every_distribution_where_it_must() -> None:
    others = set(NAMES.values()) - {NAMES[ROOT]}
    development = {Requirement(text).name for text in ROOT_FILE["dependency-groups"]["dev"]}
    linter = ROOT_FILE["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    assert others <= development
    assert set(ROOT_FILE["tool"]["uv"]["sources"]) == set(NAMES.values())
    assert set(linter["root_packages"]) == PLUGIN_MODULES | {"hokusai_core"}
    assert set(contracts["core-knows-no-plugin"]["forbidden_modules"]) == PLUGIN_MODULES
    assert set(contracts["plugins-use-the-front-door"]["source_modules"]) == PLUGIN_MODULES
    assert set(contracts["plugins-stand-alone"]["modules"]) == PLUGIN_MODULES - {"hokusai"}
    relaxed = {
        module.removesuffix(".*") for entry in ROOT_FILE["tool"]["mypy"]["overrides"] for module in entry["module"]
    }
    assert relaxed >= PLUGIN_MODULES


# ------------------------------------------------------------------------------------------------------- nothing leaks


def test_lock_pins_with_hashes_and_holds_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert "://" not in text
    assert not [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
    assert not [name for name in NAMES.values() if re.search(rf"(?m)^{name}\b", text)]


def test_lock_with_addresses_is_never_shared() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ROOT / "uv.lock" not in shared_files() or not (ROOT / ".git").exists()


def test_no_registry_address_is_written_down() -> None:
    assert not lines_with(
        r"pythonhosted\.org|pypi\.org/simple|artifactory|--(extra-)?index-url|https?://[^\s/@]+@(?!example\.|127\.)"
    )


def test_no_path_of_a_machine_is_written_down() -> None:
    places = {"/root/", r"/home/\w", r"/Users/\w"}
    if ROOT.parent not in (Path("/"), Path(tempfile.gettempdir())):
        places.add(re.escape(f"{ROOT.parent}/"))
    assert not lines_with(rf"(?<![\w.$}}~*>-])({'|'.join(sorted(places))})")


# ------------------------------------------------------------------------------------------------------- what is read


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_changelog_speaks_of_the_current_version() -> None:
    assert re.search(rf"(?m)^## {re.escape(VERSION)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for path, text in texts(".md").items():
        without_code = re.sub(r"(?ms)^ *```.*?^ *```|`[^`\n]*`", "", text)
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", without_code):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken
