"""Commands of authors in a hurry: each is the right one with a line changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from hokusai_core.plugins.component_factory import resolve_target
from hokusai_core.testing.commands import CommandConformance

SOURCE = '''
import click


@click.group(name="mail")
def command():
    """Send mails."""


@command.command()
@click.argument("address")
@click.option("--subject", help="Subject of the mail.")
def send(address, subject):
    """Send a mail."""
    click.echo(f"sent to {address}")


@command.command()
@click.option("--strict", is_flag=True, help="Fail at warnings.")
def check(strict):
    """Check the settings."""
'''

WITH_CLASS = """
class Careless(click.Command):
    def {method}:
        {body}


@command.command(cls=Careless)
"""


@frozen
class Changed:
    """The right command, except for a text."""

    __name__: str
    before: str = ""
    after: str = ""

    @property
    def source(self) -> str:
        assert self.before in SOURCE
        return SOURCE.replace(self.before, self.after, 1) if self.before else SOURCE + self.after


def careless(name: str, method: str, body: str) -> Changed:
    return Changed(name, "\n@command.command()\n@click.argument", WITH_CLASS.format(method=method, body=body)
                   + "@click.argument")  # fmt: skip


class Suite(CommandConformance):
    @pytest.fixture(autouse=True)
    def installed(self, planted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        module = f"mail_{planted.__name__.lower()}"
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / f"{module}.py").write_text(planted.source)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.setattr(type(self), "target", f"{module}:command")
        yield
        sys.modules.pop(module, None)

    @pytest.fixture
    def command(self) -> Any:
        return resolve_target(self.target)


GOOD = Changed("Good")
FAULTS = [
    Changed("IsAFunction", after="\ncommand = lambda: None"),
    Changed("HasNoName", after="\ncommand.name = None"),
    Changed("NameHasASpace", 'name="mail"', 'name="send mail"'),
    Changed("NameShouts", "@command.command()", '@command.command("SEND")'),
    Changed("NameHasUnderscores", "@command.command()", '@command.command("send_mail")'),
    Changed("HasNoHelp", '"""Send mails."""', "pass"),
    Changed("SubcommandHasNoHelp", '"""Send a mail."""', "pass"),
    Changed("OptionHasNoHelp", ', help="Subject of the mail."', ""),
    Changed("FlagHasNoHelp", ', help="Fail at warnings."', ""),
    Changed("OptionIsALetter", '"--subject"', '"-s", "subject"'),
    Changed("OptionIsThereTwice", "def send(", '@click.option("--subject", "too", help="Subject.")\ndef send(too, '),
    Changed("IsACoroutine", "def send(", "async def send("),
    Changed("ImportFails", "import click", "import click\nimport a_module_that_is_not_there"),
    Changed("ImportEndsTheProcess", "import click", "import click\nraise SystemExit(1)"),
    Changed("ImportsMuch", "import click", "import click\nimport numpy"),
    Changed("ImportsMuchForHelp", '"""Send mails."""', '"""Send mails."""\n    import numpy'),
    Changed("Prints", "import click", 'import click\nprint("mail is loaded")'),
    Changed("Warns", "import click", 'import sys\nimport click\nprint("mail is old", file=sys.stderr)'),
    Changed("Writes", "import click", 'import click\nopen("mail.log", "w").close()'),
    Changed("StartsAThread", "import click",
            "import click, threading, time\nthreading.Thread(target=time.sleep, args=[9], daemon=True).start()"),
    Changed("NeedsASettingForHelp", '"""Send mails."""',
            '"""Send mails."""\n    import os\n    os.environ["MAIL_TOKEN_OF_THIS_TEST"]'),
    Changed("TakesAnything", "@command.command()",
            '@command.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})'),
    careless("HelpFails", "format_help(self, ctx, formatter)", "raise KeyError('help')"),
    careless("HelpIsEmpty", "get_help(self, ctx)", "return ''"),
    careless("UnknownOptionsHaveATraceback", "parse_args(self, ctx, args)",
             "raise ValueError(args) if '--no-such-option' in args else SystemExit(0)"),
    careless("UsageErrorsAreFailures", "parse_args(self, ctx, args)", "\n        ".join(
        ["try:", "    return super().parse_args(ctx, args)", "except click.UsageError as error:",
         "    click.echo(error.message)", "    ctx.exit(1)"])),
    careless("UsageErrorsAreSilent", "parse_args(self, ctx, args)", "\n        ".join(
        ["try:", "    return super().parse_args(ctx, args)", "except click.UsageError:", "    ctx.exit(2)"])),
]  # fmt: skip
