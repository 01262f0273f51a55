"""Divide groups of examples at random, with labels spread evenly. A group is never divided."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec, jsonable

__all__ = ["free_text_fields", "label_fields", "strata_of", "take"]

T = TypeVar("T")
#: A field with more different values does not count as a label.
_MOST_LABELS: Final = 30
#: Kinds of types that have a few values.
_CHOICES: Final = ("literal", "enum", "bool", "null")
#: Kinds of types that are texts of any wording, or may hold some.
_TEXTS: Final = ("str", "any", "model", "attrs")


def label_fields(spec: SignatureSpec, examples: Sequence[OptimizationExample]) -> list[str]:
    """Return the outputs that are labels: of a type with a few values, or texts that come again and again."""
    found = []
    for name, item in spec.outputs.items():
        values = {
            value if type(value := example.outputs.get(name)) is str else str(jsonable(value)) for example in examples
        }
        declared = item.choices_from is not None or all(one.kind in _CHOICES for one in item.shape.members)
        repeats = item.annotation is str and len(values) <= min(_MOST_LABELS, len(examples) // 4)
        if len(values) > 1 and (declared or repeats):
            found.append(name)
    return found


def free_text_fields(spec: SignatureSpec, examples: Sequence[OptimizationExample]) -> frozenset[str]:
    """Return the outputs that are free texts, or hold some: of several right answers an example has only one.

    Args:
        spec: the signature.
        examples: examples of it, which show whether a text is a label.
    """
    labels = label_fields(spec, examples)
    return frozenset(
        name
        for name, item in spec.outputs.items()
        if name not in labels and item.choices_from is None and item.shape.involves(*_TEXTS)
    )


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
