"""Calls of a language model whose answer comes piece by piece.

DSPy's engines have a method ``stream``. They are called directly, as in ``engine_calls``. Only LiteLLM is called by
DSPy, which sends its chunks to ``settings.send_stream``; for blocking calls it can do so only inside a thread of anyio.
So a blocking call that goes through LiteLLM does not stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from dspy import settings
from dspy.clients.engines.lifecycle import aclosing_stream, closing_stream
from dspy.clients.engines.stream_guard import achecked_stream, checked_stream
from dspy.clients.execution import StreamAccumulator

from hokusai_core.dspy_bridge.engine_calls import (
    EngineCall,
    acomplete,
    aengine_call,
    complete,
    engine_call,
    is_managed,
    is_public_call_plain,
)

__all__ = ["OnText", "acomplete_streamed", "can_stream", "complete_streamed"]

#: Takes the next piece of an answer.
OnText = Callable[[str], None]


def can_stream(lm: Any, *, asynchronous: bool) -> bool:
    """Return whether the answers of ``lm`` may come piece by piece.

    Args:
        lm: the language model.
        asynchronous: whether it is awaited.
    """
    if not is_managed(lm) or not is_public_call_plain(lm):
        return False
    engine = lm._async_engine_spec if asynchronous else lm._engine_spec
    if isinstance(lm._engine_spec, str):
        return bool(lm.model_type == "chat")
    return callable(getattr(engine, "stream", None)) and not hasattr(engine, "complete_legacy")


def complete_streamed(
    lm: Any, facade: Any, call: Any, on_text: OnText, on_event: Callable[[], None] = lambda: None
) -> Any:
    """Make a prepared call, give the pieces of its answer to ``on_text``, and return DSPy's ``CallResult``.

    ``on_event`` is called whenever anything of the answer has come.
    """
    direct = engine_call(lm, call)
    if direct is None or not _streams(direct):
        return complete(lm, facade, call)
    accumulator = StreamAccumulator(direct.request)
    events = checked_stream(direct.engine.stream(direct.request), provider=direct.provider)
    with direct.errors(), closing_stream(events):
        for event in events:
            on_event()
            _take(event, accumulator, on_text)
        return direct.result(accumulator.response())


async def acomplete_streamed(
    lm: Any, facade: Any, call: Any, on_text: OnText, on_event: Callable[[], None] = lambda: None
) -> Any:
    """Async version of ``complete_streamed``."""
    direct = await aengine_call(lm, call)
    if direct is None and isinstance(lm._engine_spec, str) and call.n == 1:
        with settings.context(send_stream=_Chunks(on_text, on_event)):
            return await acomplete(lm, facade, call)
    if direct is None or not _streams(direct):
        return await acomplete(lm, facade, call)
    accumulator = StreamAccumulator(direct.request)
    events = achecked_stream(direct.engine.stream(direct.request), provider=direct.provider)
    with direct.errors():
        async with aclosing_stream(events):
            async for event in events:
                on_event()
                _take(event, accumulator, on_text)
        return direct.result(accumulator.response())


def _streams(direct: EngineCall) -> bool:
    return bool(direct.engine.supports.stream) if direct.route is not None else hasattr(direct.engine, "stream")


def _take(event: Any, accumulator: Any, on_text: OnText) -> None:
    accumulator.push(event)
    if event.type == "delta" and event.delta.type == "text" and event.delta.text:
        on_text(event.delta.text)


@frozen
class _Chunks:
    """Stands where DSPy looks for the stream that it sends chunks to."""

    on_text: OnText
    on_event: Callable[[], None]

    async def send(self, chunk: Any) -> None:
        """Take a chunk of DSPy's or of LiteLLM."""
        self.on_event()
        for choice in getattr(chunk, "choices", None) or ():
            text = getattr(getattr(choice, "delta", None), "content", None)
            if text:
                self.on_text(text)
