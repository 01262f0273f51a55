"""What each source of feedback has contributed to an optimization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import frozen

__all__ = ["SourceResult", "count_sources"]


@frozen
class SourceResult:
    """What a person, system or channel has contributed.

    Args:
        source: its name.
        feedbacks: how often it rated or corrected an execution; what was replaced does not count.
        corrections: how many of these have corrections.
        outcomes: how many outcomes it recorded, of the kind that was asked for.
        examples: examples of it that are used.
        weight: its share of all examples that are used.
    """

    source: str
    feedbacks: int
    corrections: int
    outcomes: int
    examples: int
    weight: float


def count_sources(
    *,
    feedbacks: Iterable[str] = (),
    corrections: Iterable[str] = (),
    outcomes: Iterable[str] = (),
    examples: Iterable[str] = (),
) -> tuple[SourceResult, ...]:
    """Return the contributions by source, the largest first.

    Args:
        feedbacks: the source of each feedback.
        corrections: the source of each feedback with corrections.
        outcomes: the source of each outcome.
        examples: the source of each example that is used.
    """
    counts = [Counter(names) for names in (feedbacks, corrections, outcomes, examples)]
    total = sum(counts[3].values())
    found = [
        SourceResult(
            source=name,
            feedbacks=counts[0][name],
            corrections=counts[1][name],
            outcomes=counts[2][name],
            examples=counts[3][name],
            weight=counts[3][name] / total if total else 0.0,
        )
        for name in dict.fromkeys(name for count in counts for name in count)
    ]
    return tuple(sorted(found, key=lambda one: (-one.examples, -one.feedbacks, one.source)))
