"""ExampleTexts: what a held-out example says where baseline and candidate differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec, jsonable

if TYPE_CHECKING:
    from hokusai_teleprompt.study.evaluation import ExampleOutcome, Measurement

__all__ = ["ExampleTexts", "example_texts"]

#: Wins and losses that are kept, of each.
_KEPT: Final = 5
#: Characters of a value.
_LONGEST: Final = 200


@frozen
class ExampleTexts:
    """One held-out example on which baseline and candidate differ, long values cut.

    Args:
        outcome: ``win`` or ``loss`` of the candidate.
        inputs: its inputs.
        expected: its expected outputs.
        baseline: what the baseline answered; the class of the error where the answer did not fit.
        candidate: what the candidate answered, likewise.
    """

    outcome: str
    inputs: str
    expected: str
    baseline: str
    candidate: str

    def __str__(self) -> str:
        answers = f"baseline {self.baseline}; candidate {self.candidate}"
        return f"{self.inputs}; expected {self.expected or 'nothing'}; {answers}"


def example_texts(
    spec: SignatureSpec,
    examples: Sequence[OptimizationExample],
    before: Measurement,
    after: Measurement,
    outcomes: Sequence[str],
) -> tuple[ExampleTexts, ...]:
    """Return the first wins, then the first losses; nothing if a field of the signature is sensitive.

    Args:
        spec: the signature.
        examples: the held-out examples.
        before: the measurement of the baseline.
        after: the measurement of the candidate.
        outcomes: ``win``, ``loss`` or ``tie`` of each example that both have finished.
    """
    if spec.sensitive:  # an output may quote a sensitive input
        return ()
    rows = [
        (example, first, second)
        for example, first, second in zip(examples, before.outcomes, after.outcomes, strict=True)
        if first is not None and second is not None
    ]
    kept: list[ExampleTexts] = []
    counts: Counter[str] = Counter()
    for (example, first, second), outcome in zip(rows, outcomes, strict=True):
        counts[outcome] += 1
        if outcome != "tie" and counts[outcome] <= _KEPT:
            texts = (_values(example.inputs), _values(example.outputs), _answer(first), _answer(second))
            kept.append(ExampleTexts(outcome, *texts))
    return tuple(sorted(kept, key=lambda item: item.outcome, reverse=True))


def _answer(outcome: ExampleOutcome) -> str:
    return f"({outcome.error or 'no answer'})" if outcome.outputs is None else _values(outcome.outputs)


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else str(jsonable(value))
    except (TypeError, ValueError):  # it has no form as data
        text = f"<{type(value).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
