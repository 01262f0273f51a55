"""Renew the connections of language models in a forked process.

A connection that came through a fork still belongs to the parent: two processes that read from one socket get each
other's answers. So a language model connects anew in a child process. What it inherited is kept and never closed, since
closing would end the parent's connection.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import dspy
from dspy import BaseLM

from hokusai_core.process import check_fork_safe

__all__ = ["forget_client_cache", "forget_connections", "language_models_of"]

#: Clients that litellm keeps for the whole process; it makes each again when it is next used.
_CLIENTS = ("in_memory_llm_clients_cache", "module_level_client", "module_level_aclient")


def language_models_of(lm: Any, adapter: Any = None, program: Any = None) -> Iterator[Any]:
    """Yield every language model that a call may use: its own, its adapter's, those that a program holds."""
    parts = [adapter, program]
    if program is not None:
        parts += [part for _, part in program.named_sub_modules()]
    yield lm
    for part in parts:
        for value in getattr(part, "__dict__", {}).values():
            if isinstance(value, BaseLM):
                yield value


def forget_connections(lm: Any, *, inherited: bool) -> object:
    """Make ``lm`` connect anew and return what it held before, to be kept.

    Args:
        lm: the language model.
        inherited: whether it is known to have been used before the fork.

    Raises:
        ForkError: its engine says that it does not work in a forked process.
    """
    if inherited:
        engine = getattr(lm, "_engine_spec", None)
        check_fork_safe("the engine of language model", lm.model, None if isinstance(engine, str) else engine)
        check_fork_safe("language model", lm.model, lm)
    if not isinstance(lm, dspy.LM):
        return None
    held = lm._engine_store
    lm._engine_store, lm._engine_lock = {}, threading.RLock()
    return held


def forget_client_cache() -> list[object]:
    """Make litellm connect anew and return the clients that it held, to be kept."""
    litellm = vars(sys.modules["litellm"]) if "litellm" in sys.modules else {}
    return [litellm.pop(name) for name in _CLIENTS if name in litellm]
