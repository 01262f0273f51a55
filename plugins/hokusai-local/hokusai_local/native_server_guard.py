"""Tracks calls into native code: all must return before the process ends."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Interrupted", "NativeServerGuard"]

_ENDING = "the process is ending"


class Interrupted(Exception):
    """The generation was stopped before its end; the message says why."""


class NativeServerGuard:
    """Holds a native server, lends it to calls, and knows how many are inside.

    A thread that is still inside llama.cpp while the process ends makes it abort or crash. Python ends a thread that
    then asks for the GIL, which C++ sees as an exception, and the memory of llama.cpp is already freed.

    Args:
        native: the native server. No other reference may exist, so that ``close`` destroys it.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @property
    def reason(self) -> str | None:
        """Why calls have to stop, as a phrase for a message; None while they may go on."""
        return _ENDING if self._closed else None

    def chat(self, request: Mapping[str, Any], reader: Callable[[dict[str, Any]], bool]) -> None:
        """Make one call; ``reader`` gets its chunks, and returns True to have it stopped.

        Raises:
            Interrupted: where the gate is closed.
            RuntimeError: where llama.cpp refused the request.
        """
        with self._changed:
            if self._closed:
                raise Interrupted(_ENDING)
            self._inside += 1
        try:
            # Not by a name of its own, which would keep the server alive for as long as the frame.
            self._native.handle_chat_completions(request, reader)
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let no further call in, wait for those inside, which look at ``reason`` now and then, and free the server."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
        self._native = None

    def leak(self) -> None:
        """Keep the server from ever being destroyed."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._native))
