"""Time the first ten calls of a study, to know what an example takes before sizes are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hokusai_core.plugin_api import Candidate, SignatureSpec
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.call_rate import PACE, CallPace
from hokusai_teleprompt.study.halving import Contender, shown_demos
from hokusai_teleprompt.study.study_phases import StudyPhases
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["time_calls"]

#: Timed examples as the signature is, with demos that stay, and with demos that are chosen for each call. With the very
#: first one, which may load a model and is not timed, these are ten.
_PLAIN = _SHOWN = 3
#: Demos for which a rate is estimated if there is no candidate with such demos.
_DEMOS = 8


def time_calls(
    phases: StudyPhases,
    target: TargetSignature,
    split: DataSplit,
    portfolio: Sequence[Contender],
    spec_of: Callable[[Candidate], SignatureSpec],
    answers: CallCache,
    expected: CallPace,
) -> CallPace:
    """Return what an example takes, without demos and with many of them.

    The answers are kept, and are not paid for again when the same examples are measured. Where they are there already,
    what is expected is returned.

    Args:
        phases: begins the phase.
        target: the signature.
        split: the examples.
        portfolio: candidates with demos.
        spec_of: returns the signature of a candidate.
        answers: keeps the answers of the baseline, and the figures.
        expected: what was measured by an earlier study, or estimated.
    """
    before, examples = target.as_it_is, (*split.test, *split.dev)
    wide = _widest(portfolio)
    count = _PLAIN + _SHOWN * (2 - len(wide))
    phase = phases.begin("timing", answers=answers)
    _, first = phases.measure(phase, before, before.spec, examples[:1])
    _, plain = phases.measure(phase, before, before.spec, examples[1 : 1 + count])
    plain = plain or first or expected.plain
    rates = {}
    for nearest in (False, True):
        candidate = wide.get(nearest)
        demos = _DEMOS if candidate is None else shown_demos(candidate)
        shown = None
        if candidate is not None:
            phase, spec, chosen = phases.begin("timing"), spec_of(candidate), (split.dev or split.test)[:_SHOWN]
            # Demos that stay are read once by a model that remembers the beginning of its last prompt.
            _, first = phases.measure(phase, target, spec, chosen[: 0 if nearest else 1])
            _, shown = phases.measure(phase, target, spec, chosen[0 if nearest else 1 :])
            shown = shown or first
        rates[nearest] = (shown or expected.of(demos, nearest=nearest), demos)
    pace = CallPace(plain, *rates[False], *rates[True])
    answers.note(PACE, pace.to_list())
    return pace


def _widest(portfolio: Sequence[Contender]) -> dict[bool, Candidate]:
    """Return the candidates that show most demos: the same for each call (False), and chosen for it (True)."""
    found: dict[bool, Candidate] = {}
    for item in sorted(portfolio, key=lambda item: shown_demos(item.candidate)):
        found[item.candidate.nearest_demos is not None] = item.candidate
    return found
