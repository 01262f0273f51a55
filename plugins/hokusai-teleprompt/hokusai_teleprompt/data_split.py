"""Split examples into those to learn from, to choose by, and to compare on. The last are used only at the end."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec
from hokusai_evaluate.example_reader import near_key
from hokusai_evaluate.stratified_split import label_fields, strata_of, take
from hokusai_teleprompt.source_result import SourceResult

__all__ = ["FEWEST", "DataSplit", "split_examples"]

#: With fewer different inputs nothing is held out, because a comparison on two or three examples proves nothing.
FEWEST = 8

_TEST, _DEV = 0.4, 0.25
_MOST_TEST, _MOST_DEV = 500, 200

_Group = list[OptimizationExample]


@frozen
class DataSplit:
    """Disjoint sets of examples.

    Args:
        train: to learn from.
        dev: to choose between candidates by.
        test: held out, to compare the best candidate with the baseline.
        stratified_by: the output whose values are spread evenly over the three sets, None for none.
        notes: notes for the report.
        refusals: why nothing is promoted by a comparison on ``test``; empty where it is a fair sample.
        sources: what each source of feedback has contributed; empty where the examples are no feedback.
    """

    train: tuple[OptimizationExample, ...]
    dev: tuple[OptimizationExample, ...]
    test: tuple[OptimizationExample, ...]
    stratified_by: str | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    sources: tuple[SourceResult, ...] = ()


def split_examples(
    spec: SignatureSpec,
    examples: Sequence[OptimizationExample],
    *,
    seed: int,
    dev: Sequence[OptimizationExample] | None = None,
    test: Sequence[OptimizationExample] | None = None,
    spread: Callable[[OptimizationExample], str] = lambda example: "",
) -> DataSplit:
    """Split examples at random, with labels spread evenly.

    Examples whose inputs are the same, but for case, blanks and the order of lists, stay together.

    Args:
        spec: the signature.
        examples: the examples.
        seed: of the shuffling.
        dev: examples to choose by, in place of some of ``examples``.
        test: examples to compare on, in place of some of ``examples``.
        spread: returns a mark of an example whose values are spread evenly, as labels are.
    """
    notes = []
    apart = {near_key(example.inputs) for part in (dev, test) for example in part or ()}
    kept = [example for example in examples if near_key(example.inputs) not in apart]
    if len(kept) < len(examples):
        notes.append(f"{len(examples) - len(kept)} training examples are also in the other sets and were left out")
    if dev is not None and test is not None:
        held_out = {near_key(example.inputs) for example in test}
        clean = [example for example in dev if near_key(example.inputs) not in held_out]
        if len(clean) < len(dev):
            notes.append(f"{len(dev) - len(clean)} examples of valset are also in testset and were left out of valset")
        dev = clean
    labels = label_fields(spec, kept)
    label = labels[0] if len(labels) == 1 else None
    rng = random.Random(seed)  # noqa: S311  # shuffling, not secrets

    def stratum(example: OptimizationExample) -> str:
        return f"{spread(example)} {example.outputs.get(label) if label else ''}"

    strata = strata_of(_groups(kept), stratum, rng)
    total = sum(map(len, strata))
    if total < FEWEST and test is None:
        notes.append(
            f"nothing could be held out: {total} different inputs are too few to compare on (from {FEWEST} on some are)"
        )
        return DataSplit(tuple(kept), _mixed(dev or (), rng), (), None, tuple(notes))
    tested, strata = take(strata, 0 if test is not None else min(_MOST_TEST, round(total * _TEST)))
    chosen, strata = take(strata, 0 if dev is not None else min(_MOST_DEV, round(total * _DEV)))
    learned = [group for stratum in strata for group in stratum]
    rng.shuffle(learned)
    return DataSplit(
        _flat(learned),
        _mixed(dev if dev is not None else _flat(chosen), rng),
        _mixed(test if test is not None else _flat(tested), rng),
        label,
        tuple(notes),
    )


def _mixed(examples: Sequence[OptimizationExample], rng: random.Random) -> tuple[OptimizationExample, ...]:
    """Return examples in random order, so that the first ones represent all of them if a budget ends early."""
    return tuple(rng.sample(examples, len(examples)))


def _groups(examples: Iterable[OptimizationExample]) -> list[_Group]:
    by_input: dict[str, _Group] = defaultdict(list)
    for example in examples:
        by_input[near_key(example.inputs)].append(example)
    return list(by_input.values())


def _flat(groups: Iterable[_Group]) -> tuple[OptimizationExample, ...]:
    return tuple(example for group in groups for example in group)
