"""The table of labels in the report of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec
from hokusai_evaluate.answers import Answer
from hokusai_evaluate.label_scores import LabelScore, are_uneven, label_scores, mean_f1
from hokusai_evaluate.stratified_split import label_fields

__all__ = ["SystemLabels", "labels_of", "rows_of_labels"]

#: Of a system: output -> its labels.
SystemLabels = Mapping[str, Sequence[LabelScore]]
#: Labels of an output that the table shows.
_SHOWN: Final = 15


def labels_of(
    spec: SignatureSpec, examples: Sequence[OptimizationExample], rounds: Sequence[Sequence[Answer]]
) -> SystemLabels:
    """Return the scores of each label of the outputs that are labels, over all rounds.

    Rows that could not be asked are left out, as are outputs that are sensitive.

    Args:
        spec: the signature.
        examples: the rows.
        rounds: the answers of a system by round and row.
    """
    found = {}
    for name in label_fields(spec, examples):
        if name in spec.sensitive:
            continue
        pairs: list[tuple[Any, Any]] = [
            (example.outputs[name], None if answer.outputs is None else answer.outputs.get(name))
            for answers in rounds
            for example, answer in zip(examples, answers, strict=True)
            if answer.answered and example.outputs.get(name) is not None
        ]
        found[name] = label_scores(pairs)
    return found


def rows_of_labels(labels: Mapping[str, SystemLabels]) -> Iterator[list[str]]:
    """Yield the rows of the table: how often each label is expected, and recall, precision and F1 of each system.

    Where labels are uneven, a row has macro F1 as well.

    Args:
        labels: system -> its labels.
    """
    yield ["LABEL", "ROWS", *(f"{name}: RECALL, PRECISION, F1" for name in labels)]
    first = next(iter(labels.values()))
    for name, scores in first.items():
        for place, score in enumerate(scores[:_SHOWN]):
            figures = [_figures(others[name], place) for others in labels.values()]
            yield [f"{name}={score.label}", str(score.expected), *figures]
        if len(scores) > _SHOWN:
            yield [f"{name}: {len(scores) - _SHOWN} more labels", "", *("" for _ in labels)]
        if are_uneven(scores):
            yield [f"{name}: macro-F1", "", *(f"{mean_f1(others[name]):.3f}" for others in labels.values())]


def _figures(scores: Sequence[LabelScore], place: int) -> str:
    if place >= len(scores):
        return "-"
    score = scores[place]
    return f"{score.recall:.2f}, {score.precision:.2f}, {score.f1:.2f}"
