"""What an argument of the command means that names a signature, a chain, or something to compare with."""

from __future__ import annotations

from typing import Any

from hokusai_core import Executor
from hokusai_core.cli_support.aliases import resolve_alias
from hokusai_core.cli_support.signature_argument import signature_called

__all__ = ["target_called"]

#: Files that ``evaluate`` reads itself: signatures, chains and saved reports.
_FILES = (".json", ".toml", ".yaml", ".yml")


def target_called(executor: Executor, text: str) -> Any:
    """Return what to evaluate or to compare with.

    Args:
        executor: finds signatures.
        text: a signature in any form that commands take, the path of a chain or report, ``lm=NAME`` or
            ``strategy=NAME``.
    """
    text = resolve_alias(text)
    if text.endswith(_FILES) or text.partition("=")[0] in ("lm", "strategy"):
        return text
    return signature_called(executor, text)
