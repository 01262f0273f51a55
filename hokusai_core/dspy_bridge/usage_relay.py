"""Collect the usage of calls that bypass the meter because a program uses its own language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dspy.utils.usage_tracker import UsageTracker

from hokusai_core.call_records import usage_of
from hokusai_core.results import Usage

__all__ = ["UsageRelay"]


class UsageRelay(UsageTracker):
    """Stands where DSPy looks for a usage tracker while a program runs.

    DSPy tells it about every call that is not metered. It passes that on to the host's own tracker, where there is
    one, and to ``report``.

    Args:
        parent: the usage tracker of the host, or None.
        report: takes the model's name and what the call used.
    """

    def __init__(self, parent: Any, report: Callable[[str, Usage], None]) -> None:
        super().__init__()
        self.parent, self._report = parent, report
        if parent is not None:
            self.usage_data = parent.usage_data  # trackers opened inside the program add theirs here

    def __deepcopy__(self, memo: dict[int, Any]) -> UsageRelay:
        return self  # dspy.Parallel copies trackers for its workers, and what the copies hear is lost

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        """Take note of one call."""
        super().add_usage(lm, usage_entry)
        self._report(lm, usage_of(usage_entry))
