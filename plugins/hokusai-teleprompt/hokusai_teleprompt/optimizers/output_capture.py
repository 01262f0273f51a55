"""Capture what DSPy's optimizers print, log and draw: it goes to the logger ``hokusai_teleprompt.dspy`` at level DEBUG.

They write to standard output and error from many threads, while other threads of the host may write there as well. A
DSPy setting, which DSPy passes on to its own threads, marks the output that is captured. All other output goes where it
would have gone.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

__all__ = ["CAPTURED", "FirstErrors", "capture_output"]

#: Key of ``dspy.settings``; true in threads whose output is captured.
CAPTURED = "hokusai_captured"

_log = logging.getLogger("hokusai_teleprompt.dspy")
_NOISY = ("dspy", "optuna")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def _is_captured() -> bool:
    return bool(dspy.settings.get(CAPTURED))


class _Stream:
    """Replaces a standard stream, and passes through what is not captured.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._active = stream, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._active and _is_captured():
            if text.strip():
                _log.debug("%s", text.strip())
            return len(text)
        return int(self._stream.write(text) or 0)

    def retire(self) -> Any:
        """Return the original stream. Code that still holds this one writes to the original from now on."""
        self._active = False
        return self._stream


class FirstErrors(logging.Filter):
    """Captures log records, and remembers the first errors among them.

    DSPy logs many errors and goes on. If an optimization has no result, they are the reason.

    Attributes:
        messages: the first few messages that were logged as errors.
        error: the first exception that was logged with its traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.error: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the handler writes the record."""
        if not _is_captured():
            return True
        if record.levelno >= logging.ERROR:
            if len(self.messages) < 5:
                self.messages.append(_COLORS.sub("", record.getMessage()))
            if self.error is None and record.exc_info and record.exc_info[1] is not None:
                self.error = record.exc_info[1]
        _log.debug("%s: %s", record.name, record.getMessage())
        return False


@contextmanager
def capture_output() -> Iterator[FirstErrors]:
    """Capture what is written and logged under the setting ``CAPTURED`` while the context lasts."""
    errors = FirstErrors()
    handlers = [handler for name in _NOISY for handler in logging.getLogger(name).handlers]
    for handler in handlers:
        handler.addFilter(errors)
    streams = {name: _Stream(getattr(sys, name)) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        setattr(sys, name, stream)
    try:
        yield errors
    finally:
        for name, stream in streams.items():
            original = stream.retire()
            if getattr(sys, name) is stream:  # the host may have replaced it in the meantime
                setattr(sys, name, original)
        for handler in handlers:
            handler.removeFilter(errors)
