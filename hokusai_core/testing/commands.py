"""The conformance suite for commands: subclass ``CommandConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyCommand(CommandConformance):
        target = "my_plugin.commands:report"
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from hokusai_core.plugins.component_factory import resolve_target
from hokusai_core.testing.capabilities import Conformance

__all__ = ["CommandConformance"]

#: Imports a command, asks for help of each part, and tells what that has brought along.
_PROGRAM: Final = """
import importlib, json, sys, threading
module, attribute, paths, heavy = json.loads(sys.argv[1])
command = importlib.import_module(module)
for name in attribute.split("."):
    command = getattr(command, name)
from click.testing import CliRunner
codes = [CliRunner().invoke(command, [*path, "--help"]).exit_code for path in paths]
found = [name for name in heavy if name in sys.modules]
found += [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
print(json.dumps([codes, found]))
"""


class CommandConformance(Conformance):
    """Tests that every command passes.

    Attributes:
        target: target of the component, ``"module:attribute"``.
        heavy: modules that take long to import, so that help must do without them.
    """

    target: ClassVar[str] = ""
    heavy: ClassVar[tuple[str, ...]] = ("dspy", "mlflow", "litellm", "pandas", "numpy")

    @pytest.fixture
    def command(self) -> Any:
        """Return the command."""
        return resolve_target(self.target)

    def test_is_a_command(self, command: Any) -> None:
        """``hokusai`` mounts it as a subcommand, under a name that can be typed."""
        import click

        assert isinstance(command, click.Command)
        for path, part in _parts(command):
            assert re.fullmatch(r"[a-z][a-z0-9-]*", part.name or ""), f"{path}: the name {part.name!r} is hard to type"
            assert not inspect.iscoroutinefunction(part.callback), f"{path} is a coroutine function"

    def test_every_part_has_help(self, command: Any) -> None:
        """A subcommand has a one-line help text for listings, and each option has a help text and a long spelling."""
        import click

        for path, part in _parts(command):
            assert part.get_short_help_str().strip(), f"{path} has no help"
            spellings: list[str] = []
            for parameter in part.params:
                if isinstance(parameter, click.Option):
                    spellings += parameter.opts
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    assert parameter.help, f"{path} {'/'.join(parameter.opts)} has no help"
                    assert any(one.startswith("--") for one in parameter.opts), f"{path} {parameter.opts[0]} is cryptic"
            assert len(set(spellings)) == len(spellings), f"{path} has an option twice"

    def test_help_succeeds(self, command: Any) -> None:
        """With exit code 0, for each subcommand as well."""
        from click.testing import CliRunner

        for path, _ in _parts(command):
            done = CliRunner().invoke(command, [*path, "--help"])
            assert (done.exit_code, done.stdout[:6]) == (0, "Usage:"), f"{path} --help: {done.output}"

    def test_an_unknown_option_is_a_usage_error(self, command: Any) -> None:
        """With exit code 2 and no traceback, for each subcommand as well."""
        from click.testing import CliRunner

        for path, part in _parts(command):
            done = CliRunner().invoke(part, ["--no-such-option"])
            assert done.exit_code == 2, f"{path} --no-such-option: {done.output}"
            assert "no-such-option" in done.output

    def test_a_missing_argument_is_a_usage_error(self, command: Any) -> None:
        """With exit code 2, where one is required."""
        from click.testing import CliRunner

        for path, part in _parts(command):
            if any(parameter.required for parameter in part.params):
                done = CliRunner().invoke(part, [])
                assert done.exit_code == 2, f"{path} without arguments: {done.output}"
                assert "Traceback" not in done.output

    def test_help_is_quick(self, command: Any, tmp_path: Path) -> None:
        """Neither import nor help brings anything heavy along, prints, writes or starts threads."""
        module, _, attribute = self.target.partition(":")
        paths = [path for path, _ in _parts(command)]
        argument = json.dumps([module, attribute, paths, self.heavy])
        folder = tmp_path / "working-folder"
        folder.mkdir()
        done = subprocess.run(  # noqa: S603  # this interpreter and a fixed program
            [sys.executable, "-c", _PROGRAM, argument], capture_output=True, text=True, check=False, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        codes, found = json.loads(done.stdout)
        assert set(codes) == {0}
        assert found == []
        assert list(folder.iterdir()) == []


def _parts(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and its subcommands, with the words that lead to them."""
    yield path, command
    for name, part in getattr(command, "commands", {}).items():
        yield from _parts(part, (*path, name))
