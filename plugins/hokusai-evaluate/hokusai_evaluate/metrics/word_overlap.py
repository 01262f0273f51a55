"""Metrics that compare the words of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hokusai_evaluate.metrics.scoring import fields_of, tokens

__all__ = ["RougeL", "TokenF1"]


class TokenF1:
    """F1 of the words that expected and given text share, averaged over the fields.

    Example:
        >>> TokenF1().score({"summary": "two invoices failed"}, {"summary": "invoices failed twice"}, {})
        0.6666666666666666
    """

    name = "f1"
    range: Final = (0.0, 1.0)
    higher_is_better = True
    source = "token F1 of SQuAD 1.1 (Rajpurkar et al., 2016), averaged over the fields"

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the mean F1 of the fields."""
        return _mean_over_fields(expected, outputs, _f1)


class RougeL:
    """F-measure of the longest common subsequence of words, averaged over the fields.

    Unlike ``f1`` it depends on the order of the words.

    Example:
        >>> RougeL().score({"summary": "police killed gunman"}, {"summary": "gunman killed police"}, {})
        0.3333333333333333
    """

    name = "rouge_l"
    range: Final = (0.0, 1.0)
    higher_is_better = True
    source = "ROUGE-L with beta = 1 (Lin, 2004), words normalized as for f1, averaged over the fields"

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the mean ROUGE-L of the fields."""
        return _mean_over_fields(expected, outputs, _rouge_l)


def _mean_over_fields(
    expected: Mapping[str, Any],
    outputs: Mapping[str, Any],
    compare: Callable[[Sequence[str], Sequence[str]], float],
) -> float:
    pairs = fields_of(expected, outputs)
    scores = [0.0 if given is None else compare(_words(wanted), _words(given)) for wanted, given in pairs]
    return sum(scores) / len(scores) if scores else 0.0


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [word for item in value for word in _words(item)]
    if isinstance(value, dict):
        return [word for key, item in value.items() for word in (*tokens(key), *_words(item))]
    return tokens(value)


def _f_measure(shared: int, wanted: int, given: int) -> float:
    if not wanted or not given:
        return float(wanted == given)
    return 2 * shared / (wanted + given)


def _f1(wanted: Sequence[str], given: Sequence[str]) -> float:
    return _f_measure((Counter(wanted) & Counter(given)).total(), len(wanted), len(given))


def _rouge_l(wanted: Sequence[str], given: Sequence[str]) -> float:
    lengths = [0] * (len(given) + 1)
    for word in wanted:
        diagonal = 0
        for column, other in enumerate(given, 1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if word == other else max(above, lengths[column - 1])
            diagonal = above
    return _f_measure(lengths[-1], len(wanted), len(given))
