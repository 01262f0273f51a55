"""Tests that the pages are right about the command and the settings."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hokusai.application_scaffold import example_files
from hokusai.cli import cli
from hokusai.commands import COMMANDS
from hokusai_core import Budget, Executor
from hokusai_core.plugin_api import Artifact, HokusaiSpecs
from hokusai_core.settings import executor_options
from hokusai_redis.testing import RedisProcess

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "plugins" / "hokusai-kit" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Commands of other distributions have pages and tests of their own.
OWN = (*COMMANDS, "cache", "tracking")

CHAIN = """
inputs = ["report"]
[[steps]]
signature = "ExtractInfo"
inputs = { document = "report", info_types = "Key facts" }
"""


def shown_commands() -> list[str]:
    """Return each command line that the pages name outside of sessions, without its comment."""
    lines = []
    for page in PAGES:
        if page.stem == "media":  # its commands are about pictures
            continue
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            lines += [re.split(r"(?:^|  )#", line)[0].strip() for line in block.replace("\\\n", " ").splitlines()]
    return sorted({line for line in lines if re.search(r"\bhokusai (" + "|".join(OWN) + r")\b", line)})


@pytest.fixture
def redis_server() -> Iterator[str]:
    """Return the URL of a Redis server on loopback that is empty and stops after the test."""
    server = RedisProcess().start()
    yield server.url
    server.close()


@pytest.mark.parametrize("line", shown_commands())
def test_command_of_a_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--cache redis" in line:
        monkeypatch.setenv("HOKUSAI_REDIS_URL", request.getfixturevalue("redis_server"))
    for name in ("DATA", "CACHE"):
        monkeypatch.setenv(f"HOKUSAI_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "report.txt").write_text("Revenue rose by 4 percent.", encoding="utf-8")
    (tmp_path / "mail.txt").write_text("The desk arrived today, thank you!", encoding="utf-8")
    (tmp_path / "inputs.json").write_text(
        '{"recipient": "Ann", "subject": "Hello", "key_points": ["one", "two"]}', encoding="utf-8"
    )
    (tmp_path / "signatures.py").write_text(example_files("tickets")["signatures.py"], encoding="utf-8")
    (tmp_path / "weekly.toml").write_text(CHAIN, encoding="utf-8")
    categories = "Praise, Complaint"
    (tmp_path / "mails.csv").write_text(f'body,categories\nThank you!,"{categories}"\n', encoding="utf-8")
    (tmp_path / "tickets.csv").write_text("text\nThank you!\n", encoding="utf-8")
    (tmp_path / "mails.jsonl").write_text(json.dumps({"text": "Thanks!", "categories": categories}), encoding="utf-8")
    with Executor(mode="testing", plugins=["signatures"]) as executor:
        spec = executor.signature("ClassifyText").spec
    Artifact(spec, base=spec, base_name="signatures/ClassifyText").write(tmp_path / "better.json")
    Budget(cost=1, file=tmp_path / "team.budget")
    before, bar, after = line.partition(" | ")
    stdin = (tmp_path / before.removeprefix("cat ")).read_bytes() if bar else None
    words = shlex.split(after or before)
    assert words[0] == "hokusai"
    done = CliRunner().invoke(cli, words[1:], input=stdin)
    assert done.exit_code == 0, done.output
    assert done.output or (tmp_path / "classes.jsonl").stat().st_size


def test_every_command_and_option_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    for name in set(COMMANDS) & set(OWN):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        section = page.partition(f"## `hokusai {name}")[2].partition("\n## ")[0]
        assert section, name
        parts = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        options = [option for part in parts for option in part.params if isinstance(option, click.Option)]
        for option in options:
            assert any(spelling in section for spelling in option.opts), f"{name} {option.opts}"


def test_every_option_of_a_command_of_a_plugin_is_on_a_page() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    context = click.Context(cli)
    others = sorted(set(cli.list_commands(context)) - set(COMMANDS))
    assert {"cache", "feedback", "optimize", "tracking"} <= set(others)
    for name in others:
        command = cli.get_command(context, name)
        assert command is not None
        parts = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for option in [option for part in parts for option in part.params if isinstance(option, click.Option)]:
            spellings = "|".join(re.escape(spelling) for spelling in option.opts)
            assert re.search(rf"(?<![\w-])({spellings})(?![\w-])", pages), f"{name} {option.opts}"


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", page, re.MULTILINE))
    settings = {name: option.default for name, option in executor_options().items() if option.environment}
    assert set(rows) == set(settings)
    for name, default in settings.items():
        shown = rows[name].partition(" / ")[0]
        text = getattr(default, "value", default)
        expected = "none" if text in (None, (), {}) else str(text).lower().removesuffix(".0")
        assert shown == expected, name


def test_every_hook_is_in_the_guide() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(HokusaiSpecs) if name.startswith(("provide_", "on_", "check_", "transform_"))]
    assert len(hooks) > 10
    assert [name for name in hooks if f"`{name}(" not in page] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
