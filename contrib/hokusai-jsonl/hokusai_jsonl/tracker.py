"""JsonlTracker: one line of JSON for each event, appended with one unbuffered write."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from hokusai_core.plugin_api import FeedbackGiven, KeptExecution, Usage, async_twin, make_missing_folders

if TYPE_CHECKING:
    from hokusai_core.plugin_api import TrackedEvent

__all__ = ["JsonlTracker", "read_lines"]

_KINDS: Final = {
    "ExecutionFinished": "execution",
    "OperationFinished": "operation",
    "FeedbackGiven": "feedback",
    "OutcomeRecorded": "outcome",
    "OptimizationFinished": "optimization",
    "EvaluationFinished": "evaluation",
}


#: Other trackers ask for prompts and raw answers; a line of this one does not have them.
_WITHOUT_PROMPTS: Final = attrs.filters.exclude("exchanges")


class JsonlTracker:
    """Appends every event to a file.

    A line is the kernel's once ``record`` returns, so it survives the death of the process; ``flush`` brings it to the
    disk. Lines of several threads and processes never mix, because each is one write to a file opened for appending.

    Args:
        path: the file; left out, ``HOKUSAI_JSONL_PATH``, else ``executions.jsonl`` in the working directory.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        chosen = path or os.environ.get("HOKUSAI_JSONL_PATH") or "executions.jsonl"
        self.path = Path(chosen).expanduser().absolute()
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._accepted = 0
        self._last_error: str | None = None

    def record(self, event: TrackedEvent) -> None:
        """Append one event; one of an unknown class is left out.

        Raises:
            OSError: the file cannot be written to; the executor counts it, and the execution goes on.
        """
        kind = _KINDS.get(type(event).__name__)
        if kind is None:
            return  # a later version of the core has added it
        line = _encoded({"kind": kind, **attrs.asdict(event, filter=_WITHOUT_PROMPTS)}) + b"\n"
        with self._lock:
            try:
                if self._descriptor is None:
                    self._open()
                if os.write(self._descriptor, line) != len(line):  # type: ignore[arg-type]  # just opened
                    raise OSError(f"{self.path}: the disk is full")
            except OSError as error:
                self._last_error = f"{type(error).__name__}: {error}"
                raise
            self._accepted += 1

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        """Yield recorded executions with the feedback on them, the oldest first.

        Args:
            since: seconds since the epoch from which on; None for all.
            signature: ``pack/Name`` or ``Name``; None for all.
        """
        if not self.path.is_file():
            return
        executions: dict[str, dict[str, Any]] = {}
        feedback: dict[str, list[FeedbackGiven]] = {}
        for line in read_lines(self.path):
            kind, name = line.get("kind"), str(line.get("signature", ""))
            if signature is not None and name != signature and not name.endswith(f"/{signature}"):
                continue
            if kind == "execution" and (since is None or line.get("started_at", 0.0) >= since):
                executions[line["execution_id"]] = line
            elif kind == "feedback":
                given: dict[str, Any] = {
                    item.name: line[item.name] for item in attrs.fields(FeedbackGiven) if item.name in line
                }
                feedback.setdefault(line["execution_id"], []).append(FeedbackGiven(**given))
        for line in sorted(executions.values(), key=lambda line: line["started_at"]):
            yield _kept(line, tuple(feedback.get(line["execution_id"], ())))

    def flush(self, timeout: float | None = None) -> bool:
        """Bring what was appended to the disk."""
        with self._lock:
            if self._descriptor is not None:
                os.fsync(self._descriptor)
        return True

    aflush = async_twin(flush)

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures; nothing ever waits."""
        figures = {"accepted": self._accepted, "delivered": self._accepted, "backlog": 0}
        return {**figures, "last_error": self._last_error, "path": str(self.path)}

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _open(self) -> None:
        make_missing_folders(self.path.parent)
        # A device such as /dev/stdout is as welcome as a file.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # a full disk cut the last line off; ours begins on its own


def _kept(line: Mapping[str, Any], feedback: tuple[FeedbackGiven, ...]) -> KeptExecution:
    usage = line.get("usage") or {}
    return KeptExecution(
        execution_id=line["execution_id"],
        signature=line["signature"],
        signature_version=line["signature_version"],
        fingerprint=line["fingerprint"],
        inputs=line["inputs"],
        outputs=line["outputs"],
        model=line["model"],
        started_at=line["started_at"],
        feedback=feedback,
        status=line["status"],
        latency=line["latency"],
        cost=line["cost"],
        usage=Usage(usage.get("input_tokens", 0), usage.get("output_tokens", 0), usage.get("calls", 0)),
        cached=line["cached"],
    )


def _encoded(event: Mapping[str, Any]) -> bytes:
    option = orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(event, default=str, option=option)
    except (TypeError, ValueError):  # lone surrogates, integers beyond 64 bits
        return orjson.dumps(_plain(event), default=str, option=option)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


def read_lines(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a file, oldest first; a line that was cut off by a full disk is left out."""
    with open(path, "rb") as file:
        for line in file:
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
