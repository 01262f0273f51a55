"""Commands of plugins: mounted, isolated from each other and from help."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from hokusai.usage_advice import command_advice

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Install = Callable[[str, str], None]

WORKING = """
from hokusai_core import Component, hookimpl

@hookimpl
def provide_commands():
    return [
        Component("greet", "greeter_plugin:greet", summary="Greet a person"),
        Component("list", "greeter_plugin:greet", summary="Has the name of a built-in command"),
        Component("lost", "no_such_module:command", summary="Its module is missing"),
        Component("plain", "greeter_plugin:plain", summary="Is no command"),
        Component("crash", "greeter_plugin:crash", summary="Raises"),
        Component("refuse", "greeter_plugin:refuse", summary="Refuses"),
        Component("same", "greeter_plugin:greet", summary="Offered twice"),
    ]

def __getattr__(name):  # what only a command needs is imported with it
    import click
    if name == "greet":
        def greet(whom):
            click.echo(f"Hello {whom}")
        return click.Command("greet", params=[click.Argument(["whom"])], callback=greet)
    if name == "plain":
        return lambda: None
    if name == "crash":
        def crash():
            raise LookupError("nothing there")
        return click.Command("crash", callback=crash)
    if name == "refuse":
        def refuse():
            raise click.ClickException("not today")
        return click.Command("refuse", callback=refuse)
    raise AttributeError(name)
"""

RIVAL = """
from hokusai_core import Component, hookimpl

@hookimpl
def provide_commands():
    return [Component("same", "greeter_plugin:greet", summary="Offered twice")]
"""

BROKEN = "raise RuntimeError('half installed')"


def test_command_of_a_plugin_runs(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    assert hokusai("greet", "Ada").stdout == "Hello Ada\n"
    assert hokusai("greeter_plugin/greet", "Ada").stdout == "Hello Ada\n"
    assert "WHOM" in hokusai("greet", "--help").stdout
    missing = hokusai("greet")
    assert missing.returncode == 2
    assert missing.stderr == "hokusai: Missing argument 'WHOM' (see hokusai greet --help)\n"


def test_built_in_command_keeps_its_name(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    assert "EmailDraft" in hokusai("list").stdout
    assert hokusai("greeter_plugin/list", "Ada").stdout == "Hello Ada\n"
    assert "greeter_plugin/list" in hokusai("--help").stdout


def test_name_that_two_plugins_offer_has_to_be_qualified(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    install("rival_plugin", RIVAL)
    done = hokusai("same", "Ada")
    assert done.returncode == 1
    assert "greeter_plugin/same" in done.stderr
    assert "rival_plugin/same" in done.stderr
    assert hokusai("rival_plugin/same", "Ada").stdout == "Hello Ada\n"
    assert "rival_plugin/same" in hokusai("--help").stdout


def test_command_that_cannot_be_loaded_is_one_line(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    done = hokusai("lost")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no_such_module" in done.stderr
    assert "HOKUSAI_DISABLE_PLUGINS=greeter_plugin" in done.stderr
    assert "is not a command but function" in hokusai("plain").stderr
    assert " lost " in hokusai("--help").stdout


def test_command_that_raises_is_one_line_and_a_traceback_on_request(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    done = hokusai("crash")
    assert done.returncode == 1
    assert done.stderr == "hokusai: unexpected LookupError: nothing there (HOKUSAI_DEBUG=1 shows where)\n"
    assert hokusai("refuse").stderr == "hokusai: not today\n"
    debugged = hokusai("crash", HOKUSAI_DEBUG="1")
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr


def test_plugin_that_fails_costs_help_nothing(hokusai: Command, install: Install) -> None:
    install("greeter_plugin", WORKING)
    install("broken_plugin", BROKEN)
    done = hokusai("--help")
    assert done.returncode == 0
    assert "greet " in done.stdout
    assert "hokusai plugins tells why" in done.stdout
    assert done.stderr == ""
    for variables in ({"HOKUSAI_STRICT_PLUGINS": "1"}, {"HOKUSAI_PLUGINS": "a:b:c"}, {"HOKUSAI_TIMEOUT": "soon"}):
        done = hokusai("--help", **variables)
        assert done.returncode == 0
        assert "new-signature" in done.stdout


def test_plugin_that_fails_is_one_warning_elsewhere(hokusai: Command, install: Install) -> None:
    install("broken_plugin", BROKEN)
    done = hokusai("greet", "Ada")
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()
    assert warning.startswith("hokusai: warning: plugin 'broken_plugin' of broken_plugin 1.0 failed")
    assert error.startswith("hokusai: there is no command 'greet'")


def test_unknown_command_is_guessed(hokusai: Command) -> None:
    done = hokusai("lits")
    assert done.returncode == 2
    assert done.stderr == "hokusai: there is no command 'lits'; did you mean 'list'? (see hokusai --help)\n"
    told = {
        name: command_advice(name, ["SummarizeText"]) for name in ("SummarizeText", "text -> answer", "invoke", "x")
    }
    assert told == {
        "SummarizeText": "; write hokusai run SummarizeText -i field=value",
        "text -> answer": '; write hokusai run "text -> answer" -i field=value',
        "invoke": "; write hokusai run NAME -i field=value",
        "x": "",
    }
    assert "did you mean 'cache'" in hokusai("cahce").stderr
