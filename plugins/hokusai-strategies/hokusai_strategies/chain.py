"""Chain: answers a signature in steps, each of which is a signature of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StrategyTask

__all__ = ["Chain"]


class Chain:
    """Runs the steps of a chain, one after the other. ``SignatureChain.to_signature`` writes its options.

    The outputs of each step are in ``ExecutionResult.extras["steps"]``.

    Args:
        steps: the steps, each ``{"name": ..., "signature": ..., "inputs": {field: value}}``. The signature is as
            ``SignatureSpec.to_dict`` writes it. A value is one of ``{"input": name}``,
            ``{"step": name, "field": name}``, ``{"value": JSON}``, ``{"list": [values]}`` and
            ``{"mapping": {key: value}}``.
        strategies: name of a step -> the strategy that answers it; left out, one call of the language model.

    Raises:
        ConfigurationError: there are no steps.
    """

    version = "1"

    def __init__(self, steps: Any = (), strategies: Mapping[str, Any] | None = None) -> None:
        if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
            raise ConfigurationError("strategy 'chain' needs steps; SignatureChain.to_signature(executor) writes them")
        if strategies is not None and not isinstance(strategies, Mapping):
            raise ConfigurationError(
                "strategy 'chain': strategies: expected a mapping of the name of a step to a strategy"
            )
        self._steps, self._strategies = list(steps), dict(strategies or {})

    def build(self, task: StrategyTask) -> Any:
        """Return the module of the chain.

        Raises:
            ConfigurationError: a step cannot be read; says why.
        """
        from hokusai_strategies.chain_module import ChainModule  # imports dspy, which listings do without

        return ChainModule.of(task, self._steps, self._strategies)
