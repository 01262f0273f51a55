"""Convert feedback into examples: corrected outputs and outputs with high ratings count as right."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, fields

from hokusai_core.errors import ConfigurationError, FeedbackError, SignatureDefinitionError
from hokusai_core.plugin_api import REDACTED, OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import Examples, input_key
from hokusai_teleprompt.feedback.collector import Feedback

__all__ = ["examples_of", "spec_of"]

_NAMED = 5


def spec_of(name: str, feedback: Any) -> SignatureSpec:
    """Return the signature of that name as the latest execution with feedback had it.

    Raises:
        FeedbackError: there is no feedback on a signature of that name.
    """
    mine = [item for item in _items(feedback) if _is_of(item, name)]
    found = [item for item in mine if item.spec]
    if not found:
        what = f"the {len(mine)} feedbacks on one do not hold it" if mine else "no feedback on one"
        raise FeedbackError(
            f"there is no signature {name!r} here, and {what}; register it with the executor that you give "
            "to TelepromptFineTuner(executor=...)"
        )
    latest = max(found, key=lambda item: item.given_at)
    try:
        return SignatureSpec.from_dict(latest.spec)
    except SignatureDefinitionError as error:
        raise FeedbackError(f"the kept signature {name!r} cannot be used: {error}") from error


def examples_of(
    spec: SignatureSpec, name: str, feedback: Any, *, min_rating: int, per_source: float, seed: int
) -> Examples:
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
    given = _items(feedback)
    mine = [item for item in given if _is_of(item, name)]
    if len(mine) < len(given):
        notes.append(f"{len(given) - len(mine)} of {len(given)} feedbacks are on other signatures")
    usable = _without_redacted(spec, mine, notes)
    examples = [*_corrected(spec, usable, min_rating, notes), *_praised(spec, usable, min_rating, notes)]
    fitting = _fitting(spec, examples, notes)
    settled = _one_per_input(fitting, notes)
    capped = _capped(settled, per_source, seed, notes)
    if not capped:
        said = "; ".join(notes) or "there is none"
        raise FeedbackError(
            f"there is nothing to learn for {name}: {len(mine)} feedbacks, none of them with a correction or rated "
            f"{min_rating} or higher ({said})"
        )
    corrections = sum(bool(item.corrections) for item in usable)
    notes.insert(0, f"{len(capped)} examples out of {len(mine)} feedbacks, {corrections} of which have corrections")
    return Examples(tuple(capped), tuple(notes))


def _items(feedback: Any) -> list[Feedback]:
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


def _is_of(item: Feedback, name: str) -> bool:
    short = name.rpartition("/")[2]
    return item.signature == name or item.signature.rpartition("/")[2] == short


def _without_redacted(spec: SignatureSpec, items: Sequence[Feedback], notes: list[str]) -> list[Feedback]:
    kept = [item for item in items if not any(value == REDACTED for value in item.inputs.values())]
    if len(kept) < len(items):
        notes.append(f"{len(items) - len(kept)} were left out, because sensitive inputs are not kept")
    return kept


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != REDACTED}


def _corrected(
    spec: SignatureSpec, items: Sequence[Feedback], min_rating: int, notes: list[str]
) -> list[OptimizationExample]:
    examples = []
    for item in items:
        corrections = _plain(item.corrections)
        if not corrections:
            continue
        # A low rating does not say that the outputs without a correction are right.
        rest = _plain(item.outputs) if item.rating >= min_rating else {}
        examples.append(OptimizationExample(item.inputs, {**rest, **corrections}, item.source))
    return examples


def _praised(
    spec: SignatureSpec, items: Sequence[Feedback], min_rating: int, notes: list[str]
) -> list[OptimizationExample]:
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
            examples.append(OptimizationExample(praise[0].inputs, _plain(praise[0].outputs), praise[0].source))
    if disputed:
        notes.append(f"{disputed} executions were left out, because some rate them high and others low")
    if low:
        notes.append(f"{low} executions with low ratings and no correction were left out")
    return examples


def _answer(item: Feedback) -> str:
    return json.dumps(jsonable([item.inputs, item.outputs]), sort_keys=True)


def _fitting(
    spec: SignatureSpec, examples: Sequence[OptimizationExample], notes: list[str]
) -> list[OptimizationExample]:
    """Return the examples that fit the signature as it is now, bound and typed."""
    fitting = []
    for example in examples:
        known = {name: value for name, value in example.outputs.items() if name in spec.outputs}
        typed, problems = spec.codec.coerce(known)
        outputs = {name: typed[name] for name in known if name in typed}
        if spec.binder.problems(example.inputs) or [item for item in problems if item.code != "missing"] or not outputs:
            continue
        fitting.append(evolve(example, inputs=spec.binder.bind(example.inputs), outputs=outputs))
    if len(fitting) < len(examples):
        notes.append(f"{len(examples) - len(fitting)} do not fit {spec.name} {spec.version} and were left out")
    return fitting


def _one_per_input(examples: Sequence[OptimizationExample], notes: list[str]) -> list[OptimizationExample]:
    """Return one example for each input: the answer of most feedback, the latest of these; note where they differ."""
    by_input: dict[str, list[OptimizationExample]] = defaultdict(list)
    for example in examples:
        by_input[input_key(example)].append(example)
    settled, disputed = [], []
    for same in by_input.values():
        texts = [json.dumps(jsonable(example.outputs), sort_keys=True) for example in same]
        votes = Counter(texts)
        if len(votes) > 1:
            disputed.append(f"{len(votes)} answers to {_shown(same[0].inputs)}")
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


def _capped(
    examples: Sequence[OptimizationExample], per_source: float, seed: int, notes: list[str]
) -> list[OptimizationExample]:
    """Return the examples, with at most ``per_source`` of them from each source."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        by_source[example.source].append(number)
    if len(by_source) < 2:
        return list(examples)
    rng = random.Random(seed)  # noqa: S311  # a fair choice, not a secret
    most = max(1, int(per_source * len(examples)))
    dropped: set[int] = set()
    for source, numbers in by_source.items():
        if len(numbers) > most:
            dropped |= set(numbers) - set(rng.sample(numbers, most))
            notes.append(
                f"{len(numbers) - most} of {len(numbers)} examples of {source!r} were left out: at most {most} each"
            )
    return [example for number, example in enumerate(examples) if number not in dropped]
