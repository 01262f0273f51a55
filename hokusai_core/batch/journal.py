"""The journal of a batch: what makes a killed batch go on where it stopped.

A journal is a text file that only ever grows. A row that is over becomes one line in one ``write`` call, so it is with
the operating system before the row's place is given to the next, and neither ``kill -9`` nor a full disk can damage
the lines before it; lines need no recovery, no library and no second file, and a person can read them. That is why it
is not an SQLite database, whose write-ahead log does the same in a form that only SQLite reads, and takes over ten
times as long a row.

Each line is three fields and a line feed, separated by tabs: a JSON object, the outputs as a JSON object (empty for a
failed row), and a checksum over both. A line whose checksum is wrong, such as the one that a kill cut off, counts as
not written: its row is run again. The first line is the header.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import stat
import threading
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_core.batch.results import FailedExecution, Outcome, json_text
from hokusai_core.errors import JournalError
from hokusai_core.json_encoding import canonical_json
from hokusai_core.results import ExecutionResult

if TYPE_CHECKING:
    from hokusai_core.signatures import SignatureSpec

__all__ = ["Journal", "JournalWarning"]

_SCHEMA: Final = 1
_MAGIC: Final = b'{"hokusai_journal":'
#: Seconds between calls that bring the file to the disk itself, so that a power cut costs at most this much work.
_SYNC_EVERY: Final = 5.0
_LENGTH_BITS: Final = 32
_KEY: Final = re.compile(r"[0-9a-f]{32}")


class JournalWarning(UserWarning):
    """Something about a journal that costs work, though no answer is wrong."""


class Journal:
    """A journal that this process writes; no other process, and no second batch, can open it meanwhile.

    In memory it takes some hundred bytes a finished row of earlier runs: a digest and a place in the file.

    Args:
        path: the file; made where it is not there.
        spec: the signature.
        name: its qualified name.
        model: name of the language model that rows are run with; those that others have answered are kept, and told.
        testing: whether answers are made up; such a journal is never continued with a language model.

    Raises:
        JournalError: it belongs to another signature or version, is no journal, is used by somebody else, or cannot be
            read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        spec: SignatureSpec,
        name: str,
        *,
        model: str = "",
        testing: bool = False,
    ) -> None:
        self.path = Path(path)
        self._spec, self._name, self._model = spec, name, model
        self._lock = threading.Lock()
        self._finished: dict[int, int] = {}
        self._outputs_stay = not spec.sensitive & frozenset(spec.outputs)
        self._torn = self._told = False
        self._synced = time.monotonic()
        self._file = _open(self.path)
        try:
            self._salt = self._begin(testing)
        except BaseException:
            file, self._file = self._file, -1
            os.close(file)
            raise
        if not self._outputs_stay:
            warnings.warn(
                f"journal {self.path}: {name} has sensitive outputs, which are not written to it; when the batch is "
                "continued, its rows are run again",
                JournalWarning,
                stacklevel=4,
            )

    def __len__(self) -> int:
        """Return how many rows earlier runs have finished."""
        return len(self._finished)

    def key(self, inputs: Mapping[str, Any], occurrence: int = 0) -> str | None:
        """Return what a row is found by, or None where its inputs have no JSON form, so that it cannot be kept.

        Args:
            inputs: bound inputs.
            occurrence: number among the rows with these inputs, where each of them is to have an answer of its own.
        """
        try:
            text = canonical_json(inputs)
        except Exception as error:  # a class of the caller's may say in code of its own what its JSON form is
            self._tell_lost(f"inputs of {self._name} have no JSON form ({error})")
            return None
        if occurrence:
            text += b"#%d" % occurrence
        if self._spec.sensitive:  # nothing about the values may be found out by guessing and hashing in advance
            return hmac.new(self._salt, text, hashlib.sha256).hexdigest()[:32]
        return hashlib.sha256(text).hexdigest()[:32]

    def find(self, key: str, inputs: Mapping[str, Any]) -> ExecutionResult | None:
        """Return the result that an earlier run has finished for the row, or None."""
        place = self._finished.get(_short(key))
        if place is None:
            return None
        fields = _fields(os.pread(self._file, place & ((1 << _LENGTH_BITS) - 1), place >> _LENGTH_BITS))
        if fields is None or fields[0].get("key") != key:
            return None
        record, encoded = fields
        spec = self._spec
        try:
            outputs = spec.codec.decode(encoded)
            if spec.codec.check(inputs, outputs):  # a file is an input like any other
                return None
            return ExecutionResult(
                outputs=outputs,
                execution_id=str(record["id"]),
                signature=self._name,
                signature_version=spec.version,
                fingerprint=spec.fingerprint,
                model=str(record["model"]),
                cost=0.0,
                cached="journal",
                cache_age=max(0.0, time.time() - record["at"]),
                original_latency=float(record["latency"]),
                original_cost=None if record["cost"] is None else float(record["cost"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def record(self, key: str, index: int, outcome: Outcome) -> None:
        """Write a row that is over.

        Raises:
            JournalError: it cannot be written, say because the disk is full.
        """
        line = self._line(key, index, outcome)
        if line is None:
            return
        with self._lock:
            if self._file < 0:
                return
            try:
                self._write(line)
            except OSError as error:
                raise JournalError(
                    f"journal {self.path} cannot be written ({error}); the batch stops. Make room, then run it again "
                    "with the same journal: what is in it is not run again"
                ) from error

    def close(self) -> None:
        """Bring everything to the disk and let others open the file; calling it twice is harmless."""
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            try:
                os.fsync(file)
            except OSError as error:  # every row is written; only a power cut could still cost some
                warnings.warn(f"journal {self.path}: {error}", JournalWarning, stacklevel=3)
            finally:
                os.close(file)  # which also gives the lock back

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:  # nobody has begun the batch that it was opened for
            os.close(self._file)

    # -- writing ------------------------------------------------------------------------------------------------

    def _line(self, key: str, index: int, outcome: Outcome) -> bytes | None:
        if isinstance(outcome, FailedExecution):
            error = {"type": type(outcome.error).__name__, "message": str(outcome.error)}
            return _encode({"key": key, "row": index, "ok": False, "at": time.time(), "error": error}, b"")
        if not self._outputs_stay:
            return None
        try:
            outputs = self._spec.codec.encode(outcome.outputs)
        except (TypeError, ValueError) as error:
            self._tell_lost(f"outputs of {self._name} have no JSON form ({error})")
            return None
        record = {
            "key": key,
            "row": index,
            "ok": True,
            "at": time.time(),
            "id": outcome.execution_id,
            "model": outcome.model,
            "latency": outcome.latency,
            "cost": outcome.cost,
            "tokens": outcome.usage.total_tokens,
        }
        return _encode(record, outputs)

    def _tell_lost(self, why: str) -> None:
        if not self._told:
            self._told = True
            warnings.warn(
                f"journal {self.path}: {why}; such rows are not written to it, and run again when the batch is "
                "continued",
                JournalWarning,
                stacklevel=2,
            )

    def _write(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # what was cut off must not swallow this line
        self._torn = True
        written = os.write(self._file, line)
        if written < len(line):  # the disk has become full in between; this raises
            os.write(self._file, line[written:])
        self._torn = False
        now = time.monotonic()
        if now - self._synced >= _SYNC_EVERY:
            os.fsync(self._file)
            self._synced = time.monotonic()

    # -- opening ------------------------------------------------------------------------------------------------

    def _begin(self, testing: bool) -> bytes:
        """Read the journal, or write the header of a new one, and return its salt."""
        if self._is_new():
            salt = os.urandom(16)
            self._write(
                _encode(
                    {
                        "hokusai_journal": _SCHEMA,
                        "signature": self._name,
                        "version": self._spec.version,
                        "fingerprint": self._spec.fingerprint,
                        "testing": testing,
                        "salt": salt.hex(),
                        "at": time.time(),
                    },
                    b"",
                )
            )
            return salt
        lines = self._lines()
        salt = self._read_header(next(lines)[1], testing)
        damaged = 0
        models: dict[int, str] = {}
        for place, line in lines:
            fields = _fields(line)
            if fields is None:
                # A line that a kill has cut off is what a journal is for; one that is whole and wrong is not.
                damaged += len(line.rstrip(b"\n").rpartition(b"\t")[2]) == 8
            elif fields[0].get("ok") is True and _KEY.fullmatch(str(fields[0].get("key"))):
                short, model = _short(fields[0]["key"]), fields[0].get("model")
                self._finished[short] = place
                models.pop(short, None)
                if isinstance(model, str) and model not in ("", self._model):
                    models[short] = model
        self._torn = self._ends_torn()
        self._warn_of(damaged, models)
        return salt

    def _read_header(self, line: bytes, testing: bool) -> bytes:
        """Return the salt, once it is clear that the journal is one, and this batch's."""
        header = _fields(line)
        if header is None or "hokusai_journal" not in header[0]:
            what = "a journal with a damaged first line" if line.startswith(_MAGIC) else "no journal of a batch"
            raise JournalError(f"{self.path} is {what}, and was left alone; give another path")
        try:
            self._check(header[0], testing)
            return bytes.fromhex(header[0]["salt"])
        except JournalError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"{self.path} is a damaged journal, and was left alone; give another path") from error

    def _warn_of(self, damaged: int, models: Mapping[int, str]) -> None:
        told = []
        if damaged:
            told.append("1 damaged line: its row is" if damaged == 1 else f"{damaged} damaged lines: their rows are")
            told[-1] += " run again"
        if models and self._model:
            names = ", ".join(sorted(set(models.values())))
            told.append(
                f"{len(models)} of its rows were answered by {names} and are kept; for answers of {self._model} give "
                "another path"
            )
        for text in told:
            warnings.warn(f"journal {self.path}: {text}", JournalWarning, stacklevel=6)

    def _check(self, header: Mapping[str, Any], testing: bool) -> None:
        if header["hokusai_journal"] != _SCHEMA:
            raise JournalError(
                f"journal {self.path} was written by another version of Hokusai (schema {header['hokusai_journal']}, "
                f"this one reads {_SCHEMA}); finish the batch with that version, or give another path"
            )
        spec = self._spec
        was = f"{header['signature']} {header['version']}"
        if header["fingerprint"] != spec.fingerprint or header["version"] != spec.version:
            raise JournalError(
                f"journal {self.path} belongs to {was} (fingerprint {header['fingerprint'][:12]}), and this batch runs "
                f"{self._name} {spec.version} (fingerprint {spec.fingerprint[:12]}): their answers must not be mixed. "
                "Give another path, or run the version that the journal was begun with"
            )
        if bool(header.get("testing")) is not testing:
            kind = "made-up answers of testing mode" if header.get("testing") else "answers of a language model"
            raise JournalError(f"journal {self.path} holds {kind}; give another path in this mode")

    def _is_new(self) -> bool:
        size = os.fstat(self._file).st_size
        if size == 0:
            return True
        start = os.pread(self._file, 4_096, 0)
        if b"\n" not in start and (start.startswith(_MAGIC) or _MAGIC.startswith(start)):
            os.ftruncate(self._file, 0)  # killed while the header was written: there is nothing else in it
            return True
        return False

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield every line with its place in the file (offset and length in one number)."""
        offset = 0
        with open(os.dup(self._file), "rb") as file:
            file.seek(0)
            for line in file:
                yield offset << _LENGTH_BITS | len(line), line
                offset += len(line)

    def _ends_torn(self) -> bool:
        size = os.fstat(self._file).st_size
        return size > 0 and os.pread(self._file, 1, size - 1) != b"\n"


def _open(path: Path) -> int:
    """Open the file for this process alone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise JournalError(f"journal {path} cannot be opened: {error}") from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise JournalError(f"journal {path} is no regular file; give another path")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, whatever kills it
        except BlockingIOError:
            raise JournalError(
                f"journal {path} is in use by another batch; wait until it is over, or give another path"
            ) from None
        except OSError as error:
            raise JournalError(f"journal {path} cannot be locked on this file system ({error})") from error
    except BaseException:
        os.close(file)
        raise
    return file


def _encode(record: Mapping[str, Any], outputs: bytes) -> bytes:
    head = json_text(record)
    body = head + b"\t" + outputs
    return b"%b\t%08x\n" % (body, zlib.crc32(body))


def _fields(line: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Return the two JSON texts of a line, the first decoded; None where its checksum is wrong."""
    body, _, checksum = line.rstrip(b"\n").rpartition(b"\t")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    head, _, outputs = body.partition(b"\t")
    try:
        record = orjson.loads(head)
    except ValueError:
        return None
    return (record, outputs) if isinstance(record, dict) else None


def _short(key: str) -> int:
    return int(key[:16], 16)
