"""PromotionRule: decides whether a candidate may replace the signature as it was."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_teleprompt.statistics import Paired

__all__ = ["PromotionRule"]


def _between(low: float, high: float) -> Any:
    def check(rule: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
            raise ConfigurationError(f"{attribute.name}={value!r}: expected a number between {low:g} and {high:g}")

    return check


@frozen
class PromotionRule:
    """What a candidate has to show on held-out examples.

    Two things are required: the whole interval lies above ``min_improvement``, and the p-value of the paired test is at
    most ``significance``. The default of the latter is stricter than usual, because each optimization is one more
    chance to be lucky.

    Args:
        min_improvement: least improvement, in units of the metric.
        confidence: of the interval.
        significance: highest p-value.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    min_improvement: float = field(default=0.0, validator=_between(-1e12, 1e12))
    confidence: float = field(default=0.95, validator=_between(0.5, 1.0))
    significance: float = field(default=0.01, validator=_between(0.0, 1.0))

    def verdict(self, paired: Paired | None) -> tuple[bool, str]:
        """Return whether the candidate may be promoted, and why or why not in words.

        Args:
            paired: the comparison in units of the metric, more is better; None if nothing was held out.
        """
        if paired is None:
            return False, "not verified: nothing could be held out, so it is not known whether it is better"
        share = f"{paired.confidence:.0%} interval {paired.low:+.3f} to {paired.high:+.3f}"
        tested = f"p = {paired.p_value:.2g} ({paired.test})"
        if not paired.low > self.min_improvement:  # written so that NaN fails
            wanted = "zero" if self.min_improvement == 0 else f"the {self.min_improvement:g} asked for"
            return False, f"not promoted: the {share} does not lie above {wanted}; {tested}"
        if not paired.p_value <= self.significance:
            return False, f"not promoted: {tested} is above {self.significance:g}; {share}"
        return True, f"promoted: {share}, {tested}"
