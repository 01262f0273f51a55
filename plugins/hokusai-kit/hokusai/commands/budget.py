"""``hokusai budget``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_figures, print_json, print_table

if TYPE_CHECKING:
    from hokusai_core.plugin_api import BudgetFile

__all__ = ["budget"]

_PICODOLLARS = 10**12

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group()
def budget() -> None:
    """Show what processes have spent that share a budget by a file, and give back what dead ones had reserved."""


@budget.command()
@_file
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show what is spent of the budget in FILE, and what calls under way have reserved.

    What a process had reserved that has died counts as spent, as its calls may have been charged for.
    """
    found = _report(_opened(file))
    if as_json:
        print_json(found)
        return
    spent, usage, dead = found["spent"], found["usage"], found["dead"]
    limit = found["ceilings"].get("cost")
    of_limit = "" if limit is None else f" of {_dollars(limit)}"
    figures = {
        "spent": f"{_dollars(spent)}{of_limit}",
        "  bill unknown": _dollars(found["uncertain"]),
        "  of dead processes": f"{_dollars(dead['cost'])}, {dead['calls']} calls",
        "reserved": f"{_dollars(found['reserved'])} by calls under way",
        "released": _dollars(found["released"]["cost"]),
        "calls": f"{usage['calls']:,}",
        "tokens": f"{usage['input_tokens']:,} + {usage['output_tokens']:,}",
    }
    if found["unpriced"]:
        figures["no price"] = f"{found['unpriced']}; no further call is made"
    print_figures(figures)
    if found["processes"]:
        click.echo()
        columns = ["process", "calls", "reserved", "since", "state"]
        rows = [
            [item["process"], str(item["calls"]), _dollars(item["cost"]), item["since"], item["state"]]
            for item in found["processes"]
        ]
        print_table(columns, rows)


@budget.command()
@_file
@click.option(
    "--unproved",
    is_flag=True,
    help="Also what processes had reserved of which nothing tells whether they are alive.",
)
@json_option
def release(file: Path, unproved: bool, as_json: bool) -> None:
    """Give back what processes had reserved of the budget in FILE that have died.

    Do so once you have seen what the provider has charged: it may be more than was noted here.
    """
    from hokusai_core.plugin_api import BudgetFileError

    opened = _opened(file)
    try:
        given = opened.release(unproved=unproved)
    except BudgetFileError as error:
        raise CommandFailure(str(error)) from None
    found = _report(opened)
    if as_json:
        print_json({"calls": given.calls, "cost": given.cost / _PICODOLLARS})
        return
    click.echo(f"released {_dollars(given.cost / _PICODOLLARS)} of {given.calls} calls")
    left = [item for item in found["processes"] if item["state"] != "under way"]
    if left:
        named = ", ".join(item["process"] for item in left)
        click.echo(f"not released: {named}, of which nothing tells whether they are alive; --unproved does so")


def _opened(path: Path) -> BudgetFile:
    from hokusai_core.plugin_api import BudgetFile, BudgetFileError

    try:
        opened = BudgetFile(path)
        opened.bury_dead()
    except BudgetFileError as error:
        raise CommandFailure(str(error)) from None
    return opened


def _report(file: BudgetFile) -> dict[str, Any]:
    account = file.read(lambda account: account)
    return {
        "file": str(file.path),
        "ceilings": account.ceilings,
        "spent": account.spent / _PICODOLLARS,
        "uncertain": account.uncertain / _PICODOLLARS,
        "reserved": account.under_way / _PICODOLLARS,
        "dead": {"calls": account.dead.calls, "cost": account.dead.cost / _PICODOLLARS},
        "released": {"calls": account.released.calls, "cost": account.released.cost / _PICODOLLARS},
        "usage": account.usage.to_dict(),
        "unpriced": account.unpriced,
        "processes": [
            {
                "process": process.partition("-")[0],
                "calls": amount.calls,
                "cost": amount.cost / _PICODOLLARS,
                "since": _time(amount.since),
                "state": "unproved" if file.is_unproved(process) else "under way",
            }
            for process, amount in account.reserved.items()
        ],
    }


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def _dollars(amount: float) -> str:
    return f"${amount:.4f}" if amount == 0 or amount >= 0.001 else f"${amount:.12f}".rstrip("0")
