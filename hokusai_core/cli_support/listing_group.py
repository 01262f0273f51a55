"""ListingGroup: a group of commands that runs its command ``list`` where none is named."""

from __future__ import annotations

import click

__all__ = ["ListingGroup"]


class ListingGroup(click.Group):
    """A group whose command ``list`` runs where the first word is not a command.

    ``hokusai logs -n 5`` is ``hokusai logs list -n 5``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line of the group."""
        if not ctx.resilient_parsing and (not args or args[0] not in {*self.commands, *ctx.help_option_names}):
            args = ["list", *args]
        return super().parse_args(ctx, args)
