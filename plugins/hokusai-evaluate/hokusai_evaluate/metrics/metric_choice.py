"""The forms in which a metric is given: a function, a weighted mean of metrics, or the name of a component."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, get_origin

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import PluginManager, SignatureSpec
from hokusai_evaluate.metrics.scoring import OPEN_RANGE, checked, goodness
from hokusai_evaluate.plugin import METRICS

__all__ = ["CallableMetric", "WeightedMetric", "make_metric", "usual_metric"]

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
        return self._function(*map(dict, (expected, outputs, inputs)[: self._given]))


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


class WeightedMetric:
    """The weighted mean of metrics, each scaled so that 0 is worst and 1 is best.

    Args:
        parts: pairs of a metric and its weight. Weights are above zero; they need not add up to 1.

    Raises:
        ConfigurationError: there are no parts, a weight cannot be used, or a metric has no closed range.

    Example:
        >>> from hokusai_evaluate.metrics import Accuracy, TokenF1
        >>> metric = WeightedMetric([(Accuracy(), 1), (TokenF1(), 3)])
        >>> metric.score({"answer": "red car"}, {"answer": "red bus"}, {})
        0.375
    """

    range: Final = (0.0, 1.0)
    higher_is_better = True

    def __init__(self, parts: Any = ()) -> None:
        pairs = [(metric, _weight(metric, weight)) for metric, weight in parts]
        if not pairs:
            raise ConfigurationError("a weighted metric needs parts, such as {'accuracy': 0.7, 'f1': 0.3}")
        for metric, _ in pairs:
            if math.inf in (abs(metric.range[0]), abs(metric.range[1])):
                raise ConfigurationError(f"{_name(metric)} has no closed range, so it cannot have a weight")
        self._parts = pairs
        total = sum(weight for _, weight in pairs)
        self.name = " + ".join(f"{weight / total:.2g} {_name(metric)}" for metric, weight in pairs)
        self.source = "; ".join(f"{_name(metric)}: {getattr(metric, 'source', '')}" for metric, _ in pairs)

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the weighted mean."""
        total = sum(weight for _, weight in self._parts)
        return (
            sum(
                weight * goodness(metric, checked(metric.score(expected, outputs, inputs), metric))
                for metric, weight in self._parts
            )
            / total
        )

    def using(self, models: Callable[[Any], Any], task: str = "") -> Self:
        """Return this metric with language models for the parts that need one."""
        return type(self)(
            [(part.using(models, task) if hasattr(part, "using") else part, weight) for part, weight in self._parts]
        )


def _weight(metric: Any, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
        raise ConfigurationError(f"weight {weight!r} of {_name(metric)}: expected a number above zero")
    return float(weight)


def _name(metric: Any) -> str:
    return str(getattr(metric, "name", type(metric).__name__))


def make_metric(plugins: PluginManager, metric: Any, options: Mapping[str, Any] | None = None) -> Any:
    """Return the metric that an argument means.

    Args:
        plugins: where metrics are looked up by name. Those of this package need no plugin.
        metric: name of a metric, ``{name: weight}`` for a weighted mean, a function, or a ``Metric``.
        options: options of a metric that is given by name, such as ``{"judge": "openai/gpt-5"}``.

    Raises:
        ConfigurationError: there is no such metric, or it cannot be made.
    """
    if isinstance(metric, str):
        return _create(plugins, metric, dict(options or {}))
    if options:
        raise ConfigurationError("metric_options go with the name of a metric component")
    if isinstance(metric, Mapping):
        return WeightedMetric([(make_metric(plugins, part), weight) for part, weight in metric.items()])
    if callable(getattr(metric, "score", None)) and hasattr(metric, "range"):
        return metric
    if callable(metric):
        return CallableMetric(metric)
    raise ConfigurationError(
        f"metric={type(metric).__name__}: expected the name of a metric, {{name: weight}}, or a function"
    )


def usual_metric(spec: SignatureSpec) -> str:
    """Return the name of the metric that suits the outputs of a signature."""
    fields = spec.outputs.values()
    if all(item.choices_from or item.annotation is bool or get_origin(item.annotation) is Literal for item in fields):
        return "classification_accuracy"
    return "f1" if all(item.annotation is str for item in fields) else "accuracy"


def _create(plugins: PluginManager, name: str, options: Mapping[str, Any]) -> Any:
    own = next((component for component in METRICS if component.name == name), None)
    if own is None or any(component.name == name for component in plugins.components("metric")):
        return plugins.create("metric", name, **options)
    module, _, attribute = str(own.target).partition(":")  # this package is here, although its plugin is switched off
    return getattr(importlib.import_module(module), attribute)(**options)
