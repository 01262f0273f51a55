"""PredictorState: the instructions and demos of one predictor inside a program or the module of a strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

__all__ = ["PredictorState"]


def _tuple(value: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple(value)


@frozen
class PredictorState:
    """Instructions and demos of one predictor of a module.

    Args:
        instructions: its instructions.
        demos: its few-shot examples, each a mapping of field name to value.
        fields: digest of the predictor's fields when the state was made. A predictor with other fields refuses it.
    """

    instructions: str
    demos: tuple[Mapping[str, Any], ...] = field(default=(), converter=_tuple)
    fields: str = ""
