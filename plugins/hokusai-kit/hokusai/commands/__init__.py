"""The commands of ``hokusai``, one module each. A module is imported only when its command runs."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "LazyCommand"]


class LazyCommand(NamedTuple):
    """A command that help can list without importing it.

    Args:
        module: module that holds it.
        attribute: name of the ``click.Command`` in it.
        summary: one line for help.
    """

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "list": LazyCommand("hokusai.commands.listing", "list_signatures", "List the signatures that are installed."),
    "show": LazyCommand("hokusai.commands.show", "show", "Show a signature: fields, examples, version, owner."),
    "run": LazyCommand("hokusai.commands.run", "run", "Run a signature once."),
    "prompt": LazyCommand("hokusai.commands.prompt", "prompt", "Show what a run would send, and count its tokens."),
    "batch": LazyCommand("hokusai.commands.batch", "batch", "Run a signature on every row of a file."),
    "chain": LazyCommand("hokusai.commands.chain", "chain", "Show and run chains of signatures."),
    "models": LazyCommand("hokusai.commands.models", "models", "List language models, prices and keys."),
    "logs": LazyCommand("hokusai.commands.logs", "logs", "Show, search and rerun past executions."),
    "budget": LazyCommand("hokusai.commands.budget", "budget", "Show what processes have spent that share a budget."),
    "plugins": LazyCommand("hokusai.commands.plugins", "plugins", "Show plugins, their failures and conflicts."),
    "doctor": LazyCommand("hokusai.commands.doctor", "doctor", "Check versions, models, cache, tracker, settings."),
    "config": LazyCommand("hokusai.commands.config", "config", "Show every setting and where it is from."),
    "alias": LazyCommand("hokusai.commands.alias", "alias", "Keep short names for signatures and models."),
    "export": LazyCommand("hokusai.commands.export", "export_signature", "Write a signature as JSON."),
    "import": LazyCommand("hokusai.commands.export", "import_signature", "Keep a signature for this user."),
    "completion": LazyCommand("hokusai.commands.completion", "completion", "Print the completion script of a shell."),
    "init": LazyCommand("hokusai.commands.init", "init", "Start an application."),
    "new-plugin": LazyCommand("hokusai.commands.new_plugin", "new_plugin", "Start a plugin project of any kind."),
    "new-signature": LazyCommand("hokusai.commands.new_plugin", "new_signature", "Start a signature pack project."),
}
