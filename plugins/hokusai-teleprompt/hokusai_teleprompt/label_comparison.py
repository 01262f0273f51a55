"""Compare baseline and candidate label by label, and find the labels that a candidate no longer gives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.label_scores import LabelScore, are_uneven, label_key, label_scores, mean_f1
from hokusai_evaluate.stratified_split import label_fields

__all__ = ["LabelResult", "compare_labels", "label_refusals"]

#: Share of its recall that a label may lose at most, if the loss is not by chance.
_MOST_LOST: Final = 0.5
#: Probability of as many losses on a label by chance, from which on the loss counts as one.
_CHANCE: Final = 0.05


@frozen
class LabelResult:
    """One label in the comparison.

    Args:
        field: the output.
        label: the label.
        examples: held-out examples whose right answer it is.
        baseline_right: how many of these the baseline gives it.
        candidate_right: how many of these the candidate gives it.
        baseline_given: how many examples the baseline gives it, rightly or not.
        candidate_given: how many examples the candidate gives it, rightly or not.
        wins: examples of this label that only the candidate gets right.
        losses: examples of this label that only the baseline gets right.
    """

    field: str
    label: str
    examples: int
    baseline_right: int
    candidate_right: int
    baseline_given: int
    candidate_given: int
    wins: int = 0
    losses: int = 0

    @property
    def baseline(self) -> LabelScore:
        """The scores of the baseline."""
        return LabelScore(self.label, self.examples, self.baseline_given, self.baseline_right)

    @property
    def candidate(self) -> LabelScore:
        """The scores of the candidate."""
        return LabelScore(self.label, self.examples, self.candidate_given, self.candidate_right)

    @property
    def collapsed(self) -> bool:
        """Whether the candidate loses at least half of the recall, by more than chance, and F1 falls with it.

        A baseline that gives a label to nearly everything finds all of its examples. Giving that up is no loss.
        """
        if not self.baseline_right or self.candidate_right > (1 - _MOST_LOST) * self.baseline_right:
            return False
        if self.candidate.f1 >= self.baseline.f1:
            return False
        return _tail(self.wins, self.losses) <= _CHANCE


def compare_labels(
    spec: SignatureSpec,
    examples: Sequence[OptimizationExample],
    before: Sequence[Mapping[str, Any] | None],
    after: Sequence[Mapping[str, Any] | None],
) -> tuple[LabelResult, ...]:
    """Return each label of each output that is a label, on the examples that both have finished.

    Args:
        spec: the signature.
        examples: the held-out examples.
        before: the outputs of the baseline, empty for an answer that did not fit; None where it was not reached.
        after: the outputs of the candidate, likewise.
    """
    rows = [
        (example, first, second)
        for example, first, second in zip(examples, before, after, strict=True)
        if first is not None and second is not None
    ]
    return tuple(
        result
        for name in label_fields(spec, [example for example, _, _ in rows])
        for result in _labels_of(name, [row for row in rows if row[0].outputs.get(name) is not None])
    )


def label_refusals(labels: Sequence[LabelResult], *, hidden: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """Return why a candidate may not be promoted, although its score is higher.

    A candidate that gives the commonest label to everything has a high accuracy where labels are uneven.

    Args:
        labels: what ``compare_labels`` returned.
        hidden: outputs whose labels are not named.
    """
    refusals = []
    for name in dict.fromkeys(result.field for result in labels):
        mine = [result for result in labels if result.field == name]
        lost = [
            f"{'a label' if name in hidden else result.label!r} ({result.baseline_right} to {result.candidate_right}"
            f" of {result.examples})"
            for result in mine
            if result.collapsed
        ]
        if lost:
            refusals.append(f"{name}: it no longer finds {', '.join(lost)}, whatever it gains on other labels")
        before, after = (mean_f1([getattr(result, who) for result in mine]) for who in ("baseline", "candidate"))
        if after < before and are_uneven([result.baseline for result in mine]):
            refusals.append(f"{name}: labels are uneven, and macro-F1 falls from {before:.3f} to {after:.3f}")
    return refusals


def _labels_of(
    name: str, rows: Sequence[tuple[OptimizationExample, Mapping[str, Any], Mapping[str, Any]]]
) -> list[LabelResult]:
    texts = [(_text(example.outputs[name]), _text(one.get(name)), _text(two.get(name))) for example, one, two in rows]
    wins, losses = Counter[Hashable](), Counter[Hashable]()
    for wanted, one, two in texts:
        key, right = label_key(wanted), [label_key(answer) == label_key(wanted) for answer in (one, two)]
        wins[key] += right == [False, True]
        losses[key] += right == [True, False]
    before = label_scores((wanted, one) for wanted, one, _ in texts)
    after = label_scores((wanted, two) for wanted, _, two in texts)
    return [
        LabelResult(
            field=name,
            label=first.label,
            examples=first.expected,
            baseline_right=first.right,
            candidate_right=second.right,
            baseline_given=first.given,
            candidate_given=second.given,
            wins=wins[label_key(first.label)],
            losses=losses[label_key(first.label)],
        )
        for first, second in zip(before, after, strict=True)
    ]


def _text(value: Any) -> str | None:
    return None if value is None else str(jsonable(value))


def _tail(wins: int, losses: int) -> float:
    """Return the probability of at most ``wins`` wins among all, if wins and losses are equally likely."""
    total = wins + losses
    return sum(math.comb(total, count) for count in range(wins + 1)) / (1 << total)
