"""CallableMetric: a function of the user as a metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_teleprompt.metrics.scoring import OPEN_RANGE

__all__ = ["CallableMetric"]

#: Names that DSPy and its users give the two arguments of a metric.
_EXAMPLES = frozenset({"example", "gold", "ex"})
_PREDICTIONS = frozenset({"prediction", "pred"})


class CallableMetric:
    """A function as a metric.

    The names of its parameters decide what it is given. ``(expected, outputs)`` and ``(expected, outputs, inputs)`` get
    mappings. ``(example, prediction)``, ``(gold, pred, trace=None)`` and the like get a ``dspy.Example`` and a
    ``dspy.Prediction``. It returns a number, a bool, or a ``dspy.Prediction`` with a ``score``.

    Args:
        function: the function. If it has attributes ``range`` and ``higher_is_better``, they are used.

    Raises:
        ConfigurationError: it takes fewer than two arguments, or requires others.

    Example:
        >>> def length(expected, outputs):
        ...     return abs(len(outputs["text"]) - len(expected["text"]))
        >>> length.higher_is_better = False
        >>> CallableMetric(length).score({"text": "four"}, {"text": "sixsix"}, {})
        2
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.range: tuple[float, float] = getattr(function, "range", OPEN_RANGE)
        self.higher_is_better = bool(getattr(function, "higher_is_better", True))
        self.source = getattr(function, "source", "given as a function")
        self._dspy_style, self._given = _shape(function, self.name)

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """Return what the function returns."""
        if self._dspy_style:
            import dspy

            example = dspy.Example(**{**inputs, **expected}).with_inputs(*inputs)
            return self._function(example, dspy.Prediction(**outputs))
        return self._function(*(dict(expected), dict(outputs), dict(inputs))[: self._given])


def _shape(function: Callable[..., Any], name: str) -> tuple[bool, int]:
    """Return whether the function is written for DSPy, and how many mappings it takes otherwise."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C, without a readable signature
        return False, 2
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    if any(item.kind is item.VAR_POSITIONAL for item in parameters):
        return False, 3
    needed = [item.name for item in positional if item.default is item.empty]
    keywords = [item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.default is item.empty]
    names = [item.name for item in positional[:2]]
    dspy_style = len(names) == 2 and (names[0] in _EXAMPLES or names[1] in _PREDICTIONS)
    most = 2 if dspy_style else 3
    if len(positional) < 2 or len(needed) > most or keywords:
        raise ConfigurationError(
            f"metric {name}({', '.join(item.name for item in parameters)}): expected (expected, outputs), "
            "(expected, outputs, inputs), or (example, prediction, trace=None)"
        )
    third = len(positional) > 2 and positional[2].default is positional[2].empty
    return dspy_style, 3 if third or (len(positional) > 2 and positional[2].name == "inputs") else 2
