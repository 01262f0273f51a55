"""Divide groups of examples at random, with labels spread evenly. A group is never divided."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, TypeVar, get_origin

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec

__all__ = ["label_fields", "strata_of", "take"]

T = TypeVar("T")
#: A field with more different values does not count as a label.
_MOST_LABELS: Final = 30


def label_fields(spec: SignatureSpec, examples: Sequence[OptimizationExample]) -> list[str]:
    """Return the outputs that are labels: of a type with a few values, or texts that come again and again."""
    found = []
    for name, item in spec.outputs.items():
        values = {str(example.outputs.get(name)) for example in examples}
        declared = item.choices_from is not None or item.annotation is bool or get_origin(item.annotation) is Literal
        repeats = item.annotation is str and len(values) <= min(_MOST_LABELS, len(examples) // 4)
        if len(values) > 1 and (declared or repeats):
            found.append(name)
    return found


def strata_of(groups: Iterable[list[T]], label: Callable[[T], str], rng: random.Random) -> list[list[list[T]]]:
    """Return the groups of each label, shuffled.

    Args:
        groups: the groups; the first example of each tells its label.
        label: returns the label of an example; the same one for all where there are no labels.
        rng: shuffles.
    """
    strata: dict[str, list[list[T]]] = defaultdict(list)
    for group in groups:
        strata[label(group[0])].append(group)
    ordered = [strata[name] for name in sorted(strata)]
    for stratum in ordered:
        rng.shuffle(stratum)
    return ordered


def take(strata: Sequence[list[list[T]]], count: int) -> tuple[list[list[T]], list[list[list[T]]]]:
    """Return ``count`` groups, from each stratum by its share (largest remainders first), and the rest of each."""
    total = sum(map(len, strata))
    if count <= 0 or total == 0:
        return [], list(strata)
    exact = [len(stratum) * min(count, total) / total for stratum in strata]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(strata)), key=lambda number: (quotas[number] - exact[number], number))
    for number in by_remainder[: min(count, total) - sum(quotas)]:
        quotas[number] += 1
    taken = [group for stratum, quota in zip(strata, quotas, strict=True) for group in stratum[:quota]]
    return taken, [stratum[quota:] for stratum, quota in zip(strata, quotas, strict=True)]
