"""Hand out drafts: what an engine writes while its answer is not settled yet.

An embedded engine may write an answer several times and keep the best. So it cannot yield the answer as events of
lm15, of which none is taken back. It gives its drafts to ``dspy.settings.get("hokusai_draft")`` instead, an object of
``DraftStream``. It says with the attribute ``drafts = True`` that it does so.
"""

from __future__ import annotations

from collections.abc import Callable

from hokusai_core.stream_events import DraftReader, StreamListener

__all__ = ["DraftStream"]


class DraftStream:
    """Takes the pieces of a draft, on any thread, and tells a listener what is certain of them.

    Args:
        make_reader: makes the reader of a draft.
        output: name of the output in the signature.
        listener: receives the text.
    """

    def __init__(self, make_reader: Callable[[], DraftReader], output: str, listener: StreamListener) -> None:
        self._make_reader, self._output, self._listener = make_reader, output, listener
        self._reader = make_reader()

    def add(self, piece: str) -> None:
        """Take the next piece."""
        text = self._reader.feed(piece)
        if text:
            self._listener.text(self._output, text)

    def restart(self) -> None:
        """Begin another draft in place of this one."""
        self._reader = self._make_reader()
        self._listener.restart("the language model writes its answer anew")
