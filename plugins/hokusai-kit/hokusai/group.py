"""The command group: its own commands and those of plugins, listed without importing them."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import click

from hokusai.cli_errors import clear_failures, describe
from hokusai.commands import COMMANDS
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.installed import installed

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["CommandGroup"]


class CommandGroup(click.Group):
    """A group whose commands are imported when they are run.

    Components of the kind ``command`` are commands too: under their own name, or as ``plugin/name`` where that name is
    taken. A plugin that fails costs its own commands and no other.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the options before the command."""
        with clear_failures():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with clear_failures():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*COMMANDS, *_plugin_commands(ctx)[0]]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            found: click.Command = getattr(importlib.import_module(module), attribute)
            return found
        from hokusai_core.errors import ComponentNotFoundError

        try:
            command = installed(ctx).plugins.create("command", cmd_name)
        except ComponentNotFoundError:
            return None
        if not isinstance(command, click.Command):
            owner = installed(ctx).plugins.component("command", cmd_name).owner
            kind = type(command).__name__
            raise CommandFailure(
                f"{cmd_name!r} of plugin {owner} is not a command but {kind}; report it to its authors"
            )
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin like this, without importing them."""
        from click.shell_completion import CompletionItem  # only shells ask for it

        summaries = {name: command.summary for name, command in COMMANDS.items()} | _plugin_commands(ctx)[0]
        found = [CompletionItem(name, help=text) for name, text in summaries.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from hokusai.usage_advice import command_advice
            from hokusai_core.plugin_api import did_you_mean

            commands, failed = _plugin_commands(ctx)
            advice = command_advice(name, _signature_names(ctx))
            hint = advice or did_you_mean(name, [*COMMANDS, *commands])
            blame = "; a plugin failed to load, see hokusai plugins" if failed and not hint else ""
            raise click.UsageError(f"there is no command {name!r}{hint}{blame}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])
        offered, failed = _plugin_commands(ctx)
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, _sentence(summary)) for name, summary in offered.items()])
        if failed:
            formatter.write_paragraph()
            formatter.write_text(failed)


def _plugin_commands(ctx: click.Context) -> tuple[dict[str, str], str]:
    """Return the commands of plugins with their summaries, and a sentence where something of a plugin failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # help has one line for all that failed; `hokusai plugins` tells the rest
        try:
            plugins = installed(ctx).plugins
            components = plugins.components("command")
            failures = len(plugins.failures())
        except Exception as error:  # help must work when nothing else does
            return {}, f"Commands of plugins are missing: {describe(error)}"
    short = [component.name for component in components]
    names = {
        component.name
        if short.count(component.name) == 1 and component.name not in COMMANDS
        else component.qualified_name: component.summary
        for component in components
    }
    many = "A plugin has" if failures == 1 else f"{failures} failures of plugins have"
    return names, f"{many} failed; hokusai plugins tells why." if failures == 1 else (
        f"Plugins have failed {failures} times; hokusai plugins tells why." if failures else ""
    )


def _signature_names(ctx: click.Context) -> list[str]:
    """Return the names of the installed signatures, for advice only."""
    try:
        return [*installed(ctx).signatures.names()]
    except Exception:  # a plugin that fails must not hide what was written wrongly
        return []


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
