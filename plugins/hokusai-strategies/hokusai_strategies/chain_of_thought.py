"""ChainOfThought: one call of the language model, with reasoning before the answer."""

from __future__ import annotations

from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StrategyTask

__all__ = ["ChainOfThought"]

_REASONING = "reasoning"


class ChainOfThought:
    """Lets the model write its reasoning before it answers.

    The reasoning is in ``ExecutionResult.extras``. A signature that has an output ``reasoning`` gets it there.
    """

    version = "1"
    #: Its request can be shown, and an answer read, without a call.
    one_request = True

    def build(self, task: StrategyTask) -> Any:
        """Return ``dspy.ChainOfThought``.

        Raises:
            ConfigurationError: the signature has an input ``reasoning``.
        """
        import dspy  # listings of signatures that declare this strategy do without

        signature = task.signature
        if _REASONING in signature.input_fields:
            raise ConfigurationError(
                f"strategy 'chain_of_thought' adds an output {_REASONING!r}, and {task.spec.name} has an input of that "
                "name; rename the input"
            )
        own = signature.output_fields.get(_REASONING)
        if own is None:
            return dspy.ChainOfThought(signature)
        return dspy.ChainOfThought(signature.delete(_REASONING), rationale_field=own)
