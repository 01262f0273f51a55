#!/usr/bin/env python3
"""The task runner of this repository: `make test` and `python3 dev.py test` are the same thing.

It needs a Python from 3.11 on and pip, nothing else; everything that it installs goes into `.venv` and `.tools` in this
folder. An environment that is complete and up to date is used as it is; one that an interrupted run left behind is made
anew; one whose lock or project files have changed is brought up to date.
"""

# Only the standard library, and no syntax newer than Python 3.8: an older `python3` gets as far as a clear message, or
# to the newer Python that is installed beside it.
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".hokusai-ready.json"  # written last, so that its presence means a complete environment
TOOLS = ROOT / ".tools"
LOCK = ROOT / "requirements.lock"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
OLDEST_UV = (0, 11)
#: The versions that the smoke tests have passed with; `hokusai doctor` reads it.
TESTED = ROOT / "plugins" / "hokusai-kit" / "hokusai" / "tested_versions.json"
#: What the smoke tests need, and the tests: executions, streams, strategies, batches, a cache, MLflow, an evaluation.
TEST_TOOLS = ("pytest", "hypothesis", "sybil", "jsonschema")
#: Prints the versions that are installed.
INSTALLED = """
import json, sys
from importlib.metadata import version
python = ".".join(map(str, sys.version_info[:2]))
print(json.dumps({"python": python, "dspy": version("dspy"), "mlflow": version("mlflow-skinny")}))
"""
SMOKE = (
    "tests/execution/test_results.py",
    "tests/execution/test_streaming.py",
    "tests/execution/test_strategies.py",
    "tests/batch/test_journal.py",
    "tests/contract/test_guide.py",
    "plugins/hokusai-diskcache/tests/test_conformance.py",
    "plugins/hokusai-mlflow/tests/test_conformance.py",
    "plugins/hokusai-evaluate/tests/test_metric_conformance.py",
)

ENVIRONMENT = {
    # Remote price lists and usage reports: unwanted in tests, and a hang at start where the network is closed.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # Workers of a cluster use this environment instead of building one each.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Everything goes into folders of this repository, so pip's warning about running as root says nothing here.
    "PIP_ROOT_USER_ACTION": "ignore",
}


def say(text: str) -> None:
    """Report a step on stderr, so that the output of the task itself stays clean."""
    print(f"hokusai: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    """End with a message and exit code 1."""
    say(text)
    raise SystemExit(1)


# ------------------------------------------------------------------------------------------------ the tools of a set-up


def output_of(*command: str | Path) -> str | None:
    """What a command prints, or None if it cannot run or fails."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version_in(text: str | None) -> tuple[int, int] | None:
    """The first `major.minor` in a text."""
    found = re.search(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None


def find_python() -> str:
    """The interpreter for the environment: the one that runs this file if it is new enough, else the first that works.

    Every candidate is started, not only looked up: a version manager's shim exists also for versions that it refuses.
    """
    numbered = [f"python3.{minor}" for minor in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1)]
    for name in [sys.executable, *numbered, "python3", "python"]:
        path = shutil.which(name) if name else None
        version = (
            version_in(output_of(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")) if path else None
        )
        if path and version and OLDEST_PYTHON <= version <= NEWEST_PYTHON:
            return path
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST_PYTHON, NEWEST_PYTHON))
    stop(
        f"no Python from {oldest} to {newest} was found on the PATH; install one and run this again "
        f"(make PYTHON=/path/to/python{oldest} ... picks one)"
    )


def find_uv(python: str) -> str:
    """The installer: a recent `uv` from the PATH, else one of our own in `.tools`."""
    for candidate in (shutil.which("uv"), str(TOOLS / "bin" / "uv")):
        version = version_in(output_of(candidate, "--version")) if candidate else None
        if candidate and version and version >= OLDEST_UV:
            return candidate
    say("installing uv, the package installer, into .tools")
    if output_of(python, "-m", "pip", "--version") is None:
        stop(
            f"{python} has no pip, which is needed to install uv: install pip (Debian and Ubuntu: apt install "
            "python3-pip) or uv itself, and run this again"
        )
    # Into a folder rather than a virtual environment: that works where the `ensurepip` module is split off.
    shutil.rmtree(TOOLS, ignore_errors=True)
    requirement = f"uv>={OLDEST_UV[0]}.{OLDEST_UV[1]}"
    install(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(TOOLS), requirement]
    )
    return str(TOOLS / "bin" / "uv")


def install(command: list[str]) -> None:
    """Run an installing command; if it fails, end with what to do about it."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        stop(
            "the set-up did not finish; the reason is above. If the package registry could not be reached: check the "
            "network, and the index if you use one of your own (PIP_INDEX_URL, UV_DEFAULT_INDEX), then run the same "
            "command again. What was downloaded is kept."
        )


def adopt_pip_index(python: str) -> None:
    """Let uv use the registry that pip is set to; uv reads none of pip's settings."""
    if not os.environ.keys() & {"UV_DEFAULT_INDEX", "UV_INDEX_URL"}:
        index = os.environ.get("PIP_INDEX_URL") or output_of(python, "-m", "pip", "config", "get", "global.index-url")
        if index:
            os.environ["UV_DEFAULT_INDEX"] = index


# ------------------------------------------------------------------------------------------------------ the environment


def projects() -> list[Path]:
    """The folders of all distributions, the core first."""
    return [
        ROOT,
        *sorted(path.parent for group in ("plugins", "contrib") for path in ROOT.glob(f"{group}/*/pyproject.toml")),
    ]


def wanted_state() -> dict[str, str]:
    """What the environment is made from; it is up to date while this equals the stamp."""
    folders = projects()
    names = "\n".join(str(folder) for folder in folders)  # with the root: scripts hold absolute paths
    return {
        "packages": hashlib.sha256(LOCK.read_bytes() + names.encode()).hexdigest(),
        "projects": hashlib.sha256(
            b"".join((folder / "pyproject.toml").read_bytes() for folder in folders)
        ).hexdigest(),
    }


def present_state() -> dict[str, str]:
    """The state that the stamp records; empty when there is no complete environment."""
    try:
        state = json.loads(STAMP.read_text()) if VENV_PYTHON.exists() else {}
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time change the environment."""
    import fcntl

    with (ROOT / ".venv.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another run that is setting up .venv")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sync() -> None:
    """Make `.venv` hold exactly what the lock lists, and this repository's distributions as editable installs."""
    if present_state() == wanted_state():
        return
    with alone():
        present, wanted = present_state(), wanted_state()
        if present == wanted:
            return
        started = time.monotonic()
        python = find_python()
        uv = find_uv(python)
        adopt_pip_index(python)
        # A terminal shows the installer's progress bars; a log gets our lines only.
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        STAMP.unlink(missing_ok=True)
        if not present:
            say(f"creating .venv with {python}")
            install([uv, "venv", "--quiet", "--clear", "--python", python, str(VENV)])
        if present.get("packages") != wanted["packages"]:
            count = sum(1 for line in LOCK.read_text().splitlines() if "==" in line)
            say(
                f"installing the {count} packages of requirements.lock (the first time: some minutes on a slow network)"
            )
            target = ["--python", str(VENV_PYTHON)]
            install([uv, "pip", "sync", *quiet, *target, "--require-hashes", str(LOCK)])
        say(f"installing the {len(projects())} distributions of this repository as editable")
        editable = [part for folder in projects() for part in ("--editable", str(folder))]
        install([uv, "pip", "install", *quiet, "--python", str(VENV_PYTHON), "--no-deps", *editable])
        STAMP.write_text(json.dumps(wanted))
        say(f"the environment is ready ({time.monotonic() - started:.0f} s)")


# ------------------------------------------------------------------------------------------------------------ the tasks


def become(*command: str | Path) -> NoReturn:
    """Replace this process: signals and the exit code reach the task without a go-between."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(str(command[0]), [str(part) for part in command])


def run_each(commands: list[list[str]]) -> None:
    """Run all commands, then fail if one of them failed: one run shows everything there is to mend."""
    failed = []
    for command in commands:
        say("$ " + " ".join([Path(command[0]).name, *command[1:]]))
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(Path(command[0]).name + " " + " ".join(command[1:2]))
    if failed:
        stop("failed: " + ", ".join(failed))


def demo(arguments: list[str]) -> None:
    """Show on the embedded language model what Hokusai does."""
    sync()
    become(VENV_PYTHON, ROOT / "examples" / "demo.py", *arguments)


def in_parallel() -> list[str]:
    """The arguments that let pytest run tests in several processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One process more than cores, as many tests wait for a server or for another process. A page or a file stays with
    # one process, as its parts build on each other; conftest.py puts the files in order.
    return [f"--numprocesses={min(cores, 4) + 1}", "--dist=loadfile", "--no-loadscope-reorder"]


def test(arguments: list[str]) -> None:
    """Run the tests, all of them unless arguments for pytest follow."""
    sync()
    become(VENV_PYTHON, "-m", "pytest", *(arguments or in_parallel()))


def lint(arguments: list[str]) -> None:
    """Check format, lint, types and import direction."""
    sync()
    tools = VENV / "bin"
    packages = [
        str(path.parent.relative_to(ROOT)) for folder in projects() for path in sorted(folder.glob("hokusai*/py.typed"))
    ]
    # A file of tests is a module inside the folder of its distribution.
    os.environ["MYPYPATH"] = os.pathsep.join(str(folder) for folder in [*projects(), ROOT / "benchmarks"])
    mypy = [str(tools / "mypy"), "--explicit-package-bases"]
    suites = [str(path.relative_to(ROOT)) for folder in projects()[1:] for path in sorted(folder.glob("tests"))]
    run_each(
        [
            [str(tools / "ruff"), "format", "--check", *arguments],
            [str(tools / "ruff"), "check", *arguments],
            [str(tools / "mypy"), "dev.py", "tools", *packages],
            [*mypy, "tests", "benchmarks", "examples", "conftest.py"],
            # Each by itself: two distributions have files of tests with one name.
            *([*mypy, suite] for suite in suites),
            [str(tools / "lint-imports")],
        ]
    )


def soak(arguments: list[str]) -> None:
    """Run the tests that are marked soak: the full counts of tests that otherwise run with smaller ones."""
    sync()
    become(VENV_PYTHON, "-m", "pytest", "-m", "soak", *arguments)


def coverage(arguments: list[str]) -> None:
    """Run the tests and say which lines none of them runs; fails below the floor in pyproject.toml."""
    sync()
    measure = ["--cov", "--cov-report=term:skip-covered"]
    test([*measure, *in_parallel(), *arguments])


def docs(arguments: list[str]) -> None:
    """Build the documentation site, and run every code block of the documentation."""
    sync()
    run_each([[str(VENV_PYTHON), "tools/build_site.py"]])
    pages = [name for name in ("README.md", "CONTRIBUTING.md", "docs") if (ROOT / name).exists()]
    become(VENV_PYTHON, "-m", "pytest", *pages, *arguments)


def site(arguments: list[str]) -> None:
    """Build the documentation site into build/site, without a network."""
    sync()
    become(VENV_PYTHON, ROOT / "tools" / "build_site.py", *arguments)


def output(arguments: list[str]) -> None:
    """Run the commands of the pages, and write what they print below them: all pages unless some are named."""
    sync()
    os.environ["HOKUSAI_WRITE_OUTPUT"] = "1"
    pages = arguments or [
        str(path.relative_to(ROOT))
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        if "```console" in path.read_text(encoding="utf-8")
    ]
    become(VENV_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *pages)


def reference(arguments: list[str]) -> None:
    """Write docs/reference, docs/schemas, contract/ and the picture of the architecture from the code."""
    sync()
    names = ("write_reference", "write_schemas", "draw_architecture", "write_contract")
    run_each([[str(VENV_PYTHON), f"tools/{name}.py", *arguments] for name in names])


def versions(arguments: list[str]) -> None:
    """Run smoke tests with other versions: python=3.12 (or a path) dspy=3.4.1 mlflow=3.17.2; alone, list the tested."""
    known = json.loads(TESTED.read_text())
    if not arguments:
        print("\n".join(f"{name:<7} {', '.join(found)}" for name, found in known.items()))
        return
    wanted = dict(part.partition("=")[::2] for part in arguments)
    unknown = [name for name, version in wanted.items() if name not in known or not version]
    if unknown:
        stop(f"expected {', '.join(f'{name}=VERSION' for name in known)}, not {' '.join(unknown)}")
    python = find_python()
    uv = find_uv(python)
    adopt_pip_index(python)
    label = re.sub(r"[^\w.]+", "-", " ".join(f"{name}{version}" for name, version in sorted(wanted.items())))
    folder = ROOT / "build" / "versions" / label
    install([uv, "venv", "--quiet", "--clear", "--python", wanted.pop("python", python), str(folder)])
    pins = [f"{name}=={version}" for name, version in wanted.items() if name != "mlflow"]
    # The tracker brings mlflow-skinny, whose versions are those of mlflow.
    pins += [f"mlflow-skinny=={wanted['mlflow']}"] if "mlflow" in wanted else []
    editable = [
        part for project in projects() if project.parent.name != "contrib" for part in ("--editable", str(project))
    ]
    interpreter = folder / "bin" / "python"
    install([uv, "pip", "install", "--quiet", "--python", str(interpreter), *editable, *TEST_TOOLS, *pins])
    smoke = [path for path in SMOKE if (ROOT / path).exists()]
    run_each([[str(interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", *smoke]])
    passed = json.loads(output_of(interpreter, "-c", INSTALLED) or "{}")
    for name, version in passed.items():
        known[name] = sorted({*known[name], version}, key=lambda text: [int(part) for part in re.findall(r"\d+", text)])
    TESTED.write_text(json.dumps(known, indent=2) + "\n")
    say(f"tested: {', '.join(f'{name} {version}' for name, version in passed.items())}")


def bench(arguments: list[str]) -> None:
    """Run the benchmarks, all of them unless names follow, and write docs/benchmarks.md."""
    sync()
    found = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    unknown = [name for name in arguments if name not in found]
    if unknown:
        stop(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(found) or 'none'})")
    become(VENV_PYTHON, ROOT / "benchmarks" / "_record.py", *(arguments or found))


def lock(arguments: list[str]) -> None:
    """Resolve the dependencies again and write requirements.lock (--upgrade: to the newest versions)."""
    python = find_python()
    uv = find_uv(python)
    adopt_pip_index(python)
    install([uv, "lock", "--quiet", *arguments])
    shape = ["--all-packages", "--no-emit-workspace", "--no-header", "--no-annotate"]
    fresh = LOCK.with_suffix(".new")
    install([uv, "export", "--quiet", "--frozen", *shape, "--output-file", str(fresh)])
    text = fresh.read_text()
    fresh.unlink()
    # An address would tie every user to one registry.
    if "://" in text:
        stop("the new lock would hold addresses, so requirements.lock was left as it is; look for direct references")
    LOCK.write_text(text)
    say("requirements.lock is written; run the tests before you commit it")


def clean(arguments: list[str]) -> None:
    """Remove the environment, the installed tools and every cache."""
    caches = [
        path for pattern in ("__pycache__", ".*_cache") for path in ROOT.rglob(pattern) if VENV not in path.parents
    ]
    for path in [VENV, TOOLS, ROOT / "build", ROOT / "dist", ROOT / ".hypothesis", *caches]:
        shutil.rmtree(path, ignore_errors=True)
    (ROOT / ".venv.lock").unlink(missing_ok=True)


def install_only(arguments: list[str]) -> None:
    """Create or update .venv and do nothing else."""
    sync()


TASKS = {
    "demo": demo,
    "test": test,
    "soak": soak,
    "coverage": coverage,
    "lint": lint,
    "docs": docs,
    "site": site,
    "output": output,
    "reference": reference,
    "versions": versions,
    "bench": bench,
    "install": install_only,
    "lock": lock,
    "clean": clean,
}


def usage() -> str:
    """The list of tasks."""
    lines = [f"  {name:<9} {(task.__doc__ or '').splitlines()[0]}" for name, task in TASKS.items()]
    return "\n".join(["usage: make TASK [ARGS='...']   or   python3 dev.py TASK [arguments]", "", *lines])


def main(arguments: list[str]) -> None:
    """Run one task."""
    if os.name == "nt":
        stop("Linux and macOS are supported; on Windows use the Windows Subsystem for Linux")
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(usage())
        return
    task = TASKS.get(arguments[0])
    if task is None:
        stop(f"unknown task {arguments[0]!r}\n{usage()}")
    # Without compiled files every start of a process is several times slower.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # An environment that is active does not belong to this project.
    os.environ.pop("VIRTUAL_ENV", None)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    task(arguments[1:])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
