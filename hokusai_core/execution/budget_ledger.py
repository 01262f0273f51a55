"""Where a budget keeps its account: what such a ledger does, and the one in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from hokusai_core.execution.account import Account
from hokusai_core.process import fork_callbacks

__all__ = ["BudgetFileError", "BudgetLedger", "MemoryLedger"]

T = TypeVar("T")


class BudgetFileError(Exception):
    """The file of a budget cannot be used; says why, and what to do."""


class BudgetLedger(Protocol):
    """Keeps an account."""

    #: The name of this process in the account.
    process: str

    def now(self) -> float:
        """Return the time, by the clock of the account."""
        ...

    def read(self, look: Callable[[Account], T]) -> T:
        """Return what ``look`` finds in the account."""
        ...

    def change(self, apply: Callable[[Account], T]) -> T:
        """Return what ``apply`` returns, which may change the account."""
        ...

    def bury_dead(self) -> bool:
        """Note which processes have died; return whether any has."""
        ...


class MemoryLedger:
    """Keeps an account for this process alone. A forked child goes on with a copy of its own.

    Args:
        ceilings: those of the budget.
    """

    process = "here"

    def __init__(self, ceilings: dict[str, float | None]) -> None:
        self._account = Account(ceilings=ceilings)
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        for process in list(self._account.reserved):  # this process does not hear what they cost
            self._account.bury(process)

    def now(self) -> float:
        """Return the time, by the clock of the account."""
        return time.monotonic()

    def read(self, look: Callable[[Account], T]) -> T:
        """Return what ``look`` finds in the account."""
        with self._lock:
            return look(self._account)

    change = read

    def bury_dead(self) -> bool:
        """Return False: this process is alive."""
        return False
