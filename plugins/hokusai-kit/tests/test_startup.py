"""Help and listings import nothing that they do not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

#: Libraries that take long to import, or that only executions need.
UNWANTED = {
    "asyncio", "concurrent.futures", "dspy", "diskcache", "fastapi", "httpx", "importlib.metadata",
    "importlib_metadata", "litellm", "mlflow", "numpy", "openai", "pydantic", "ray", "rich", "typing_extensions",
    "xllamacpp",
}  # fmt: skip

#: The command, with a line on stderr for each of its modules when it is over.
PROGRAM = """
import sys
from hokusai.start import main
try:
    main()
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def modules_of(environment: dict[str, str], *arguments: str) -> set[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout
    return set(done.stderr.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["list"], ["list", "--json"], ["show", "EmailDraft"], ["plugins"],
        ["run", "--help"], ["doctor", "--help"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nothing_heavy_is_imported(environment: dict[str, str], arguments: list[str]) -> None:
    assert modules_of(environment, *arguments) & UNWANTED == set()


def test_help_imports_no_command(environment: dict[str, str]) -> None:
    modules = modules_of(environment, "--help")
    assert {name for name in modules if name.startswith("hokusai.commands.")} == set()
    assert modules.isdisjoint({"hokusai_diskcache.commands", "hokusai_mlflow.commands"})


def test_doctor_reads_versions_without_importing_what_it_checks(environment: dict[str, str]) -> None:
    program = PROGRAM.replace("    main()", "    main()\nexcept SystemExit:\n    pass")
    command = [sys.executable, "-c", program, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "dspy 3." in done.stdout
    assert "mlflow-skinny 3." in done.stdout
    assert set(done.stderr.splitlines()).isdisjoint({"dspy", "litellm", "mlflow", "xllamacpp"})


def test_help_lists_own_commands_and_those_of_plugins(hokusai: Command) -> None:
    done = hokusai("--help")
    assert done.returncode == 0
    for name in ("list", "show", "run", "batch", "chain", "plugins", "doctor", "new-signature", "cache", "tracking"):
        assert f"\n  {name} " in done.stdout


def test_version(hokusai: Command) -> None:
    assert hokusai("--version").stdout.startswith("hokusai, version 0.")
