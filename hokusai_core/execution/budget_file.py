"""BudgetFile: the account of a budget in a file that processes share."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from hokusai_core.execution.account import Account, Amount
from hokusai_core.execution.budget_ledger import BudgetFileError
from hokusai_core.process import fork_callbacks
from hokusai_core.storage import LockedState, describe_os_error, is_locked, lock_descriptor, open_private_file

__all__ = ["BudgetFile"]

T = TypeVar("T")

_VERSION: Final = 1


class BudgetFile:
    """Keeps an account in a file that processes share.

    Each process holds the lock of a file of its own, in the folder ``FILE.processes``, for as long as it has calls
    under way. The system gives the lock up when the process ends, however it dies. That is the proof of its death.

    Args:
        path: the file.
        ceilings: those of the budget, which the file keeps for those who look into it. The file is made where it is
            missing. None for a file that must exist.

    Raises:
        BudgetFileError: the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], ceilings: dict[str, float | None] | None = None) -> None:
        self.path = Path(path).absolute()
        self.process = ""
        self._folder = self.path.with_name(f"{self.path.name}.processes")
        self._lock = -1
        self._mutex = threading.Lock()
        initial = None if ceilings is None else Account(ceilings=ceilings).encode()
        with _problems(self.path):
            self._state = LockedState(self.path, kind="budget", version=_VERSION, initial=initial)
            self._state.change(lambda payload: (_with_ceilings(payload, ceilings), None))
        self._forked = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._mutex, self._forked, self.process = threading.Lock(), True, ""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)  # else this process would keep the parent's lock when the parent has died

    def now(self) -> float:
        """Return the time, by the clock of the account."""
        return time.time()

    def read(self, look: Callable[[Account], T]) -> T:
        """Return what ``look`` finds in the account.

        Raises:
            BudgetFileError: the file cannot be used.
        """
        with _problems(self.path):
            return self._opened().change(lambda payload: (None, look(Account.decode(payload))))

    def change(self, apply: Callable[[Account], T]) -> T:
        """Return what ``apply`` returns, which may change the account.

        Raises:
            BudgetFileError: the file cannot be used; nothing was changed.
        """

        def change(payload: bytes) -> tuple[bytes | None, T]:
            account = Account.decode(payload)
            result = apply(account)
            changed = account.encode()
            return (None if changed == payload else changed), result

        with _problems(self.path):
            state = self._opened()
            if self._lock < 0:
                self._register()
            return state.change(change)

    def bury_dead(self) -> bool:
        """Note which processes have died, and return whether any has.

        What a process has reserved whose file is gone, and with it the proof, counts as spent and is not released.

        Raises:
            BudgetFileError: the file cannot be used.
        """
        found = self.read(lambda account: {name: item.lost for name, item in account.reserved.items()})
        others = [process for process in found if process != self.process]
        dead = [process for process in others if self.is_dead(process)]
        lost = [process for process in others if not found[process] and self.is_unproved(process)]
        if not dead and not lost:
            return False

        def bury(account: Account) -> None:
            for process in dead:
                if process in account.reserved:
                    account.bury(process)
            for process in lost:
                if process in account.reserved:
                    account.lose(process)

        with _problems(self.path):
            self._opened().change(lambda payload: _changed(payload, bury))
        for process in dead:
            self._lock_of(process).unlink(missing_ok=True)
        return True

    def is_dead(self, process: str) -> bool:
        """Return whether it is proved that a process has ended."""
        lock = self._lock_of(process)
        return lock.exists() and not is_locked(lock)

    def is_unproved(self, process: str) -> bool:
        """Return whether nothing tells if a process has ended: its file is gone."""
        return not self._lock_of(process).exists()

    def release(self, *, unproved: bool = False) -> Amount:
        """Give back what processes had reserved that have died, and return it.

        Args:
            unproved: also what processes had reserved of which nothing tells whether they are alive.

        Raises:
            BudgetFileError: the file cannot be used.
        """
        self.bury_dead()

        def release(account: Account) -> Amount:
            for process in list(account.reserved) if unproved else ():
                if self.is_unproved(process):
                    account.bury(process)
            return account.release()

        with _problems(self.path):
            return self._opened().change(lambda payload: _changed(payload, release))

    def _lock_of(self, process: str) -> Path:
        return self._folder / f"{process}.lock"

    def _register(self) -> None:
        """Hold the lock of a file of this process."""
        with self._mutex:
            if self._lock >= 0:
                return
            process = f"{os.getpid()}-{secrets.token_hex(4)}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
            path = self._lock_of(process)
            descriptor = open_private_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            lock_descriptor(descriptor, None)
            weakref.finalize(self, _leave, self._state, descriptor, path, process, os.getpid())
            self.process, self._lock = process, descriptor

    def _opened(self) -> LockedState:
        if self._forked:
            with self._mutex:
                if self._forked:
                    self._state.reopen()
                    self._forked = False
        return self._state


def _changed(payload: bytes, apply: Callable[[Account], T]) -> tuple[bytes, T]:
    account = Account.decode(payload)
    result = apply(account)
    return account.encode(), result


def _with_ceilings(payload: bytes, ceilings: dict[str, float | None] | None) -> bytes | None:
    account = Account.decode(payload)
    if ceilings is None or account.ceilings == ceilings:
        return None
    account.ceilings = ceilings
    return account.encode()


def _leave(state: LockedState, descriptor: int, lock: Path, process: str, number: int) -> None:
    """Give up the lock of a process, and remove its file unless calls are still under way, whose end is not heard."""
    if number != os.getpid():
        return  # a forked child has closed its copy
    with contextlib.suppress(OSError, ValueError):
        if not state.change(lambda payload: (None, process in Account.decode(payload).reserved)):
            lock.unlink(missing_ok=True)
    os.close(descriptor)


@contextlib.contextmanager
def _problems(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BudgetFileError(f"the budget file {describe_os_error(error, os.fspath(path))}") from error
    except ValueError as error:  # it holds something else
        raise BudgetFileError(f"the budget file {error}; put it aside, or give another file") from error
