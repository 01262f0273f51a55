"""Chain: answers a signature in steps, each of which is a signature of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StrategyTask

__all__ = ["Chain"]


class Chain:
    """Runs the steps of a chain, one after the other. ``SignatureChain.to_signature`` writes its options.

    The outputs of each step are in ``ExecutionResult.extras["steps"]``, those of the branch that ran as well.

    Args:
        steps: the steps, each ``{"name": ..., "signature": ..., "inputs": {field: value}}``. The signature is as
            ``SignatureSpec.to_dict`` writes it. A value is one of ``{"input": name}``,
            ``{"step": name, "field": name}``, ``{"value": JSON}``, ``{"list": [values]}`` and
            ``{"mapping": {key: value}}``. In place of the signature a step may have ``branches``, a list of such steps,
            of which the first runs whose condition holds. Their inputs are those of the step. The key of a branch is
            ``Step.branch``, that of a step its name.
        strategies: key of a step or branch -> the strategy that answers it; left out, one call of the language model.
        programs: key of a step or branch -> the ``dspy.Module`` that runs it, by its registered name in files.
        conditions: key of a branch -> its condition, in files ``{"when": comparisons}`` or the name of a function. A
            branch without a condition runs if none holds.

    Raises:
        ConfigurationError: there are no steps.
    """

    version = "1"

    def __init__(
        self,
        steps: Any = (),
        strategies: Mapping[str, Any] | None = None,
        programs: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
            raise ConfigurationError("strategy 'chain' needs steps; SignatureChain.to_signature(executor) writes them")
        tables = {"strategies": strategies, "programs": programs, "conditions": conditions}
        for name, table in tables.items():
            if table is not None and not isinstance(table, Mapping):
                raise ConfigurationError(f"strategy 'chain': {name}: expected a mapping of the keys of steps")
        self._steps = list(steps)
        self._tables = {name: dict(table or {}) for name, table in tables.items()}

    def build(self, task: StrategyTask) -> Any:
        """Return the module of the chain.

        Raises:
            ConfigurationError: a step cannot be read; says why.
        """
        from hokusai_strategies.chain_module import ChainModule  # imports dspy, which listings do without

        return ChainModule.of(task, self._steps, **self._tables)
