"""The bridge to DSPy, and the only part of the core that imports it.

Importing this package imports DSPy, which takes more than a second; the core does so at the first execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hokusai_core.call_records import CallEstimate, CallGuard, CallRecord, Meter, Recorder
from hokusai_core.dspy_bridge.adapter_choice import strict_adapter
from hokusai_core.dspy_bridge.bridge_call import Answer, BridgeCall, CallOptions, PreparedCall
from hokusai_core.dspy_bridge.error_map import translate_error
from hokusai_core.dspy_bridge.fast_adapter import FastChatAdapter
from hokusai_core.dspy_bridge.forked_connections import forget_client_cache, forget_connections, language_models_of
from hokusai_core.dspy_bridge.from_dspy import from_dspy, from_string, is_signature
from hokusai_core.dspy_bridge.isolation import DEADLINE, isolated
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.model_call import ModelCall
from hokusai_core.dspy_bridge.model_info import (
    ModelDescription,
    default_language_model,
    describe_model,
    has_parameters,
    host_adapter,
    host_language_model,
    is_language_model,
    live_parameters,
)
from hokusai_core.dspy_bridge.offload import Threads, offload
from hokusai_core.dspy_bridge.program_call import ProgramCall
from hokusai_core.dspy_bridge.program_spec import OPEN_OUTPUTS, is_program, refuse_program, spec_of_program
from hokusai_core.dspy_bridge.program_state import is_described, program_state
from hokusai_core.dspy_bridge.to_dspy import Choices, to_dspy

if TYPE_CHECKING:
    from hokusai_core.signatures import SignatureSpec

__all__ = [
    "DEADLINE",
    "OPEN_OUTPUTS",
    "Answer",
    "BridgeCall",
    "CallEstimate",
    "CallGuard",
    "CallOptions",
    "CallRecord",
    "Choices",
    "FastChatAdapter",
    "Meter",
    "MeteredLM",
    "ModelCall",
    "ModelDescription",
    "PreparedCall",
    "ProgramCall",
    "Recorder",
    "Threads",
    "default_language_model",
    "describe_model",
    "forget_client_cache",
    "forget_connections",
    "from_dspy",
    "from_string",
    "has_parameters",
    "host_adapter",
    "host_language_model",
    "is_described",
    "is_language_model",
    "is_program",
    "is_signature",
    "isolated",
    "language_models_of",
    "live_parameters",
    "make_call",
    "offload",
    "program_state",
    "refuse_program",
    "spec_of_program",
    "strict_adapter",
    "to_dspy",
    "translate_error",
]


def make_call(
    spec: SignatureSpec, program: Any, lm: Any, adapter: Any = None, *, threads: Threads | None = None
) -> BridgeCall:
    """Return the call that asks ``lm`` for the outputs of a signature or program.

    Args:
        spec: the signature.
        program: the DSPy program that runs it; None for the signature alone.
        lm: the language model.
        adapter: the DSPy adapter; None for a ``FastChatAdapter``.
        threads: where awaited work runs that can only block; None for a thread each.
    """
    if program is None:
        return ModelCall(spec, lm, adapter, threads=threads)
    return ProgramCall(spec, program, lm, adapter, threads=threads)
