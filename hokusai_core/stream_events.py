"""The events of a streamed execution, in the order in which they happen.

``started`` comes first. ``delta`` and ``partial`` follow as the answer comes in. ``retracted`` takes back every delta
and partial of the step so far. ``finished`` comes last, and has the result; an execution that fails raises its error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Literal, Protocol

import attrs
from attrs import frozen

__all__ = [
    "DraftReader",
    "StreamDelta",
    "StreamEvent",
    "StreamFinished",
    "StreamListener",
    "StreamPartial",
    "StreamReceiver",
    "StreamRetracted",
    "StreamStarted",
    "StreamThought",
]


@frozen
class StreamStarted:
    """An execution has begun: its inputs fit, and nothing has been paid yet.

    Args:
        signature: qualified name of the signature, or the name of the chain.
        execution_id: unique id of the execution, None for a chain.
        step: name of the step of a chain, None outside of chains.
    """

    kind: ClassVar[Literal["started"]] = "started"

    signature: str
    execution_id: str | None = None
    step: str | None = None


@frozen
class StreamThought:
    """The next piece of a text that a strategy gives beside the outputs, such as the reasoning.

    Args:
        name: what it is called in ``ExecutionResult.extras``.
        text: the piece. All pieces of a name together are its value there.
        step: name of the step of a chain, None outside of chains.
    """

    kind: ClassVar[Literal["thought"]] = "thought"

    name: str
    text: str = attrs.field(repr=False)
    step: str | None = None


@frozen
class StreamDelta:
    """The next piece of an output that is a text.

    Args:
        field: name of the output.
        text: the piece. All pieces of an output together are its value.
        step: name of the step of a chain, None outside of chains.
    """

    kind: ClassVar[Literal["delta"]] = "delta"

    field: str
    text: str = attrs.field(repr=False)
    step: str | None = None


@frozen
class StreamPartial:
    """One more output is complete.

    Args:
        outputs: every output that is complete so far, in its type.
        step: name of the step of a chain, None outside of chains.
    """

    kind: ClassVar[Literal["partial"]] = "partial"

    outputs: Mapping[str, Any] = attrs.field(repr=False)
    step: str | None = None


@frozen
class StreamRetracted:
    """What was streamed of a step does not count: its answer was refused, or its call failed.

    Another attempt may follow, or the error.

    Args:
        reason: why, for a person.
        step: name of the step of a chain, None outside of chains.
    """

    kind: ClassVar[Literal["retracted"]] = "retracted"

    reason: str
    step: str | None = None


@frozen
class StreamFinished:
    """The execution is over.

    Args:
        result: an ``ExecutionResult``, or the ``ChainResult`` of a chain.
        step: name of the step of a chain, None outside of chains and for the chain itself.
    """

    kind: ClassVar[Literal["finished"]] = "finished"

    result: Any
    step: str | None = None


StreamEvent = StreamStarted | StreamThought | StreamDelta | StreamPartial | StreamRetracted | StreamFinished

#: Takes the events of a stream, on any thread.
StreamReceiver = Callable[[StreamEvent], None]


class StreamListener(Protocol):
    """Receives the parts of one answer while it comes in."""

    @property
    def texts(self) -> Collection[str]:
        """Outputs whose text is wanted piece by piece."""
        ...

    def text(self, name: str, piece: str) -> None:
        """Take the next piece of the text of an output."""
        ...

    def thought(self, name: str, piece: str) -> None:
        """Take the next piece of a text that a strategy gives beside the outputs."""
        ...

    def value(self, name: str, value: Any) -> None:
        """Take the value of an output that is complete."""
        ...

    def restart(self, reason: str) -> None:
        """Forget what came so far, because the language model begins its answer anew."""
        ...


class DraftReader(Protocol):
    """Says which part of an answer is certain while an engine writes it; an adapter makes one for each answer."""

    @property
    def output(self) -> str:
        """Name of the output in the prompt, which is a text."""
        ...

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer, and return the next piece of the text of the output."""
        ...
