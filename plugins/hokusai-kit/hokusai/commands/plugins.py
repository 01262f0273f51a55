"""``hokusai plugins`` and ``hokusai plugins check``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click

from hokusai.commands.doctor import print_checks
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table, section
from hokusai_core.plugin_api import COMPONENT_HOOKS, install_command

if TYPE_CHECKING:
    from hokusai_core import Component
    from hokusai_core.plugin_api import PluginManager
    from hokusai_core.types import Conflict, PluginFailure, PluginRecord

__all__ = ["plugins"]


@click.group(invoke_without_command=True)
@json_option
@click.option("--strict", is_flag=True, help="Exit with 1 where a plugin failed or names conflict.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, strict: bool) -> None:
    """Show the plugins: state, owner, what they offer, what failed and how to mend it, which names conflict."""
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json, strict)


@plugins.command()
@click.argument("name")
@json_option
def check(name: str, as_json: bool) -> None:
    """Check whether the plugin NAME keeps to the contract: targets, options, imports, examples, conflicts.

    Exit code 1 where something does not; ``warn`` alone is no failure.
    """
    from hokusai.plugin_checks import UnknownPluginError, plugin_checks

    try:
        found = list(plugin_checks(name))
    except UnknownPluginError as error:
        raise CommandMisuse(str(error)) from None
    print_checks(found, as_json=as_json)


def _list(ctx: click.Context, as_json: bool, strict: bool) -> None:
    manager = installed(ctx).plugins
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each failure is in the report
        report = _Report(manager)
    if as_json:
        print_json(report.to_dict())
    else:
        report.print()
    if strict and (report.failures or report.conflicts):
        counts = (len(report.failures), "failure"), (len(report.conflicts), "conflict")
        raise CommandFailure(" and ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts if n) + " of plugins")


class _Report:
    """What the manager says after everything was asked of every plugin."""

    def __init__(self, manager: PluginManager) -> None:
        try:
            self.conflicts: tuple[Conflict, ...] = manager.conflicts()  # asks every plugin for every kind of offer
            self.components = [(kind, item) for kind in COMPONENT_HOOKS for item in manager.components(kind)]
            self.signatures = {pack.owner.plugin: len(pack.signatures) for pack in manager.signature_packs()}
        except ExceptionGroup:
            # Strict loading was asked for by a variable: what failed is among the failures, and nothing was collected.
            self.conflicts, self.components, self.signatures = (), [], {}
        self.records = manager.records()
        self.failures: tuple[PluginFailure, ...] = manager.failures()

    def print(self) -> None:
        if not self.records and not self.failures:
            click.echo(f"hokusai: no plugin is installed; try: {install_command('hokusai-kit')}", err=True)
            return
        rows = [(record.name, record.state, _installed(record), self._offers(record.name)) for record in self.records]
        print_table(("plugin", "state", "distribution", "offers"), rows)
        if self.failures:
            section(f"Failures: {len(self.failures)}")
            for failure in self.failures:
                what = f" ({failure.subject})" if failure.subject else ""
                who = failure.plugin or "?"
                installed = " ".join(part for part in (failure.distribution, failure.version) if part)
                times = f", {failure.count} times" if failure.count > 1 else ""
                click.echo(f"{who}  {installed}  failed at {failure.phase}{what}{times}")
                click.echo(f"  cause:  {failure.reason}")
                click.echo(f"  remedy: {failure.remedy}")
        if self.conflicts:
            section(f"Conflicts: {len(self.conflicts)}")
            for conflict in self.conflicts:
                click.echo(str(conflict))

    def _offers(self, plugin: str) -> str:
        count = self.signatures.get(plugin, 0)
        parts = [f"{count} signature{'s' if count != 1 else ''}"] if count else []
        names: dict[str, list[str]] = {}
        for kind, component in self._components_of(plugin):
            names.setdefault(kind.replace("_", " "), []).append(component.name)
        parts += [f"{kind} {', '.join(found)}" for kind, found in names.items()]
        return "; ".join(parts) or "-"

    def _components_of(self, plugin: str) -> list[tuple[str, Component]]:
        return [
            (kind, component)
            for kind, component in self.components
            if component.owner is not None and component.owner.plugin == plugin
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "plugins": [
                {
                    "name": record.name,
                    "state": record.state,
                    "distribution": record.distribution,
                    "version": record.version,
                    "target": record.target,
                    "origin": record.origin,
                    "signatures": self.signatures.get(record.name, 0),
                    "components": [
                        {"kind": kind, "name": component.name, "summary": component.summary}
                        for kind, component in self._components_of(record.name)
                    ],
                }
                for record in self.records
            ],
            "failures": [
                {
                    "plugin": failure.plugin,
                    "distribution": failure.distribution,
                    "version": failure.version,
                    "phase": failure.phase,
                    "subject": failure.subject,
                    "cause": failure.reason,
                    "remedy": failure.remedy,
                    "count": failure.count,
                }
                for failure in self.failures
            ],
            "conflicts": [
                {"kind": conflict.kind, "name": conflict.name, "owners": [str(owner) for owner in conflict.owners]}
                for conflict in self.conflicts
            ],
        }


def _installed(record: PluginRecord) -> str:
    return " ".join(part for part in (record.distribution, record.version) if part) or record.origin
