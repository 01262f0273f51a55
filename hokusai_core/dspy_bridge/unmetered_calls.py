"""See the calls of a program's own language models, which do not go through the meter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import define
from dspy import settings
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
from dspy.utils.usage_tracker import UsageTracker

from hokusai_core.call_records import Admission

__all__ = ["CallRefused", "UnmeteredCall", "UnmeteredCalls", "UsageRelay", "host_callbacks"]


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


@define(eq=False)
class UnmeteredCall:
    """A call of a language model of a program's own.

    Args:
        lm: that language model.
        admission: what the gate has set aside for it, or None.
        answers: answers that it asks for.
        used: its tokens as DSPy writes them; None where DSPy has told nothing, as of an answer from its own cache.
        heard: the settings of DSPy by which it tells, where the program has its own.
    """

    lm: Any
    admission: Admission | None
    answers: int = 1
    used: Mapping[str, Any] | None = None
    heard: AbstractContextManager[None] | None = None


class UnmeteredMeter(Protocol):
    """Asks before calls that do not go through the meter, and records them."""

    def admit_unmetered(self, lm: Any, options: Mapping[str, Any]) -> UnmeteredCall:
        """Return the call once it may be made; raise where it may not."""
        ...

    def note_unmetered(self, call: UnmeteredCall, error: BaseException | None) -> None:
        """Record a call that is over, and what it has raised, if anything."""
        ...

    def note_unasked(self, model: str, used: Mapping[str, Any]) -> None:
        """Record what a call has used that was made without asking, as the program has turned callbacks off."""
        ...


class UnmeteredCalls(BaseCallback):
    """A callback of DSPy that asks before every call of a language model, and hears what the call used.

    Args:
        meter: is asked, and records them.
        host: usage tracker of the host, or None.
    """

    def __init__(self, meter: UnmeteredMeter, host: Any) -> None:
        self._meter = meter
        #: Calls under way, by DSPy's id.
        self._open: dict[str, UnmeteredCall] = {}
        #: Stands where DSPy looks for a usage tracker meanwhile.
        self.relay = UsageRelay(host, self._note)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Ask whether the call may be made.

        Raises:
            CallRefused: it may not.
        """
        try:
            options = {**inputs, **(inputs.get("kwargs") or {})}
            call = self._open[call_id] = self._meter.admit_unmetered(instance, options)
        except Exception as error:
            raise CallRefused(error) from None
        tracker = settings.usage_tracker
        if not isinstance(tracker, UsageRelay):  # the program, or DSPy for a prediction, has opened one in between
            call.heard = settings.context(usage_tracker=UsageRelay(tracker, self._note))
            call.heard.__enter__()

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Record the call, and give the program its usage tracker back."""
        call = self._open.pop(call_id, None)
        if call is None:
            return
        if call.heard is not None:
            call.heard.__exit__(None, None, None)
        self._meter.note_unmetered(call, exception)

    def _note(self, model: str, used: Mapping[str, Any]) -> None:
        call = self._open.get(ACTIVE_CALL_ID.get() or "")
        if call is None:
            self._meter.note_unasked(model, used)
        else:
            call.used = used


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
    return [one for one in callbacks if not isinstance(one, UnmeteredCalls)] if callbacks else []
