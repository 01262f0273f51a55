"""Convert feedback into examples: corrected outputs and outputs with high ratings count as right."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, fields, frozen

from hokusai_core.errors import ConfigurationError, FeedbackError, SignatureDefinitionError
from hokusai_core.plugin_api import REDACTED, KeptExecution, OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import input_key
from hokusai_teleprompt.feedback.collector import Feedback
from hokusai_teleprompt.source_result import SourceResult, count_sources

__all__ = [
    "FeedbackExamples",
    "ReviewedExample",
    "examples_of",
    "feedback_items",
    "fitting_example",
    "is_of",
    "spec_of",
]

_NAMED = 5


@frozen
class ReviewedExample:
    """An example that people gave.

    Args:
        example: the inputs, with the outputs that count as right.
        corrected: the outputs that a person wrote; those of the others were rated high.
    """

    example: OptimizationExample
    corrected: frozenset[str]


@frozen
class FeedbackExamples:
    """The examples in feedback.

    Args:
        items: the examples, one for each input.
        notes: what was left out, for the report.
        sources: what each source has contributed.
    """

    items: tuple[ReviewedExample, ...]
    notes: tuple[str, ...]
    sources: tuple[SourceResult, ...] = ()

    @property
    def examples(self) -> tuple[OptimizationExample, ...]:
        """The examples without who gave which output."""
        return tuple(item.example for item in self.items)


def spec_of(name: str, feedback: Sequence[Feedback], executions: Iterable[KeptExecution]) -> SignatureSpec:
    """Return the signature of that name as the latest execution with feedback had it, else as any execution had it.

    Raises:
        FeedbackError: there is no feedback on a signature of that name, and no execution of it.
    """
    mine = [item for item in feedback if is_of(item.signature, name)]
    found = [(item.given_at, item.spec) for item in mine if item.spec]
    found = found or [(kept.started_at, kept.spec) for kept in executions if kept.spec]
    if not found:
        what = f"the {len(mine)} feedbacks on one do not hold it" if mine else "no feedback on one"
        raise FeedbackError(
            f"there is no signature {name!r} here, and {what}; register it with the executor that you give "
            "to TelepromptFineTuner(executor=...)"
        )
    try:
        return SignatureSpec.from_dict(max(found, key=lambda pair: pair[0])[1])
    except SignatureDefinitionError as error:
        raise FeedbackError(f"the kept signature {name!r} cannot be used: {error}") from error


def examples_of(
    spec: SignatureSpec, name: str, feedback: Any, *, min_rating: int, per_source: float, seed: int
) -> FeedbackExamples:
    """Return the examples in feedback, with notes on what was left out.

    Args:
        spec: the signature.
        name: its qualified name.
        feedback: feedback on its executions; feedback on others is left out.
        min_rating: the least rating of an output that counts as right.
        per_source: largest share of the examples that one source may have, if there are several sources.
        seed: of the choice among the examples of a source that has too many.

    Raises:
        FeedbackError: there are no examples in it.
        ConfigurationError: an argument cannot be used.
    """
    if type(min_rating) is not int or not 1 <= min_rating <= 5:
        raise ConfigurationError(f"min_rating={min_rating!r}: expected a whole number from 1 to 5")
    if isinstance(per_source, bool) or not isinstance(per_source, (int, float)) or not 0 < per_source <= 1:
        raise ConfigurationError(f"per_source={per_source!r}: expected a share above 0 and not above 1")
    notes: list[str] = []
    given = feedback_items(feedback)
    mine = [item for item in given if is_of(item.signature, name)]
    if len(mine) < len(given):
        notes.append(f"{len(given) - len(mine)} of {len(given)} feedbacks are on other signatures")
    usable = _without_redacted(spec, mine, notes)
    fitting = _fitting(spec, [*_corrected(usable, min_rating), *_praised(usable, min_rating, notes)], notes)
    settled = _one_per_input(fitting, notes)
    capped = _capped(settled, per_source, seed, notes)
    if not capped:
        said = "; ".join(notes) or "there is none"
        raise FeedbackError(
            f"there is nothing to learn for {name}: {len(mine)} feedbacks, none of them with a correction or rated "
            f"{min_rating} or higher ({said})"
        )
    corrected = [item.source for item in usable if item.corrections]
    notes.insert(0, f"{len(capped)} examples out of {len(mine)} feedbacks, {len(corrected)} of which have corrections")
    sources = count_sources(
        feedbacks=[item.source for item in mine],
        corrections=corrected,
        examples=[item.example.source for item in capped],
    )
    return FeedbackExamples(tuple(capped), tuple(notes), sources)


def feedback_items(feedback: Any) -> list[Feedback]:
    """Return feedback as records.

    Args:
        feedback: what ``get_feedback`` returned, or the mappings that ``export`` writes.

    Raises:
        FeedbackError: it is neither.
    """
    known = {attribute.name for attribute in fields(Feedback)}
    items = []
    if isinstance(feedback, (str, Mapping)) or not isinstance(feedback, Iterable):
        raise FeedbackError(f"expected what get_feedback() returns, not {type(feedback).__name__}")
    for item in feedback:
        if isinstance(item, Mapping):  # as export() writes them
            try:
                item = Feedback(**{key: value for key, value in item.items() if key in known})
            except TypeError as error:
                raise FeedbackError(f"a feedback is incomplete: {error}") from error
        if not isinstance(item, Feedback):
            raise FeedbackError(f"expected what get_feedback() returns, not {type(item).__name__}")
        items.append(item)
    return items


def is_of(signature: str, name: str) -> bool:
    """Return whether an execution is of the signature ``name``, whatever pack it came from."""
    return signature == name or signature.rpartition("/")[2] == name.rpartition("/")[2]


def _without_redacted(spec: SignatureSpec, items: Sequence[Feedback], notes: list[str]) -> list[Feedback]:
    kept = [item for item in items if not any(value == REDACTED for value in item.inputs.values())]
    if len(kept) < len(items):
        notes.append(f"{len(items) - len(kept)} were left out, because sensitive inputs are not kept")
    return kept


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != REDACTED}


def _corrected(items: Sequence[Feedback], min_rating: int) -> list[ReviewedExample]:
    examples = []
    for item in items:
        corrections = _plain(item.corrections)
        if not corrections:
            continue
        # A low rating does not say that the outputs without a correction are right.
        rest = _plain(item.outputs) if item.rating >= min_rating else {}
        example = OptimizationExample(item.inputs, {**rest, **corrections}, item.source)
        examples.append(ReviewedExample(example, frozenset(corrections)))
    return examples


def _praised(items: Sequence[Feedback], min_rating: int, notes: list[str]) -> list[ReviewedExample]:
    by_execution: dict[str, list[Feedback]] = defaultdict(list)
    for item in items:
        by_execution[item.execution_id].append(item)
    # Compared by answer, because a cache gives the same answer to several executions.
    panned = {_answer(item) for item in items if item.rating < min_rating and not item.corrections}
    examples, disputed, low = [], 0, 0
    for said in by_execution.values():
        if any(item.corrections for item in said):
            continue
        praise = [item for item in said if item.rating >= min_rating]
        if not praise:
            low += 1
        elif _answer(praise[0]) in panned:
            disputed += 1
        else:
            example = OptimizationExample(praise[0].inputs, _plain(praise[0].outputs), praise[0].source)
            examples.append(ReviewedExample(example, frozenset()))
    if disputed:
        notes.append(f"{disputed} executions were left out, because some rate them high and others low")
    if low:
        notes.append(f"{low} executions with low ratings and no correction were left out")
    return examples


def _answer(item: Feedback) -> str:
    return json.dumps(jsonable([item.inputs, item.outputs]), sort_keys=True)


def fitting_example(spec: SignatureSpec, example: OptimizationExample) -> OptimizationExample | None:
    """Return an example as it fits the signature as it is now, bound and typed; None if it does not."""
    known = {name: value for name, value in example.outputs.items() if name in spec.outputs}
    typed, problems = spec.codec.coerce(known)
    outputs = {name: typed[name] for name in known if name in typed}
    if spec.binder.problems(example.inputs) or [item for item in problems if item.code != "missing"] or not outputs:
        return None
    return evolve(example, inputs=spec.binder.bind(example.inputs), outputs=outputs)


def _fitting(spec: SignatureSpec, items: Sequence[ReviewedExample], notes: list[str]) -> list[ReviewedExample]:
    found = [(item, fitting_example(spec, item.example)) for item in items]
    fitting = [evolve(item, example=example) for item, example in found if example is not None]
    if len(fitting) < len(items):
        notes.append(f"{len(items) - len(fitting)} do not fit {spec.name} {spec.version} and were left out")
    return fitting


def _one_per_input(items: Sequence[ReviewedExample], notes: list[str]) -> list[ReviewedExample]:
    """Return one example for each input: the answer of most feedback, the latest of these; note where they differ."""
    by_input: dict[str, list[ReviewedExample]] = defaultdict(list)
    for item in items:
        by_input[input_key(item.example)].append(item)
    settled, disputed = [], []
    for same in by_input.values():
        texts = [json.dumps(jsonable(item.example.outputs), sort_keys=True) for item in same]
        votes = Counter(texts)
        if len(votes) > 1:
            disputed.append(f"{len(votes)} answers to {_shown(same[0].example.inputs)}")
        most = max(votes.values())
        settled.append(next(e for e, text in zip(reversed(same), reversed(texts), strict=True) if votes[text] == most))
    if disputed:
        more = f" and {len(disputed) - _NAMED} more" if len(disputed) > _NAMED else ""
        notes.append(
            f"conflicting corrections on {len(disputed)} inputs; the most frequent answer was taken, or the latest of "
            f"equally frequent ones: {'; '.join(disputed[:_NAMED])}{more}"
        )
    return settled


def _shown(inputs: Mapping[str, Any]) -> str:
    text = json.dumps(jsonable(inputs), ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _capped(items: Sequence[ReviewedExample], per_source: float, seed: int, notes: list[str]) -> list[ReviewedExample]:
    """Return the examples, with at most ``per_source`` of them from each source."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        by_source[item.example.source].append(number)
    if len(by_source) < 2:
        return list(items)
    rng = random.Random(seed)  # noqa: S311  # a fair choice, not a secret
    most = max(1, int(per_source * len(items)))
    dropped: set[int] = set()
    for source, numbers in by_source.items():
        if len(numbers) > most:
            dropped |= set(numbers) - set(rng.sample(numbers, most))
            notes.append(
                f"{len(numbers) - most} of {len(numbers)} examples of {source!r} were left out: at most {most} each"
            )
    return [item for number, item in enumerate(items) if number not in dropped]
