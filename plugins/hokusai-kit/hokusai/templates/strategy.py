"""AcmeSample: asks again where an answer does not fit the signature."""

from __future__ import annotations

from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StrategyTask

__all__ = ["AcmeSample"]


class AcmeSample:
    """Takes the first answer that fits.

    Args:
        tries: how often the language model is asked at most.
    """

    version = "1"

    def __init__(self, tries: int = 2) -> None:
        if tries < 1:
            raise ConfigurationError(f"tries={tries!r}: expected at least 1")
        self._tries = tries

    def build(self, task: StrategyTask) -> Any:
        """Return the module, which many threads use at once."""
        from acme_sample.strategy_module import FirstFit  # imports dspy; listings do without

        return FirstFit(task, self._tries)
