"""How well each label is given: recall, precision and F1, beside the score of all rows together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

from attrs import frozen

from hokusai_core.plugin_api import jsonable

__all__ = ["LabelScore", "are_uneven", "label_key", "label_scores", "mean_f1"]

#: The commonest label has more than this many times the rows of the rarest one.
_UNEVEN: Final = 2


@frozen
class LabelScore:
    """How well one label is given.

    Args:
        label: the label.
        expected: rows whose right answer it is.
        given: rows that it was given for.
        right: rows that it was rightly given for.

    Example:
        >>> LabelScore("spam", expected=4, given=3, right=3).recall
        0.75
    """

    label: str
    expected: int
    given: int
    right: int

    @property
    def recall(self) -> float:
        """Share of the rows of this label that it was given for."""
        return self.right / self.expected if self.expected else 0.0

    @property
    def precision(self) -> float:
        """Share of the rows that it was given for and that are of this label."""
        return self.right / self.given if self.given else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        total = self.expected + self.given
        return 2 * self.right / total if total else 0.0


def label_key(value: Any) -> Hashable:
    """Return what is equal for labels that differ in case or blanks only."""
    if not isinstance(value, str):
        value = jsonable(value)
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, list):
        return tuple(sorted(map(str, map(label_key, value))))
    return str(value) if isinstance(value, dict) else value


def label_scores(pairs: Iterable[tuple[Any, Any]]) -> tuple[LabelScore, ...]:
    """Return the scores of each expected label, the commonest first.

    Giving a label that is never expected lowers the recall of others.

    Args:
        pairs: of each row the expected and the given label; None for an answer that was not given.
    """
    names: dict[Hashable, str] = {}
    expected: Counter[Hashable] = Counter()
    given: Counter[Hashable] = Counter()
    right: Counter[Hashable] = Counter()
    for (wanted, answer), count in _counted(pairs):
        key, other = label_key(wanted), label_key(answer)
        names.setdefault(key, str(jsonable(wanted)))
        expected[key] += count
        given[other] += count
        right[key] += count * (key == other)
    return tuple(LabelScore(names[key], count, given[key], right[key]) for key, count in expected.most_common())


def _counted(pairs: Iterable[tuple[Any, Any]]) -> Iterable[tuple[tuple[Any, Any], int]]:
    """Return each pair with how often it is there; pairs of lists one by one."""
    given = list(pairs)
    try:
        return Counter(given).items()
    except TypeError:
        return ((pair, 1) for pair in given)


def mean_f1(scores: Sequence[LabelScore]) -> float:
    """Return macro F1, the mean of the labels' F1; 0 where there are none."""
    return sum(score.f1 for score in scores) / len(scores) if scores else 0.0


def are_uneven(scores: Sequence[LabelScore]) -> bool:
    """Return whether the commonest label has more than twice the rows of the rarest one."""
    counts = [score.expected for score in scores]
    return len(counts) > 1 and max(counts) > _UNEVEN * min(counts)
