"""``hokusai doctor``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hokusai import doctor_checks
from hokusai_core.plugin_api import install_command

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Install = Callable[[str, str], None]


def findings(hokusai: Command, **variables: str) -> tuple[list[dict[str, str]], int]:
    done = hokusai("doctor", "--json", **variables)
    found: list[dict[str, str]] = json.loads(done.stdout)["checks"]
    return found, done.returncode


def texts(found: list[dict[str, str]], state: str) -> str:
    return "\n".join(
        f"{item['subject']} {item['text']} -> {item['remedy']}" for item in found if item["state"] == state
    )


def test_healthy_installation(hokusai: Command) -> None:
    done = hokusai("doctor")
    assert done.returncode == 0, done.stdout
    for part in ("python", "dspy 3.", "litellm 1.", "local is ready", "diskcache:", "mlflow:"):
        assert part in done.stdout
    assert all(line.startswith(("ok ", "warn", " ")) for line in done.stdout.splitlines())


def test_settings_are_shown_with_their_source(hokusai: Command) -> None:
    found, _ = findings(hokusai, HOKUSAI_TIMEOUT="5", HOKUSAI_MAX_WORKER="3", HOKUSAI_CACHE_DIR="/nowhere/at/all")
    assert "settings timeout = 5.0 (environment HOKUSAI_TIMEOUT)" in texts(found, "ok")
    assert "HOKUSAI_MAX_WORKER is set" in texts(found, "warn")
    assert "did you mean HOKUSAI_MAX_WORKERS?" in texts(found, "warn")
    assert "HOKUSAI_CACHE_DIR is set" not in texts(found, "warn")


def test_setting_that_cannot_be_used_fails(hokusai: Command) -> None:
    found, code = findings(hokusai, HOKUSAI_TIMEOUT="soon")
    assert code == 1
    assert "HOKUSAI_TIMEOUT='soon': expected a number" in texts(found, "fail")


def test_language_models(hokusai: Command) -> None:
    found, _ = findings(hokusai, HOKUSAI_LM="openai/gpt-5-mini")
    assert "OPENAI_API_KEY is not set" in texts(found, "warn")
    found, _ = findings(hokusai, HOKUSAI_LM="openai/gpt-5-mini", OPENAI_API_KEY="sk-canary-4711")
    assert "HOKUSAI_LM=openai/gpt-5-mini answers" in texts(found, "ok")
    assert "canary" not in json.dumps(found)
    found, _ = findings(hokusai, HOKUSAI_DISABLE_PLUGINS="local")
    assert "no model answers" in texts(found, "warn")
    assert "HOKUSAI_DISABLE_PLUGINS leaves out" in texts(found, "warn")
    assert install_command("hokusai-local") not in texts(found, "warn")
    found, _ = findings(hokusai, HOKUSAI_LOCAL_MODEL="/missing.gguf")
    assert "local cannot serve" in texts(found, "warn")


def test_failing_plugin_fails_with_its_remedy(hokusai: Command, install: Install) -> None:
    install("broken_plugin", "raise RuntimeError('half installed')")
    found, code = findings(hokusai)
    assert code == 1
    assert "broken_plugin failed at import: RuntimeError: half installed" in texts(found, "fail")
    assert "HOKUSAI_DISABLE_PLUGINS=broken_plugin" in texts(found, "fail")


BROKEN_PARTS = """
from hokusai_core import Component, hookimpl

class Tracker:
    def record(self, event): pass
    def flush(self, timeout=None): return True
    async def aflush(self, timeout=None): return True
    def status(self): raise OSError("disk gone")
    def close(self): raise OSError("disk gone")

@hookimpl
def provide_trackers(): return [Component("faulty", Tracker)]

@hookimpl
def provide_validators(): return [Component("gone", "hokusai_core.results:Nothing")]
"""


def test_parts_that_break_are_named_and_leave_the_others_out_of_it(hokusai: Command, install: Install) -> None:
    install("broken_parts", BROKEN_PARTS)
    found, code = findings(hokusai)
    assert code == 1
    assert "validator broken_parts/gone cannot be made" in texts(found, "fail")
    assert "HOKUSAI_DISABLE_PLUGINS=broken_parts" in texts(found, "fail")
    assert "broken_parts/faulty" in texts(found, "warn")
    assert "OSError: disk gone" in texts(found, "warn")
    assert "jsonl; 0 wait" in texts(found, "ok")


def test_cache_that_cannot_be_opened(hokusai: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found, code = findings(hokusai, HOKUSAI_CACHE_DIR=str(tmp_path / "file" / "answers"))
    assert code == 1
    assert "set HOKUSAI_CACHE_DIR to another folder" in texts(found, "fail")


def test_cache_and_trackers_that_are_missing(hokusai: Command) -> None:
    found, _ = findings(hokusai, HOKUSAI_DISABLE_PLUGINS="diskcache,mlflow", HOKUSAI_TRACKERS="mlflow")
    assert "answers are kept in memory only" in texts(found, "warn")
    assert "HOKUSAI_TRACKERS names 'mlflow'" in texts(found, "fail")
    found, _ = findings(hokusai, HOKUSAI_CACHE_ENABLED="0")
    assert "switched off" in texts(found, "ok")


@pytest.mark.parametrize(
    ("requires", "whose"), [("Jinja2 (==3.1.1)", "another project"), ("hokusai-core>=0.1", "an ear")]
)
def test_another_distribution_of_the_same_name_fails(
    hokusai: Command, environment: dict[str, str], tmp_path: Path, requires: str, whose: str
) -> None:
    info = tmp_path / "elsewhere" / "hokusai-1.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hokusai\nVersion: 1.1.0\nRequires-Dist: {requires}\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nhokusai=hokusai.command_line:main\n")
    found, code = findings(hokusai, PYTHONPATH=str(info.parent))
    (told,) = [item for item in found if "it is " + whose in item["text"]]
    assert (told["state"], code) == ("fail", 1)
    assert "hokusai failed at discovery" in told["text"]
    again = install_command("hokusai-kit", options="--force-reinstall --no-deps")
    assert f"pip uninstall hokusai, and {again}" in told["remedy"]


def test_versions_outside_their_range_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hokusai_core.cli_support.installed import Installed

    real = metadata.distribution
    old = tmp_path / "dspy-2.6.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: dspy\nVersion: 2.6.0\n\nVersion: 3.4.1\n")

    def distribution(name: str) -> metadata.Distribution:
        if name == "litellm":
            raise metadata.PackageNotFoundError(name)
        return metadata.Distribution.at(old) if name == "dspy" else real(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    found = [
        check
        for check in doctor_checks.all_checks(Installed())
        if check.state == "fail" and check.subject == "versions"
    ]
    told = {check.text.partition(",")[0]: check for check in found}
    dspy = next(check for text, check in told.items() if text.startswith("hokusai-core needs dspy"))
    assert dspy.text.endswith("but 2.6.0 is installed")
    assert Requirement(dspy.remedy.removeprefix("pip install ").strip("'")).name == "dspy"
    assert any("litellm" in check.text and "it is not installed" in check.text for check in found)


def test_versions_that_were_not_tested_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = doctor_checks._tested()
    assert tested.state == "ok", tested  # this environment is what the smoke tests ran with
    installed = doctor_checks._version
    monkeypatch.setattr(doctor_checks, "_version", lambda name: "9.9" if name == "dspy" else installed(name))
    untested = doctor_checks._tested()
    assert (untested.state, "dspy 9.9 (tested: 3.4.1" in untested.text) == ("warn", True)
    assert untested.remedy
