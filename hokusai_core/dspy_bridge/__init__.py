"""The bridge to DSPy, and the only part of the core that imports it.

Importing this package imports DSPy, which takes more than a second; the core does so at the first execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import hokusai_core.dspy_bridge.dspy_requirement  # noqa: F401  # raises a clear error where DSPy is missing

# isort: split
from hokusai_core.dspy_bridge.adapter_choice import strict_adapter
from hokusai_core.dspy_bridge.bridge_call import BridgeCall, PreparedCall
from hokusai_core.dspy_bridge.error_map import translate_error
from hokusai_core.dspy_bridge.fast_adapter import FastChatAdapter
from hokusai_core.dspy_bridge.forked_connections import forget_client_cache, forget_connections, language_models_of
from hokusai_core.dspy_bridge.from_dspy import from_dspy, is_signature
from hokusai_core.dspy_bridge.metered_call import estimate_of
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.model_call import ModelCall
from hokusai_core.dspy_bridge.model_info import (
    ModelDescription,
    call_parameters,
    default_language_model,
    describe_model,
    has_parameters,
    host_adapter,
    host_language_model,
    is_language_model,
    live_parameters,
)
from hokusai_core.dspy_bridge.predictors import predictor_states
from hokusai_core.dspy_bridge.program_call import ProgramCall
from hokusai_core.dspy_bridge.program_spec import (
    OPEN_OUTPUTS,
    is_described,
    is_program,
    program_state,
    refuse_program,
    spec_of_program,
)
from hokusai_core.dspy_bridge.remembering_lm import RememberingLM
from hokusai_core.dspy_bridge.replay_lm import count_tokens
from hokusai_core.dspy_bridge.strategy_call import StrategyCall
from hokusai_core.dspy_bridge.to_dspy import to_dspy
from hokusai_core.media import MediaPolicy

if TYPE_CHECKING:
    from hokusai_core.signatures import SignatureSpec

__all__ = [
    "OPEN_OUTPUTS",
    "BridgeCall",
    "FastChatAdapter",
    "MeteredLM",
    "ModelCall",
    "ModelDescription",
    "PreparedCall",
    "ProgramCall",
    "RememberingLM",
    "StrategyCall",
    "call_parameters",
    "count_tokens",
    "default_language_model",
    "describe_model",
    "estimate_of",
    "forget_client_cache",
    "forget_connections",
    "from_dspy",
    "has_parameters",
    "host_adapter",
    "host_language_model",
    "is_described",
    "is_language_model",
    "is_program",
    "is_signature",
    "language_models_of",
    "live_parameters",
    "make_call",
    "predictor_states",
    "program_state",
    "refuse_program",
    "spec_of_program",
    "strict_adapter",
    "to_dspy",
    "translate_error",
]

_MEDIA: Final = MediaPolicy()


def make_call(
    spec: SignatureSpec,
    program: Any,
    lm: Any,
    adapter: Any = None,
    strategy: Any = None,
    media: MediaPolicy = _MEDIA,
) -> BridgeCall:
    """Return the call that asks ``lm`` for the outputs of a signature or program.

    Args:
        spec: the signature.
        program: the DSPy program that runs it; None for the signature alone.
        lm: the language model.
        adapter: the DSPy adapter; None for a ``FastChatAdapter``.
        strategy: the strategy that answers the signature, with its ``choice``; None for none.
        media: which pictures, sounds and files the parts of a strategy take.
    """
    if strategy is not None:
        return StrategyCall(spec, strategy.choice, strategy.strategy, lm, adapter, media)
    return ModelCall(spec, lm, adapter) if program is None else ProgramCall(spec, program, lm, adapter)
