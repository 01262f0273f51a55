"""The conformance suite for commands: subclass ``CommandConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyCommand(CommandConformance):
        target = "my_plugin.commands:report"
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from hokusai_core.plugins.component_factory import resolve_target

__all__ = ["CommandConformance"]


class CommandConformance:
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
        """``hokusai`` mounts it as a subcommand."""
        import click

        assert isinstance(command, click.Command)
        assert command.name

    def test_every_part_has_help(self, command: Any) -> None:
        """A subcommand has a one-line help text for listings, and each option has a help text."""
        import click

        for path, part in _parts(command, command.name):
            assert part.get_short_help_str().strip(), f"{path} has no help"
            for parameter in part.params:
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    assert parameter.help, f"{path} {'/'.join(parameter.opts)} has no help"

    def test_help_succeeds(self, command: Any) -> None:
        """With exit code 0, for each subcommand as well."""
        from click.testing import CliRunner

        for path, part in _parts(command, command.name):
            done = CliRunner().invoke(part, ["--help"])
            assert (done.exit_code, done.output[:6]) == (0, "Usage:"), f"{path} --help: {done.output}"

    def test_an_unknown_option_is_a_usage_error(self, command: Any) -> None:
        """With exit code 2 and no traceback."""
        from click.testing import CliRunner

        done = CliRunner().invoke(command, ["--no-such-option"])
        assert done.exit_code == 2
        assert "no-such-option" in done.output

    def test_help_is_quick(self) -> None:
        """Importing the command imports nothing heavy: ``hokusai --help`` imports every command."""
        module = self.target.partition(":")[0]
        program = f"import sys, {module}; print(*[name for name in {self.heavy!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout.split() == []


def _parts(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and its subcommands with their paths."""
    yield path, command
    for name, part in getattr(command, "commands", {}).items():
        yield from _parts(part, f"{path} {name}")
