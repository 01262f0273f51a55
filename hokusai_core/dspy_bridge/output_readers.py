"""Make the readers for the outputs of a ``dspy.Signature``: the table of types first, DSPy's own types beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dspy.adapters.utils import annotation_allows_none

from hokusai_core.dspy_bridge.answer_reader import OutputReader
from hokusai_core.dspy_bridge.value_text import parser_for

__all__ = ["output_readers"]


def output_readers(signature: Any) -> dict[str, OutputReader]:
    """Return how each output of ``signature`` is read, by name."""
    return {name: OutputReader(_reader(info), _absence(info)) for name, info in signature.output_fields.items()}


def _absence(info: Any) -> Callable[[], Any] | None:
    if not info.is_required():
        return lambda: info.get_default(call_default_factory=True)
    return _nothing if annotation_allows_none(info.annotation) else None


def _nothing() -> None:
    return None


def _reader(info: Any) -> Callable[[str], Any]:
    return parser_for(info.annotation)
