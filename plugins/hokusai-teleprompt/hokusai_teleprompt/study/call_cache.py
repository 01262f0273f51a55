"""The journal of a study: the answer to every call, on disk before it is used.

One line for each, ``<crc32> <json>``; a line that a kill has cut short does not fit its checksum and is dropped. What
was asked is kept as a digest only.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import private_folder

__all__ = ["CallCache"]


class CallCache:
    """Answers by the digest of what was asked; safe to use from many threads.

    Args:
        path: the file; None keeps answers for this process only.

    Attributes:
        found: how many answers were there when it was opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.found = path, 0
        self._answers: dict[str, list[Any]] = {}
        self._handle: int | None = None
        self._lock = threading.Lock()
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        private_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OptimizationError(
                f"another process works on this very study ({path}); wait for it, or give this one a workdir of its own"
            ) from None
        good = 0
        for line, end in _lines(path):
            if not line.endswith(b"\n"):
                break  # cut short; what is appended next must not continue it
            entry = _entry(line)
            if entry is not None:
                self._answers[entry[0]] = entry[1]
            good = end
        os.ftruncate(handle, good)
        os.lseek(handle, 0, os.SEEK_END)
        self._handle, self.found = handle, len(self._answers)

    def get(self, key: str) -> list[Any] | None:
        """Return the answers to a call, None where it was not made yet; the list is the caller's own."""
        found = self._answers.get(key)
        return None if found is None else [dict(item) if isinstance(item, dict) else item for item in found]

    def put(self, key: str, answers: list[Any]) -> None:
        """Keep the answers to a call. What has no JSON form is kept for this process only."""
        try:
            text = json.dumps([key, answers], separators=(",", ":"))
        except (TypeError, ValueError):
            text = ""
        with self._lock:
            self._answers[key] = answers
            if text and self._handle is not None:
                self._write(self._handle, text.encode())

    def _write(self, handle: int, data: bytes) -> None:
        try:
            os.write(handle, b"%08x %s\n" % (zlib.crc32(data), data))
        except OSError as error:  # the answer is paid for: it counts, whether or not it can be kept
            os.close(handle)
            self._handle = None
            warnings.warn(
                f"the checkpoint {self.path} cannot be written ({error.strerror or error}); the optimization goes on, "
                "but what it pays from here on is paid again where it has to be continued",
                RuntimeWarning,
                stacklevel=2,
            )

    def close(self, *, discard: bool) -> None:
        """Let go of the file, and remove it where it has served its purpose; calling it twice is harmless."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is None or self.path is None:
            return
        if discard:
            self.path.unlink(missing_ok=True)
        os.close(handle)


def _lines(path: Path) -> Iterator[tuple[bytes, int]]:
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            yield line, end


def _entry(line: bytes) -> tuple[str, list[Any]] | None:
    checksum, _, data = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(data):
        return None
    try:
        key, answers = json.loads(data)
    except ValueError:
        return None
    return (key, answers) if isinstance(key, str) and isinstance(answers, list) else None
