"""Split feedback into examples to learn from, and a fair sample of the executions to choose by and to compare on.

People correct what is wrong and are silent about what is right. Corrections alone are therefore no sample of what the
signature is asked: a candidate that is better on them may be worse on all the rest. So the sets to choose by and to
compare on have executions without feedback as well, in proportion; their answers count as right, because they
were not contested. They are never learned from.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final

from attrs import evolve

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec
from hokusai_evaluate.example_reader import near_key
from hokusai_evaluate.stratified_split import free_text_fields
from hokusai_teleprompt.data_split import FEWEST, DataSplit, split_examples
from hokusai_teleprompt.feedback.execution_population import UNREVIEWED, ExecutionPopulation
from hokusai_teleprompt.feedback.feedback_examples import FeedbackExamples, ReviewedExample

__all__ = ["split_feedback"]

#: Examples that are split at most.
_MOST: Final = 2_000
#: Executions that were drawn for a review from which on they stand for those without feedback.
_ENOUGH_DRAWN: Final = 40

#: What is compared on, and the example that is learned from in its place.
_Compared = list[tuple[OptimizationExample, ReviewedExample]]


def split_feedback(
    spec: SignatureSpec,
    found: FeedbackExamples,
    population: ExecutionPopulation | None,
    *,
    seed: int,
    reference_free: bool = False,
    test: Sequence[OptimizationExample] | None = None,
) -> DataSplit:
    """Return the sets, with notes on what was compared, and with the reasons why nothing may be promoted.

    Args:
        spec: the signature.
        found: the examples in feedback.
        population: all executions; None where they are not known.
        seed: of the shuffling.
        reference_free: whether the metric grades an answer without an expected one.
        test: examples of the user's own to compare on; the sample then serves to choose by only.
    """
    unreviewed = () if population is None else population.uncontested
    texts = free_text_fields(spec, [*found.examples, *unreviewed])
    refusals: list[str] = []
    if reference_free:
        compared = [(_expecting(item.example, item.corrected), item) for item in found.items]
        silent = [evolve(example, outputs={}) for example in unreviewed]
    else:
        whole = not texts or _all_corrected(found.items, texts, population)
        fields = spec.outputs.keys() - spec.sensitive - (frozenset() if whole else texts)
        compared, refusals = _compared(found.items, fields)
        silent = [one for example in unreviewed if (one := _expecting(example, fields)).outputs]
    notes: list[str] = []
    if population is None or population.missing or population.left_out:
        refusals.append(_unknown(population))
        silent = []
    else:
        compared, silent, note = _in_proportion(compared, silent, population, seed)
        notes += note
        if population.unreviewed and not note and not refusals:
            refusals.append("no execution without feedback can be compared on, so that this is no fair sample")
    if len(compared) < FEWEST and test is None:
        notes.append(
            f"not enough yet: {len(compared)} reviewed inputs can be compared on, {FEWEST} are needed to hold any out; "
            f"review more with: hokusai feedback review --signature {spec.name}"
        )
        return DataSplit(found.examples, (), (), None, tuple(notes), tuple(refusals), found.sources)
    learned = {id(example): item.example for example, item in compared}
    split = split_examples(
        spec,
        [*(example for example, _ in compared), *silent],
        seed=seed,
        test=test,
        spread=lambda example: "unreviewed" if example.source == UNREVIEWED else "reviewed",
    )
    apart = {near_key(example.inputs) for part in (split.dev, split.test) for example in part}
    train = [learned[id(example)] for example in split.train if id(example) in learned]
    used = {id(item) for _, item in compared}
    train += [
        item.example for item in found.items if id(item) not in used and near_key(item.example.inputs) not in apart
    ]
    return evolve(
        split,
        train=tuple(train),
        notes=(*notes, *split.notes),
        refusals=() if test is not None else tuple(refusals),
        sources=found.sources,
    )


def _expecting(example: OptimizationExample, fields: Collection[str]) -> OptimizationExample:
    """Return an example that expects some of its outputs only."""
    return evolve(example, outputs={name: value for name, value in example.outputs.items() if name in fields})


def _compared(items: Sequence[ReviewedExample], fields: Collection[str]) -> tuple[_Compared, list[str]]:
    """Return what reviewed examples are compared on, and why that is no fair sample.

    Args:
        items: the examples.
        fields: outputs with one right answer. If there are none, because all outputs are free texts, the texts that
            people wrote are compared on: one that was rated high is one of many right ones.
    """
    if fields:
        return [(one, item) for item in items if (one := _expecting(item.example, fields)).outputs], []
    compared = [(one, item) for item in items if (one := _expecting(item.example, item.corrected)).outputs]
    reason = (
        f"only the {len(compared)} corrected texts have something to compare with. Texts that were right have not, so "
        "that it is not known whether the candidate keeps them right; compare on examples of your own (testset), or "
        "with a metric that needs no expected answer (quality_score)"
    )
    return compared, [reason]


def _all_corrected(
    items: Sequence[ReviewedExample], texts: frozenset[str], population: ExecutionPopulation | None
) -> bool:
    """Return whether every text of every execution was corrected, so that corrections are all there is."""
    if population is None or population.unreviewed:
        return False
    return all(texts & item.example.outputs.keys() <= item.corrected for item in items)


def _unknown(population: ExecutionPopulation | None) -> str:
    """Return why the other executions are not known, and what to do."""
    way = "leave feedback= out, or give the FeedbackCollector itself"
    if population is None:
        return f"people correct what is wrong, and how the other executions were answered is not known here; {way}"
    if population.missing:
        return (
            f"people correct what is wrong, and {population.missing} of the executions are not in the feedback store, "
            f"so that the others are not known; {way}"
        )
    return (
        f"the feedback is a selection: {population.left_out} more executions have feedback, so that it is no fair "
        f"sample; {way}"
    )


def _in_proportion(
    compared: _Compared, silent: list[OptimizationExample], population: ExecutionPopulation, seed: int
) -> tuple[_Compared, list[OptimizationExample], list[str]]:
    """Return reviewed and other examples as they are in all executions, with a note on the latter.

    Executions without feedback are represented by those that were drawn from them for a review, if these are enough,
    else by themselves.
    """
    rng = random.Random(seed)  # noqa: S311  # a fair choice, not a secret
    drawn = [pair for pair in compared if near_key(pair[0].inputs) in population.drawn]
    total = population.reviewed + population.unreviewed
    if not population.unreviewed:
        return compared, [], []
    if len(drawn) >= _ENOUGH_DRAWN:
        chosen = [pair for pair in compared if near_key(pair[0].inputs) not in population.drawn]
        share = (population.reviewed - len(population.drawn)) / (total - population.reviewed + len(population.drawn))
        count = min(len(drawn), round(len(chosen) / share) if share else len(drawn))
        kept = [*rng.sample(drawn, count), *rng.sample(chosen, min(len(chosen), round(count * share)))]
        note = (
            f"{len(population.drawn)} of {total} inputs were drawn at random for a review. {count} of them stand for "
            f"all others, beside {len(kept) - count} that reviewers chose themselves, where candidates "
            "are chosen and compared"
        )
        return kept, [], [note]
    if not silent:
        return compared, [], []
    if not compared:
        return [], [], []
    share = population.unreviewed / max(1, population.reviewed)
    count = min(len(compared), round(_MOST / (1 + share)), round(len(silent) / share))
    silent = silent[: round(count * share)]
    note = (
        f"{population.reviewed} of {total} inputs have feedback. People correct what is wrong and are silent about the "
        f"rest, so {len(silent)} answers without feedback count as right beside {count} reviewed ones where candidates "
        "are chosen and compared, in proportion to all executions; they are not learned from. Some of them may be "
        f"wrong, which hides improvements; {_ENOUGH_DRAWN} random reviews (hokusai feedback review) tell how many"
    )
    return rng.sample(compared, count), silent, [note]
