"""Metrics that check whether an output is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hokusai_evaluate.label_scores import label_key, label_scores, mean_f1
from hokusai_evaluate.metrics.scoring import fields_of, normalized, plain

__all__ = ["Accuracy", "ClassificationAccuracy", "JsonEqual", "MacroF1"]

Pair = tuple[Mapping[str, Any], Mapping[str, Any]]


class Accuracy:
    """Share of the expected fields that are equal after normalization: case, punctuation and articles do not count.

    Example:
        >>> Accuracy().score({"answer": "Paris"}, {"answer": "paris."}, {})
        1.0
    """

    name = "accuracy"
    range: Final = (0.0, 1.0)
    higher_is_better = True
    source = "exact match of SQuAD 1.1 (Rajpurkar et al., 2016), averaged over the fields"

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the share of fields that match."""
        right = 0
        for name, wanted in expected.items():
            given = outputs.get(name)
            # The usual case first: normalizing takes microseconds.
            right += (type(wanted) is str and wanted == given) or _same(plain(wanted), plain(given))
        return right / len(expected) if expected else 0.0


class ClassificationAccuracy:
    """Whether every expected label was given. A label matches as a whole, ignoring case and surrounding white space.

    Example:
        >>> ClassificationAccuracy().score({"topic": "Sports"}, {"topic": "sports"}, {})
        1.0
    """

    name = "classification_accuracy"
    range: Final = (0.0, 1.0)
    higher_is_better = True
    source = "share of examples with the right label (accuracy; Manning, Raghavan and Schütze, 2008, ch. 13)"

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return 1 where all labels match, else 0."""
        pairs = fields_of(expected, outputs)
        return float(bool(pairs) and all(label_key(wanted) == label_key(given) for wanted, given in pairs))


class MacroF1(ClassificationAccuracy):
    """F1 of each label, averaged over the labels, so that rare labels count as much as common ones.

    The score of a single example is its accuracy, which searches use. The score of a set is macro F1.
    """

    name = "macro_f1"
    source = "mean over the classes of F1 = 2TP / (2TP + FP + FN) (Yang and Liu, 1999; Opitz and Burst, 2019)"

    def aggregate(self, pairs: Sequence[Pair]) -> float:
        """Return macro F1 over pairs of expected and given outputs; the mean over the fields if there are several.

        The classes are the expected labels. Giving a label that is never expected lowers the recall of others.
        """
        names = dict.fromkeys(name for expected, _ in pairs for name in expected)
        values = [mean_f1(label_scores((e[name], o.get(name)) for e, o in pairs if name in e)) for name in names]
        return sum(values) / len(values) if values else 0.0


class JsonEqual:
    """Whether every expected field is equal as JSON: same structure and values, in any order of keys.

    If an output is a text that holds JSON, its content is compared.

    Example:
        >>> JsonEqual().score({"data": {"a": 1, "b": 2.0}}, {"data": '{"b": 2, "a": 1}'}, {})
        1.0
    """

    name = "json_equal"
    range: Final = (0.0, 1.0)
    higher_is_better = True
    source = "equality of JSON values (RFC 8259): objects without order, numbers by value"

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return 1 where all fields are equal, else 0."""
        pairs = fields_of(expected, outputs)
        return float(bool(pairs) and all(_json_equal(_read(wanted), _read(given)) for wanted, given in pairs))


def _same(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, list) and isinstance(given, list):
        return len(wanted) == len(given) and all(map(_same, wanted, given))
    if isinstance(wanted, dict) and isinstance(given, dict):
        return wanted.keys() == given.keys() and all(_same(wanted[key], given[key]) for key in wanted)
    if isinstance(wanted, bool) or isinstance(given, bool):
        return wanted is given
    if isinstance(wanted, (int, float)) and isinstance(given, (int, float)):
        return bool(wanted == given)
    if wanted is None or given is None:
        return wanted is given
    return (wanted == given and type(wanted) is str) or normalized(wanted) == normalized(given)


def _read(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _json_equal(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(given, bool):  # True == 1 in Python, not in JSON
        return wanted is given
    if isinstance(wanted, dict) and isinstance(given, dict):
        return wanted.keys() == given.keys() and all(_json_equal(wanted[key], given[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(given, list):
        return len(wanted) == len(given) and all(map(_json_equal, wanted, given))
    if type(wanted) in (int, float) and type(given) in (int, float):
        return bool(wanted == given)
    return type(wanted) is type(given) and bool(wanted == given)
