"""CostQuestion: shows the estimate of an optimization, and asks before a dear one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from attrs import frozen

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse

if TYPE_CHECKING:
    from hokusai_teleprompt.estimate import Estimate

__all__ = ["CostQuestion", "has_terminal"]

#: Calls of a model without a known price, above which it asks.
_CALLS = 2_000


def has_terminal() -> bool:
    """Return whether a question can be answered."""
    return sys.stdin.isatty()


@frozen
class CostQuestion:
    """Shows an estimate on standard error. Above a limit it asks whether to begin.

    Args:
        dollars: estimated US dollars above which it asks.
        yes: whether the answer is given beforehand.
        ceilings: ceilings that the user gave. One on cost is an answer as well, and so is one on calls if no price is
            known.
    """

    dollars: float
    yes: bool
    ceilings: Mapping[str, float | None]

    def __call__(self, estimate: Estimate) -> bool:
        """Return whether to begin.

        Raises:
            CommandFailure: the answer is no.
            CommandMisuse: there is no terminal to ask on; names the flags that answer.
        """
        click.echo(f"estimate: {estimate}", err=True)
        limit = self._exceeded(estimate)
        if not limit or self.yes:
            return True
        if not has_terminal():
            raise CommandMisuse(
                f"the estimate ({estimate}) is above {limit}, and there is no terminal to ask on: give --yes to begin, "
                "or a ceiling such as --cost 0.50 or --calls 500"
            )
        if not click.confirm(f"This is above {limit}. Begin?", err=True):
            raise CommandFailure("nothing was called")
        return True

    def _exceeded(self, estimate: Estimate) -> str:
        """Return what the estimate is above of, in words; "" for nothing."""
        if estimate.cost is not None:
            above = self.ceilings.get("cost") is None and estimate.cost > self.dollars
            return f"${self.dollars:g} (--ask-above)" if above else ""
        bounded = any(self.ceilings.get(name) is not None for name in ("calls", "tokens", "cost"))
        return "" if bounded or estimate.calls <= _CALLS else f"{_CALLS:,} calls of a model whose price is not known"
