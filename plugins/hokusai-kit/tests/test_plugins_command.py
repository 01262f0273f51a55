"""``hokusai plugins``, with the zoo of broken plugins on the path."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

ZOO = Path(__file__).parents[3] / "tests" / "plugins" / "zoo"


@pytest.fixture
def keep(environment: dict[str, str]) -> Callable[..., None]:
    """Return a function that installs cases of the zoo for the command."""

    def put(*cases: str) -> None:
        folders = [str(ZOO / case) for case in cases]
        environment["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [environment.get("PYTHONPATH")])])

    return put


def report(hokusai: Command, *arguments: str, **variables: str) -> dict[str, Any]:
    done = hokusai("plugins", "--json", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_standard_plugins_and_what_they_offer(hokusai: Command) -> None:
    plugins = {plugin["name"]: plugin for plugin in report(hokusai)["plugins"]}
    assert plugins["signatures"]["signatures"] == 16
    assert plugins["signatures"]["distribution"] == "hokusai-signatures"
    offers = {(item["kind"], item["name"]) for item in plugins["diskcache"]["components"]}
    assert offers == {("cache", "diskcache"), ("command", "cache")}
    table = hokusai("plugins").stdout
    assert table.startswith("PLUGIN ")
    assert "cache diskcache; command cache" in table
    assert "16 signatures" in table


@pytest.mark.parametrize(
    ("case", "plugin", "phase", "cause"),
    [
        ("import-error", "import-error", "import", ""),
        ("system-exit", "system-exit", "import", "SystemExit"),
        ("misspelt-hook", "misspelt-hook", "register", ""),
        ("wrong-arguments", "wrong-arguments", "register", ""),
        ("newer-api", "newer-api", "register", ""),
        ("missing-dependency", "missing-dependency", "import", "ModuleNotFoundError"),
        ("raising-hook", "raising-hook", "provide", ""),
        ("mixed-signatures", "mixed-signatures", "signature", ""),
        ("malformed-entry-points", "", "discovery", ""),
    ],
)
def test_failure_has_cause_and_remedy(
    hokusai: Command, keep: Callable[..., None], case: str, plugin: str, phase: str, cause: str
) -> None:
    keep(case)
    found = report(hokusai)
    failures = [item for item in found["failures"] if "zoo" in item["distribution"] or item["plugin"] == plugin]
    assert failures, found["failures"]
    assert phase in {item["phase"] for item in failures}
    assert all(item["cause"] and item["remedy"] for item in failures)
    assert cause in " ".join(item["cause"] for item in failures)
    assert {"signatures", "local"} <= {item["name"] for item in found["plugins"] if item["state"] == "loaded"}


def test_whole_zoo_at_once_breaks_nothing(hokusai: Command, keep: Callable[..., None]) -> None:
    # Those that are there to hang or to print are tested where they are made.
    cases = sorted(
        path.name for path in ZOO.iterdir() if path.is_dir() and path.name not in ("slow", "keyboard-interrupt")
    )
    keep(*cases)
    done = hokusai("plugins")
    assert done.returncode == 0
    for part in ("Failures: ", "Conflicts: ", "cause:", "remedy:", "HOKUSAI_DISABLE_PLUGINS="):
        assert part in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    listed = hokusai("list")
    assert listed.returncode == 0
    assert "EmailDraft" in listed.stdout
    assert all(line.startswith("hokusai: warning: ") for line in listed.stderr.splitlines())


def test_strict_is_for_scripts(hokusai: Command, keep: Callable[..., None]) -> None:
    assert hokusai("plugins", "--strict", HOKUSAI_PLUGINS="signatures").returncode == 0
    keep("import-error")
    done = hokusai("plugins", "--strict")
    assert done.returncode == 1
    assert "1 failure of plugins" in done.stderr
    assert "remedy:" in done.stdout


def test_conflicts_of_names_are_listed(hokusai: Command, keep: Callable[..., None]) -> None:
    keep("rival-a", "rival-b")
    conflicts = report(hokusai)["conflicts"]
    assert conflicts
    assert all(len(conflict["owners"]) == 2 for conflict in conflicts)
    assert hokusai("plugins", "--strict").returncode == 1


def test_disabled_plugins_are_shown_and_not_imported(hokusai: Command, keep: Callable[..., None]) -> None:
    keep("system-exit")
    found = report(hokusai, HOKUSAI_DISABLE_PLUGINS="system-exit")
    states = {item["name"]: item["state"] for item in found["plugins"]}
    assert states["system-exit"] == "disabled"
    assert [item for item in found["failures"] if item["plugin"] == "system-exit"] == []


def test_strict_loading_still_shows_what_failed(hokusai: Command, keep: Callable[..., None]) -> None:
    keep("import-error")
    failures = report(hokusai, HOKUSAI_STRICT_PLUGINS="1")["failures"]
    assert "import-error" in {item["plugin"] for item in failures}
    done = hokusai("list", HOKUSAI_STRICT_PLUGINS="1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "import-error" in done.stderr
