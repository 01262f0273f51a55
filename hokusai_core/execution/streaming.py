"""StreamEmitter: emits the events of one execution, and takes back what turns out to be wrong."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from hokusai_core.signatures.value_text import is_same
from hokusai_core.stream_events import (
    StreamDelta,
    StreamFinished,
    StreamPartial,
    StreamReceiver,
    StreamRetracted,
    StreamStarted,
    StreamThought,
)

if TYPE_CHECKING:
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.results import ExecutionResult
    from hokusai_core.signatures.spec import FieldSpec

__all__ = ["AttemptListener", "StreamClosed", "StreamEmitter"]


class StreamClosed(BaseException):
    """Ends the call of a stream that is not read any more."""


class StreamEmitter:
    """Emits the events of one execution.

    Sensitive outputs are part of no event but the last. Neither is any output where a plugin transforms outputs: what
    comes in may be what it is going to remove.

    Args:
        receive: takes the events.
        closed: is set when the events are not wanted any more.
        step: name of the step of a chain, None outside of chains.
    """

    def __init__(self, receive: StreamReceiver, closed: threading.Event, step: str | None = None) -> None:
        self._receive, self._closed, self._step = receive, closed, step
        #: The outputs that events may hold, in order, and those of them whose texts come piece by piece.
        self._shown: dict[str, FieldSpec] = {}
        self._texts: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._attempt: AttemptListener | None = None
        self._sent: dict[str, list[str]] = {}
        self._complete: dict[str, Any] = {}
        #: Whether thoughts are emitted, and the characters of each that were.
        self._thinks = False
        self._thoughts: dict[str, str] = {}

    def begin(self, plan: CallPlan, execution_id: str, *, transformed: bool) -> None:
        """Emit that an execution has begun.

        Args:
            plan: its signature and language model.
            execution_id: its id.
            transformed: whether a plugin transforms outputs.
        """
        if not transformed and (plan.calls is None or plan.calls.streams):
            self._shown = {name: item for name, item in plan.spec.outputs.items() if name not in plan.spec.sensitive}
            self._texts = frozenset(name for name, item in self._shown.items() if _is_text(item))
        self._thinks = not transformed and not plan.spec.sensitive  # thoughts may quote what is sensitive
        self._receive(StreamStarted(plan.name, execution_id, self._step))

    def attempt(self) -> AttemptListener | None:
        """Return what listens to the next attempt, None if nothing of it is going to be emitted."""
        self._attempt = AttemptListener(self, self._texts) if self._shown else None
        return self._attempt

    def retract(self, reason: str) -> None:
        """Take back what the last attempt has emitted; nothing that it emits from now on counts."""
        with self._lock:
            self._attempt = None
            if not self._sent and not self._complete and not self._thoughts:
                return
            self._sent, self._complete, self._thoughts = {}, {}, {}
        self._receive(StreamRetracted(reason, self._step))

    def finish(self, result: ExecutionResult) -> None:
        """Emit what is missing of the result, and the result."""
        with self._lock:
            self._attempt = None
        if not self._agrees_with(result):
            self.retract("the answer was read otherwise when it was whole")
        for name, value in result.extras.items() if self._thinks else ():
            begun = len(self._thoughts.get(name, ""))
            if isinstance(value, str) and len(value) > begun:
                self._receive(StreamThought(name, value[begun:], self._step))
        for name in self._shown:
            value = result.get(name)
            sent = sum(map(len, self._sent.get(name, ())))
            if name in self._texts and isinstance(value, str) and len(value) > sent:
                self._receive(StreamDelta(name, value[sent:], self._step))
            if name not in self._complete:
                self._complete[name] = value
                self._receive(StreamPartial(dict(self._complete), self._step))
        self._receive(StreamFinished(result, self._step))

    def _agrees_with(self, result: ExecutionResult) -> bool:
        for name, thought in self._thoughts.items():
            value = result.extras.get(name)
            if not isinstance(value, str) or not value.startswith(thought):
                return False
        for name, pieces in self._sent.items():
            value = result.get(name)
            if not isinstance(value, str) or not value.startswith("".join(pieces)):
                return False
        return all(name in result and is_same(result[name], value) for name, value in self._complete.items())

    def take_text(self, listener: AttemptListener, name: str, piece: str) -> None:
        """Emit a piece of a text, if ``listener`` is that of the attempt under way.

        Raises:
            StreamClosed: the events are not wanted any more.
        """
        with self._lock:
            if self._is_under_way(listener):
                self._sent.setdefault(name, []).append(piece)
                self._receive(StreamDelta(name, piece, self._step))

    def take_thought(self, listener: AttemptListener, name: str, piece: str) -> None:
        """Emit a piece of a thought, if ``listener`` is that of the attempt under way.

        Raises:
            StreamClosed: the events are not wanted any more.
        """
        with self._lock:
            if self._is_under_way(listener) and self._thinks:
                self._thoughts[name] = self._thoughts.get(name, "") + piece
                self._receive(StreamThought(name, piece, self._step))

    def take_value(self, listener: AttemptListener, name: str, value: Any) -> None:
        """Emit that an output is complete, if ``listener`` is that of the attempt under way.

        Raises:
            StreamClosed: the events are not wanted any more.
            ValueError: the value does not fit.
        """
        with self._lock:
            if self._is_under_way(listener) and name in self._shown:
                self._complete[name] = self._shown[name].coerce(value)
                self._receive(StreamPartial(dict(self._complete), self._step))

    def restart(self, listener: AttemptListener, reason: str) -> None:
        """Take back what the attempt under way has emitted, if ``listener`` is its; it goes on."""
        with self._lock:
            if not self._is_under_way(listener) or not (self._sent or self._complete or self._thoughts):
                return
            self._sent, self._complete, self._thoughts = {}, {}, {}
            self._receive(StreamRetracted(reason, self._step))

    def _is_under_way(self, listener: AttemptListener) -> bool:
        if self._closed.is_set():
            raise StreamClosed
        return listener is self._attempt


class AttemptListener:
    """Listens to one attempt; see ``StreamListener``.

    Args:
        emitter: emits what it hears.
        texts: outputs whose text is emitted piece by piece.
    """

    def __init__(self, emitter: StreamEmitter, texts: frozenset[str]) -> None:
        self._emitter, self._texts = emitter, texts

    @property
    def texts(self) -> frozenset[str]:
        """Outputs whose text is emitted piece by piece."""
        return self._texts

    def text(self, name: str, piece: str) -> None:
        """Take the next piece of the text of an output."""
        self._emitter.take_text(self, name, piece)

    def thought(self, name: str, piece: str) -> None:
        """Take the next piece of a thought."""
        self._emitter.take_thought(self, name, piece)

    def value(self, name: str, value: Any) -> None:
        """Take the value of an output that is complete."""
        self._emitter.take_value(self, name, value)

    def restart(self, reason: str) -> None:
        """Forget what came so far, because the language model begins its answer anew."""
        self._emitter.restart(self, reason)


def _is_text(item: FieldSpec) -> bool:
    """Whether the text of an output in an answer is its value, character by character."""
    shape = item.shape
    return shape.kind == "str" and not shape.optional and item.choices_from is None
