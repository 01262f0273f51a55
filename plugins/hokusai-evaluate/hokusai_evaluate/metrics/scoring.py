"""Helpers that the metrics share: compare texts, and convert scores of any range and direction."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import jsonable

__all__ = [
    "OPEN_RANGE",
    "checked",
    "fields_of",
    "goodness",
    "normalized",
    "plain",
    "raw_score",
    "summary_of",
    "tokens",
    "worst_goodness",
]

#: Range of a metric that declares none.
OPEN_RANGE: Final = (-math.inf, math.inf)

#: Characters of a text that may be a label.
_LABEL: Final = 40
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(value: Any) -> str:
    """Return a text without case, punctuation, articles and superfluous white space, for comparison.

    This is the normalization of the SQuAD evaluation (Rajpurkar et al., 2016), after Unicode NFKC.
    """
    text = value if isinstance(value, str) else str(value)
    return _normalized_label(text) if len(text) <= _LABEL else _normalized(text)


def _normalized(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    bare = " ".join(_ARTICLES.sub(" ", text.translate(_PUNCTUATION)).split())
    return bare or " ".join(text.split())  # so that "?" does not equal "the", both of which would be empty


#: Labels come again and again.
_normalized_label = lru_cache(maxsize=1024)(_normalized)


def tokens(value: Any) -> list[str]:
    """Return the words of a normalized value."""
    return normalized(value).split()


def fields_of(expected: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return pairs of expected and given values, both plain; None for an output that was not given."""
    return [(plain(value), plain(outputs.get(name))) for name, value in expected.items()]


def plain(value: Any) -> Any:
    """Return a value as JSON-able data."""
    return value if type(value) is str else jsonable(value)


def checked(score: Any, metric: Any) -> float:
    """Return a score as a finite number within the range of the metric.

    Raises:
        OptimizationError: it is not such a number; names the metric.
    """
    low, high = metric.range
    if type(score) is float and low <= score <= high and math.isfinite(score):  # the usual case
        return score
    name = type(metric).__name__ if not hasattr(metric, "name") else metric.name
    if hasattr(score, "score"):  # a dspy.Prediction(score=..., feedback=...)
        score = score.score
    if score is None or isinstance(score, str):
        raise OptimizationError(f"metric {name} returned {score!r}; it must return a number or a bool")
    try:
        number = float(score)
    except (TypeError, ValueError):
        raise OptimizationError(
            f"metric {name} returned a {type(score).__name__}; it must return a number or a bool"
        ) from None
    if not math.isfinite(number):
        raise OptimizationError(f"metric {name} returned {number:g}; it must return a finite number")
    if not low - 1e-9 <= number <= high + 1e-9:
        raise OptimizationError(f"metric {name} returned {number:g}, outside of its range {low:g} to {high:g}")
    return number


def goodness(metric: Any, score: float) -> float:
    """Return a score as goodness: more is better, from 0 to 1 if the metric has a closed range."""
    low, high = metric.range
    if low == 0.0 and high == 1.0:
        return score if metric.higher_is_better else 1.0 - score
    if math.isinf(low) or math.isinf(high):
        return score if metric.higher_is_better else -score
    share = (score - low) / (high - low)
    return float(share if metric.higher_is_better else 1.0 - share)


def raw_score(metric: Any, good: float) -> float:
    """Return the score whose goodness is ``good``; the inverse of ``goodness``."""
    low, high = metric.range
    if math.isinf(low) or math.isinf(high):
        return good if metric.higher_is_better else -good
    return float(low + (high - low) * (good if metric.higher_is_better else 1.0 - good))


def worst_goodness(metric: Any, seen: Iterable[float]) -> float:
    """Return what an example without a usable answer counts: the bad end of the range, or the worst of an open one.

    Args:
        metric: the metric.
        seen: how good the other examples are.
    """
    lowest = goodness(metric, metric.range[0 if metric.higher_is_better else 1])
    return lowest if lowest > -math.inf else min([0.0, *seen])


def summary_of(metric: Any) -> dict[str, Any]:
    """Return the description of a metric for reports, JSON-able."""
    low, high = metric.range
    return {
        "name": getattr(metric, "name", type(metric).__name__),
        "range": [None if math.isinf(low) else low, None if math.isinf(high) else high],
        "higher_is_better": bool(metric.higher_is_better),
        "source": getattr(metric, "source", ""),
    }
