"""How much a call takes: measured on the first calls of a study, and estimated for longer prompts."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from hokusai_core.plugin_api import Candidate

__all__ = ["PACE", "CallPace", "CallRate"]

#: Name under which a ``CallPace`` is kept beside the answers of the baseline.
PACE = "pace"


@frozen
class CallRate:
    """What a call takes on average.

    Args:
        tokens: tokens of prompt and answer.
        cost: US dollars, None where no price is known.
        seconds: seconds of the clock, with the calls that run at once.
        calls: calls of the language model for one example: more than one for a strategy, a chain or a judge.
    """

    tokens: float
    cost: float | None = None
    seconds: float = 0.0
    calls: float = 1.0


@frozen
class CallPace:
    """What an example takes, by the demos that its prompt shows.

    Demos that are the same for each call are kept apart from those that are chosen for it: a model that remembers the
    beginning of its last prompt reads the former only once.

    Args:
        plain: an example without further demos.
        fixed: an example with ``fixed_demos`` of them, the same for each call.
        fixed_demos: how many these are.
        nearest: an example with ``nearest_demos`` of them, chosen for it.
        nearest_demos: how many these are.
    """

    plain: CallRate
    fixed: CallRate
    fixed_demos: int
    nearest: CallRate
    nearest_demos: int

    def of(self, demos: int, *, nearest: bool = False) -> CallRate:
        """Return what an example takes with a number of demos: a straight line through the two rates.

        Args:
            demos: demos in the prompt.
            nearest: whether they are chosen for each call.

        Example:
            >>> ten, twenty = CallRate(100, None, 0.5), CallRate(500, None, 1.5)
            >>> pace = CallPace(ten, twenty, 8, twenty, 4)
            >>> pace.of(16).tokens, pace.of(4).seconds, pace.of(4, nearest=True).seconds
            (900.0, 1.0, 1.5)
        """
        plain, shown = self.plain, self.nearest if nearest else self.fixed
        share = demos / ((self.nearest_demos if nearest else self.fixed_demos) or 1)
        cost = None if plain.cost is None or shown.cost is None else _line(plain.cost, shown.cost, share)
        return CallRate(
            _line(plain.tokens, shown.tokens, share),
            cost,
            _line(plain.seconds, shown.seconds, share),
            max(plain.calls, shown.calls),
        )

    def of_candidate(self, candidate: Candidate) -> CallRate:
        """Return what an example takes with a candidate."""
        nearest = candidate.nearest_demos
        return self.of(nearest, nearest=True) if nearest else self.of(candidate.demo_count)

    def to_list(self) -> list[Any]:
        """Return it as JSON-able values."""
        return [asdict(self)]

    @classmethod
    def from_list(cls, values: Any) -> CallPace | None:
        """Return what ``to_list`` wrote, None if the values are not that."""
        try:
            (found,) = values
            rates = {name: CallRate(**found[name]) for name in ("plain", "fixed", "nearest")}
            return cls(**{**found, **rates})
        except (KeyError, TypeError, ValueError):
            return None


def _line(start: float, end: float, share: float) -> float:
    """Return the value at a share of the way, never below the start: longer prompts are not cheaper."""
    return start + max(0.0, end - start) * share
