"""ModelChoice: which language model of a policy one execution asks, and which one next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import evolve

from hokusai_core.errors import ExecutionError, LanguageModelUnavailable
from hokusai_core.loggers import AreaLogger
from hokusai_core.results import Attempt

if TYPE_CHECKING:
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.execution.model_policy import ModelPolicy, PolicyModel

__all__ = ["ModelChoice"]

_LOG: Final = AreaLogger("execution")


class ModelChoice:
    """Walks through the models of a policy for one execution.

    Args:
        policy: the policy.
        plan_of: returns the call plan for a model; may load it.
        settled: returns a model with the settings of the table that it names.
    """

    def __init__(
        self,
        policy: ModelPolicy,
        plan_of: Callable[[PolicyModel], CallPlan],
        settled: Callable[[PolicyModel], PolicyModel],
    ) -> None:
        self._policy, self._plan_of, self._settled = policy, plan_of, settled
        self._number = -1
        self._unloaded: list[Attempt] = []
        self._failures: list[str] = []
        self._error: ExecutionError | None = None

    @property
    def number(self) -> int:
        """Place of the model that is asked now."""
        return self._number

    @property
    def timeout(self) -> float | None:
        """Seconds for the model that is asked now."""
        return self._settled(self._policy.models[self._number]).timeout

    @property
    def has_next(self) -> bool:
        """Whether there is a model that could be asked after this one."""
        return any(not circuit.seconds_left for circuit in self._policy.circuits[self._number + 1 :])

    def moves_on(self, error: ExecutionError) -> bool:
        """Return whether the next model is to be asked after ``error``."""
        return self._policy.moves_on(error)

    def next_plan(self, error: ExecutionError | None = None) -> CallPlan:
        """Return the plan for the next model that can be asked.

        Args:
            error: what the model before has failed with; None for the first model.

        Raises:
            ExecutionError: there is none left; the last error, with a note about those before.
        """
        if error is not None:
            self._note(error)
        while self._number + 1 < len(self._policy.models):
            self._number += 1
            model, left = self._policy.models[self._number], self._policy.circuits[self._number].seconds_left
            if left:
                self._failures.append(f"{model.name} failed before and is passed over for {left:.0f} s")
                continue
            began = time.perf_counter()
            try:
                return self._plan_of(model)
            except ExecutionError as failure:
                if not self._policy.moves_on(failure):
                    raise
                self._policy.circuits[self._number].failed()
                told = f"{type(failure).__name__}: {failure}"
                self._unloaded.append(Attempt(0, "failed", time.perf_counter() - began, model.name, error=told))
                self._note(failure)
        raise self._last()

    def take_unloaded(self, number: int) -> list[Attempt]:
        """Return the models that could not be loaded since the last time, as attempts without a call.

        Args:
            number: number of the last attempt before.
        """
        taken, self._unloaded = self._unloaded, []
        return [evolve(attempt, number=number + place) for place, attempt in enumerate(taken, 1)]

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Make the calls of the current model inside; its circuit learns how they end.

        Raises:
            LanguageModelUnavailable: its circuit is open by now.
        """
        policy, circuit = self._policy, self._policy.circuits[self._number]
        if not circuit.admit():
            raise LanguageModelUnavailable(
                f"{policy.models[self._number].name} failed several times in a row and is passed over for "
                f"{circuit.seconds_left:.0f} s",
                retry_after=circuit.seconds_left,
            )
        try:
            yield
        except ExecutionError as error:
            if policy.is_failure(error):
                circuit.failed()
            else:
                circuit.released()
            raise
        except BaseException:
            circuit.released()
            raise
        circuit.succeeded()

    def _note(self, error: ExecutionError) -> None:
        name = self._policy.models[self._number].name
        self._failures.append(f"{name} failed with {type(error).__name__}")
        self._error = error
        _LOG.info("%s failed with %s; the next model of the policy is asked", name, type(error).__name__)

    def _last(self) -> ExecutionError:
        error = self._error
        if error is not None and self._unloaded and not error.attempts:
            error.attempts = tuple(self.take_unloaded(0))
        if error is None:
            return LanguageModelUnavailable(
                f"no model of the policy can be asked now: {'; '.join(self._failures)}. Wait, or raise failures=",
                retry_after=min(circuit.seconds_left for circuit in self._policy.circuits),
            )
        if len(self._failures) > 1:
            error.add_note(f"all models of the policy were tried: {'; '.join(self._failures)}")
        return error
