"""command: shows which signatures have no examples."""

from __future__ import annotations

import click
from hokusai_core import Executor
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table

__all__ = ["command"]


@click.command("acme-plugin")
@json_option
def command(as_json: bool) -> None:
    """Show the signatures that have no examples."""
    with Executor(mode="testing") as executor:
        names = [name for name in executor.list_signatures() if not executor.signature(name).spec.examples]
    if as_json:
        print_json({"signatures": names})
    else:
        print_table(("signature",), [(name,) for name in names])
