"""The journal of a batch: a file of finished rows, from which a killed batch continues.

A journal is an append log (``hokusai_core.storage``): a text file that only grows. A finished row becomes one line in
one ``write`` call, so it is with the operating system before the row's permit goes to the next row, and neither a kill
nor a full disk can damage the lines before it. Lines need no recovery, no library and no second file, and a person can
read them. That is why it is not an SQLite database, whose write-ahead log does the same in a form that only SQLite
reads, and takes over ten times as long a row.

The payload of a line is a JSON object, a tab, and the outputs as a JSON object (nothing for a failed row). A line whose
checksum is wrong counts as not written: its row is run again. The first line is the header. Journals of 0.1, which have
the checksum at the end of the line, are continued.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_core.batch.results import FailedExecution, Outcome, json_text
from hokusai_core.errors import JournalError
from hokusai_core.json_encoding import canonical_json, jsonable
from hokusai_core.results import ExecutionResult
from hokusai_core.storage import AppendLog, describe_os_error
from hokusai_core.stored_answer import answer_text, split_answer

if TYPE_CHECKING:
    from hokusai_core.signatures import SignatureSpec

__all__ = ["Journal", "JournalWarning"]

_SCHEMA: Final = 1
_MAGIC: Final = b'{"hokusai_journal":'
#: The checksum before the payload of a line; lines of 0.1 have it at the end.
_CHECKSUM: Final = re.compile(rb"\A[0-9a-f]{8} ")
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
        models: names of the language models that rows may be run with; rows that others have answered are kept, and
            told.
        strategy: name, options and versions of the strategy that the batch asks for, None if it asks for none.
        parameters: parameters of the language model that the executor, the signature and the batch give.
        testing: whether answers are made up; such a journal is never continued with a language model.

    Raises:
        JournalError: it belongs to another signature or version, is not a journal, is used by another batch, or cannot
            be read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        spec: SignatureSpec,
        name: str,
        *,
        models: Collection[str] = (),
        testing: bool = False,
        strategy: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.path = Path(path)
        self._spec, self._name, self._models, self._strategy = spec, name, tuple(filter(None, models)), strategy
        self._parameters: dict[str, Any] = jsonable(dict(parameters))
        self._finished: dict[int, int] = {}
        self._notes: list[Mapping[str, Any]] = []
        self._outputs_stay = not spec.sensitive & frozenset(spec.outputs)
        self._warned_of_loss = False
        self._log = _open(self.path)
        try:
            self._salt = self._begin(testing)
        except BaseException:
            self._log.close()
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
            self._warn_of_loss(f"inputs of {self._name} have no JSON form ({error})")
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
        fields = _fields(self._log.read_at(place >> _LENGTH_BITS, place & ((1 << _LENGTH_BITS) - 1)))
        if fields is None or fields[0].get("key") != key:
            return None
        record, encoded = fields
        spec = self._spec
        try:
            encoded, extras = split_answer(encoded)
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
                strategy=str(record.get("strategy", "")),
                extras=extras,
                inputs=inputs,
                sensitive=spec.sensitive,
            )
        except (KeyError, TypeError, ValueError):
            return None

    def record(self, key: str, index: int, outcome: Outcome) -> None:
        """Write a row that is over.

        Raises:
            JournalError: it cannot be written, say because the disk is full.
        """
        line = self._line(key, index, outcome)
        if line is None or self._log.closed:
            return
        try:
            self._log.append(line)
        except OSError as error:
            raise JournalError(
                f"journal {self.path} cannot be written ({error}); the batch stops. Make room, then run it again "
                "with the same journal: what is in it is not run again"
            ) from error

    @property
    def notes(self) -> list[Mapping[str, Any]]:
        """The notes of a backend, of earlier runs and of this one, the oldest first."""
        return list(self._notes)

    def note(self, note: Mapping[str, Any]) -> None:
        """Write a note of a backend; it is on the disk itself when this returns.

        Args:
            note: JSON-able data.

        Raises:
            JournalError: it cannot be written.
        """
        if self._log.closed:
            return
        try:
            self._log.append(_encode({"note": jsonable(dict(note)), "at": time.time()}, b""))
            self._log.sync()
        except OSError as error:
            raise JournalError(
                f"journal {self.path} cannot be written ({error}); the batch stops. Make room, then run it again "
                "with the same journal"
            ) from error
        self._notes.append(dict(note))

    def close(self) -> None:
        """Bring everything to the disk and let others open the file; calling it twice is harmless."""
        try:
            self._log.sync()
        except OSError as error:  # every row is written; only a power cut could still cost some
            warnings.warn(f"journal {self.path}: {error}", JournalWarning, stacklevel=3)
        finally:
            self._log.close()

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
            self._warn_of_loss(f"outputs of {self._name} have no JSON form ({error})")
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
        if outcome.strategy:
            record["strategy"] = outcome.strategy
        return _encode(record, outputs if self._spec.sensitive else answer_text(outputs, outcome.extras))

    def _warn_of_loss(self, why: str) -> None:
        if not self._warned_of_loss:
            self._warned_of_loss = True
            warnings.warn(
                f"journal {self.path}: {why}; such rows are not written to it, and run again when the batch is "
                "continued",
                JournalWarning,
                stacklevel=2,
            )

    # -- opening ------------------------------------------------------------------------------------------------

    def _begin(self, testing: bool) -> bytes:
        """Read the journal, or write the header of a new one, and return its salt."""
        if not self._log.size():
            salt = os.urandom(16)
            header = {
                "hokusai_journal": _SCHEMA,
                "signature": self._name,
                "version": self._spec.version,
                "fingerprint": self._spec.fingerprint,
                "testing": testing,
                "salt": salt.hex(),
                "at": time.time(),
            }
            if self._strategy is not None:
                header["strategy"] = jsonable(self._strategy)
            if self._parameters:
                header["parameters"] = self._parameters
            self._log.append(_encode(header, b""))
            return salt
        lines = self._log.scan()
        salt = self._read_header(next(lines).payload, testing)
        damaged = 0
        models: dict[int, str] = {}
        for line in lines:
            fields = _fields(line.payload)
            place = line.offset << _LENGTH_BITS | line.length
            if fields is None:
                damaged += line.damaged
            elif isinstance(fields[0].get("note"), dict):
                self._notes.append(fields[0]["note"])
            elif fields[0].get("ok") is True and _KEY.fullmatch(str(fields[0].get("key"))):
                short, model = _short(fields[0]["key"]), fields[0].get("model")
                self._finished[short] = place
                models.pop(short, None)
                if isinstance(model, str) and model and model not in self._models:
                    models[short] = model
        self._warn_of(damaged, models)
        return salt

    def _read_header(self, payload: bytes | None, testing: bool) -> bytes:
        """Return the salt, after a check that the journal is this batch's."""
        header = _fields(payload)
        if header is None or "hokusai_journal" not in header[0]:
            raise JournalError(
                f"{self.path} is a journal with a damaged first line, and was left alone; give another path"
            )
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
        if models and self._models:
            names = ", ".join(sorted(set(models.values())))
            told.append(
                f"{len(models)} of its rows were answered by {names} and are kept; for answers of "
                f"{' and '.join(self._models)} give another path"
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
        if header.get("strategy") != (None if self._strategy is None else jsonable(self._strategy)):
            raise JournalError(
                f"journal {self.path} was begun with {_strategy_text(header.get('strategy'))}, and this batch asks for "
                f"{_strategy_text(self._strategy)}: their answers must not be mixed. Give another path, or ask for the "
                "same strategy"
            )
        if (header.get("parameters") or {}) != self._parameters:
            raise JournalError(
                f"journal {self.path} was begun with the parameters {header.get('parameters') or {}}, and this batch "
                f"has {self._parameters}: their answers must not be mixed. Give another path, or the same parameters"
            )
        if bool(header.get("testing")) is not testing:
            kind = "made-up answers of testing mode" if header.get("testing") else "answers of a language model"
            raise JournalError(f"journal {self.path} holds {kind}; give another path in this mode")


def _strategy_text(strategy: Mapping[str, Any] | None) -> str:
    return (
        "no strategy of its own" if strategy is None else f"strategy {strategy.get('name')} {strategy.get('options')}"
    )


def _open(path: Path) -> AppendLog:
    """Open the file for this process alone, after a check that it is a journal, or empty."""
    try:
        if path.exists() and not path.is_file():
            raise JournalError(f"journal {path} is not a regular file; give another path")
        _refuse_other_file(path)  # before the log removes what it takes for a line that was cut off
        return AppendLog(path, follow_links=True, sync_every=_SYNC_EVERY)
    except BlockingIOError:
        raise JournalError(
            f"journal {path} is in use by another batch; wait until it is over, or give another path"
        ) from None
    except OSError as error:
        raise JournalError(f"journal {path} cannot be opened: {describe_os_error(error, str(path))}") from error
    except ValueError as error:  # of a path that holds a null character
        raise JournalError(f"journal {path} cannot be opened: {error}") from error


def _refuse_other_file(path: Path) -> None:
    """Raise if the file is neither empty nor begins as a journal does, whole or cut off."""
    try:
        with path.open("rb") as file:
            start = file.read(4_096)
    except FileNotFoundError:
        return
    head = _CHECKSUM.sub(b"", start, count=1)
    cut_off = b"\n" not in start and _MAGIC.startswith(head)
    if start and not head.startswith(_MAGIC) and not cut_off:
        raise JournalError(f"{path} is no journal of a batch, and was left alone; give another path")


def _encode(record: Mapping[str, Any], outputs: bytes) -> bytes:
    return json_text(record) + b"\t" + outputs


def _fields(payload: bytes | None) -> tuple[dict[str, Any], bytes] | None:
    """Return the two JSON texts of a line, the first decoded; None if they cannot be trusted."""
    if payload is None:
        return None
    head, _, outputs = payload.partition(b"\t")
    try:
        record = orjson.loads(head)
    except ValueError:
        return None
    return (record, outputs) if isinstance(record, dict) else None


def _short(key: str) -> int:
    return int(key[:16], 16)
