"""Runs one row of a batch and makes its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field

from hokusai_core.batch.results import FailedExecution
from hokusai_core.errors import ClosedError, ExecutionError, HokusaiError
from hokusai_core.runtime.drivers import go_on

if TYPE_CHECKING:
    from collections import Counter

    from hokusai_core.batch.journal import Journal
    from hokusai_core.batch.results import Outcome
    from hokusai_core.batch.rows import Row
    from hokusai_core.execution.services import ExecutorServices
    from hokusai_core.execution.state import Options
    from hokusai_core.results import ExecutionResult
    from hokusai_core.runtime.window import Permit
    from hokusai_core.signatures import SignatureSpec

__all__ = ["RowExecution", "SignatureRowExecution", "failed"]


class RowExecution(Protocol):
    """What is done with the rows of a batch; raises only what ends all of them, never what a row fails with.

    Attributes:
        resumable: whether another thread can go on with a row that is stuck in a call.
    """

    resumable: bool

    def prepare(self, row: Row) -> Outcome | None:
        """Return the outcome where it is known already. Called for one row at a time, in order."""
        ...

    def run(self, row: Row, permit: Permit) -> Outcome:
        """Run a row, blocking."""
        ...

    def go_on(self, row: Row, permit: Permit) -> Outcome:
        """Run the rest of a row whose thread is stuck in a call beyond its deadline."""
        ...

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        """Run a row without blocking the event loop."""
        ...

    def over(self, row: Row, outcome: Outcome) -> None:
        """Note for good that a row is over, before its place goes to the next."""
        ...

    def hidden(self, row: Row) -> frozenset[str]:
        """Return the names of inputs and outputs whose values must not be shown."""
        ...


@define(eq=False)
class SignatureRowExecution:
    """Runs one signature on every row.

    Args:
        services: parts of the executor.
        signature: its name or class.
        spec: the signature.
        lm: language model of this batch, in place of the executor's.
        options: what the caller asked for.
        journal: keeps what is over, or None.
        occurrences: counts equal rows, where each is to have an answer of its own; None where they share one.
    """

    services: ExecutorServices
    signature: Any
    spec: SignatureSpec
    lm: Any
    options: Options
    journal: Journal | None = None
    occurrences: Counter[str] | None = None
    resumable: bool = True
    secrets: frozenset[str] = field(init=False)

    @secrets.default
    def _secrets(self) -> frozenset[str]:
        return hidden_fields(self.spec)

    def prepare(self, row: Row) -> Outcome | None:
        """Return what the journal holds of the row, if anything."""
        journal = self.journal
        if journal is None:
            return None
        try:
            inputs = self.spec.binder.bind(row.inputs)
        except Exception:  # it fails on its way, with every problem told
            return None
        row.key = key = journal.key(inputs)
        if key is not None and self.occurrences is not None:
            before = self.occurrences[key]
            self.occurrences[key] += 1
            if before:
                row.key = key = journal.key(inputs, before)
        return None if key is None else journal.find(key, inputs)

    def run(self, row: Row, permit: Permit) -> Outcome:
        """Run a row, blocking."""
        try:
            return self.services.execute(self.signature, row.inputs, self.lm, self.options, permit)
        except Exception as error:
            return self._failed(row, error)

    def go_on(self, row: Row, permit: Permit) -> Outcome:
        """Run the rest of a row whose thread is stuck in a call beyond its deadline."""
        try:
            result: ExecutionResult = go_on(permit.path)
        except Exception as error:
            return self._failed(row, error)
        return result

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        """Run a row without blocking the event loop."""
        try:
            return await self.services.aexecute(self.signature, row.inputs, self.lm, self.options, permit)
        except Exception as error:
            return self._failed(row, error)

    def over(self, row: Row, outcome: Outcome) -> None:
        """Write the row to the journal."""
        if self.journal is not None and row.key is not None:
            self.journal.record(row.key, row.index, outcome)

    def hidden(self, _row: Row) -> frozenset[str]:
        """Return the names of the signature's sensitive fields, and their aliases."""
        return self.secrets

    def _failed(self, row: Row, error: Exception) -> FailedExecution:
        if isinstance(error, ClosedError) and self.services.state.closed:
            raise error  # no row can succeed any more
        return failed(row, error, self.secrets)


def failed(row: Row, error: Exception, hidden: frozenset[str]) -> FailedExecution:
    """Return the outcome of a row that failed."""
    if isinstance(error, HokusaiError):
        error.__traceback__ = None  # it leads through frames of ours only, and keeps all that they hold alive
    attempts = error.attempts if isinstance(error, ExecutionError) else ()
    return FailedExecution(row.index, row.inputs, error, attempts, hidden)


def hidden_fields(spec: SignatureSpec) -> frozenset[str]:
    """Return the names, aliases included, under which a row may hold sensitive values."""
    if not spec.sensitive:
        return frozenset()
    return frozenset(name for item in spec.fields if item.sensitive for name in (item.name, *item.aliases))
