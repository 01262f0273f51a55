"""Majority: several answers, of which the most frequent one is taken (self-consistency)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import Strategy, StrategyTask, did_you_mean
from hokusai_strategies.option_checks import checked_count, checked_number
from hokusai_strategies.predict import Predict

__all__ = ["Majority"]


class Majority:
    """Asks up to ``n`` times and takes the answer that most tries agree on.

    Two answers agree if the outputs in ``fields`` are equal. Texts are compared without case, without spaces around
    them and with single spaces inside; other values as they are. If several answers are equally frequent, the one that
    came first is taken. No further try is made once the others could not change the result. At least half of the tries
    must give an answer. Awaited executions make those tries at the same time that are made in any case.

    Args:
        n: tries at most.
        fields: names of the outputs that are compared; left out, all of them.
        strategy: how each try is made; one call if left out.
        temperature: temperature of every try; None for the language model's own.
    """

    version = "1"

    def __init__(
        self,
        n: int = 5,
        fields: Iterable[str] | None = None,
        strategy: Strategy | None = None,
        temperature: float | None = 1.0,
    ) -> None:
        self.n = checked_count("majority", "n", n)
        names = fields.split(",") if isinstance(fields, str) else fields
        if names is not None and (not isinstance(names, Iterable) or isinstance(names, Mapping)):
            raise ConfigurationError(f"strategy 'majority': fields={fields!r}: expected names of outputs")
        self.fields = None if names is None else tuple(str(name).strip() for name in names)
        if self.fields == ():
            raise ConfigurationError("strategy 'majority': fields is empty; name at least one output, or leave it out")
        self.strategy = strategy or Predict()
        self.temperature = checked_number("majority", "temperature", temperature)

    def build(self, task: StrategyTask) -> Any:
        """Return the module; the predictors of a try are those of its attribute ``module``.

        Raises:
            ConfigurationError: the signature has no output of a name in ``fields``.
        """
        from hokusai_strategies.majority_module import MajorityModule  # imports dspy, which listings do without

        known = task.spec.outputs
        for name in self.fields or ():
            if name not in known:
                raise ConfigurationError(
                    f"strategy 'majority': {task.spec.name} has no output {name!r}{did_you_mean(name, known)}; it has "
                    f"{', '.join(known)}"
                )
        return MajorityModule(self.strategy.build(task), task, self)
