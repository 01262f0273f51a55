"""See the calls of a program's own language models, which do not go through the meter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from dspy import settings
from dspy.utils.callback import BaseCallback
from dspy.utils.usage_tracker import UsageTracker

__all__ = ["CallRefused", "UnmeteredCallGuard", "UsageRelay", "host_callbacks"]


class CallRefused(BaseException):
    """Ends a program whose own language model may not be called.

    DSPy swallows every ``Exception`` of a callback. A program that tries again after an ``Exception`` must not get
    round a budget either.

    Args:
        error: why the call was refused.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class UnmeteredCallGuard(BaseCallback):
    """A callback of DSPy that asks before every call of a language model, and hears what the call used.

    Args:
        admit: takes the language model and the arguments of its call; raises if it may not be called.
        report: takes the model's name and what the call used, as DSPy writes it.
    """

    def __init__(
        self, admit: Callable[[Any, Mapping[str, Any]], None], report: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self._admit, self._report = admit, report
        self._heard: dict[str, AbstractContextManager[None]] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Ask whether the call may be made.

        Raises:
            CallRefused: it may not.
        """
        try:
            self._admit(instance, inputs)
        except Exception as error:
            raise CallRefused(error) from None
        tracker = settings.usage_tracker
        if not isinstance(
            tracker, UsageRelay
        ):  # the program, or DSPy for a prediction, has opened a tracker in between
            heard = settings.context(usage_tracker=UsageRelay(tracker, self._report))
            heard.__enter__()
            self._heard[call_id] = heard

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Give the program its usage tracker back."""
        heard = self._heard.pop(call_id, None)
        if heard is not None:
            heard.__exit__(None, None, None)


class UsageRelay(UsageTracker):
    """Stands where DSPy looks for a usage tracker while a program runs.

    DSPy tells it about every call that is not metered. It passes that on to the host's own tracker, where there is
    one, and to ``report``.

    Args:
        parent: the usage tracker of the host, or None.
        report: takes the model's name and what the call used, as DSPy writes it.
    """

    def __init__(self, parent: Any, report: Callable[[str, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self.parent, self._report = parent, report
        if parent is not None:
            self.usage_data = parent.usage_data  # trackers opened inside the program add theirs here

    def __deepcopy__(self, memo: dict[int, Any]) -> UsageRelay:
        return self  # dspy.Parallel copies trackers for its workers, and what the copies hear is lost

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        """Take note of one call."""
        super().add_usage(lm, usage_entry)
        self._report(lm, usage_entry)


def host_callbacks() -> list[Any]:
    """Return the callbacks of the host, with which it observes DSPy as ``mlflow.dspy.autolog`` does."""
    callbacks = settings.callbacks
    return [one for one in callbacks if not isinstance(one, UnmeteredCallGuard)] if callbacks else []
