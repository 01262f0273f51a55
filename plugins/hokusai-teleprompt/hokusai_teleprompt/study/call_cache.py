"""CallCache: the answers to the language-model calls of a study, kept on disk so that none is paid for twice.

Each answer is on disk before it is used. The prompts themselves are not kept, only their digests.
"""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import AppendLog, describe_os_error, private_folder

__all__ = ["CallCache"]

#: Begins the keys of values that are no answers.
_NOTE = "note "


class CallCache:
    """Answers by the digest of the call; safe to use from many threads.

    Args:
        path: the file; None keeps answers for this process only.
        shared: whether several processes append to the file at the same time.
        behind: another cache, which is asked for answers that this one does not have.

    Attributes:
        path: the file.
        found: how many answers the file held when it was opened.

    Raises:
        OptimizationError: another process runs the same study, or the file cannot be opened.
    """

    def __init__(self, path: Path | None, *, shared: bool = False, behind: CallCache | None = None) -> None:
        self.path, self.found = path, 0
        self._answers: dict[str, list[Any]] = {}
        self._log: AppendLog | None = None
        self._behind = behind
        self._lock = threading.Lock()
        if path is not None:
            self._log = _opened(path, shared=shared)
            self._answers.update(_entries(self._log))
            self.found = sum(not key.startswith(_NOTE) for key in self._answers)

    def get(self, key: str) -> list[Any] | None:
        """Return the answers to a call, None if it was not made yet. The caller may change the list."""
        found = self._answers.get(key)
        if found is None:
            return None if self._behind is None else self._behind.get(key)
        return [dict(item) if isinstance(item, dict) else item for item in found]

    def note(self, name: str, values: list[Any]) -> None:
        """Keep JSON-able values that are no answers, such as how long a call takes."""
        self.put(_NOTE + name, values)

    def noted(self, name: str) -> list[Any] | None:
        """Return the values that were kept under a name, None for none."""
        return self.get(_NOTE + name)

    def put(self, key: str, answers: list[Any]) -> None:
        """Keep the answers to a call. Answers that have no JSON form are kept for this process only."""
        try:
            text = json.dumps([key, answers], separators=(",", ":"))
        except (TypeError, ValueError):
            text = ""
        with self._lock:
            self._answers[key] = answers
            if text and self._log is not None:
                self._append(self._log, text.encode())

    def _append(self, log: AppendLog, data: bytes) -> None:
        try:
            log.append(data)
        except OSError as error:  # the answer is paid for, so the study uses it although it cannot be kept
            log.close()
            self._log = None
            warnings.warn(
                f"the checkpoint {self.path} cannot be written ({describe_os_error(error)}). The optimization goes on; "
                "if you continue it later, calls from here on are paid for again",
                RuntimeWarning,
                stacklevel=2,
            )

    def close(self, *, discard: bool) -> None:
        """Close the file; calling it twice is harmless.

        Args:
            discard: whether to remove the file, because the study is finished.
        """
        with self._lock:
            log, self._log = self._log, None
        if log is None:
            return
        if discard:
            log.path.unlink(missing_ok=True)
        log.close()


def _opened(path: Path, *, shared: bool) -> AppendLog:
    try:
        private_folder(path.parent)
        return AppendLog(path, shared=shared)
    except BlockingIOError:
        raise OptimizationError(
            f"another process runs the same study ({path}); wait for it, or give this one a workdir of its own"
        ) from None
    except OSError as error:
        raise OptimizationError(f"the checkpoint cannot be opened: {describe_os_error(error)}") from error


def _entries(log: AppendLog) -> dict[str, list[Any]]:
    """Return the answers in a log. Damaged lines are left out: their calls are made again."""
    answers: dict[str, list[Any]] = {}
    for line in log.scan():
        try:
            key, values = json.loads(line.payload or b"null")
        except (TypeError, ValueError):
            continue
        if isinstance(key, str) and isinstance(values, list):
            answers[key] = values
    return answers
