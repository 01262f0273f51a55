"""``hokusai doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_styled

if TYPE_CHECKING:
    from hokusai.doctor_checks import Check

__all__ = ["doctor", "print_checks"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check what an execution needs: versions, plugins, language models, cache, tracker, settings.

    Exit code 1 where something does not work.
    """
    from hokusai.doctor_checks import all_checks

    print_checks(all_checks(installed(ctx)), as_json=as_json)


def print_checks(checks: Iterable[Check], *, as_json: bool) -> None:
    """Print findings as they come, or as one list of JSON.

    Raises:
        CommandFailure: Something does not work.
    """
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            print_styled(f"{check.state:<4}  {check.subject:<9} {check.text}", _STYLES[check.state])
            if check.remedy:
                click.echo(f"{'':<15} -> {check.remedy}")
    if as_json:
        print_json({"checks": [check._asdict() for check in found]})
    failed = sum(check.state == "fail" for check in found)
    if failed:
        raise CommandFailure(f"{failed} of {len(found)} checks failed")
