"""Answers of the systems of an evaluation, and the journal from which a killed evaluation goes on.

A journal is an append log: a header, then a line for each answer. It holds outputs and figures, never what was expected
and never a score, so that another metric can score the same answers without a call. A line is found by a digest of the
system and the inputs, keyed with a salt of the journal's own, so that inputs cannot be guessed from it. What language
models of metrics have answered is kept in the same way, by a digest of what they were asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, Self

import orjson
from attrs import define

from hokusai_core.errors import JournalError, OutputError, PromptTooLong
from hokusai_core.plugin_api import AppendLog, Usage, jsonable
from hokusai_core.types import FailedExecution
from hokusai_evaluate.systems import System

__all__ = ["Answer", "AnswerJournal", "AnswerKeeper", "answer_of", "failed_answer"]

_VERSION: Final = 1
#: Failures that say something of the system. All others say that it could not be asked.
_OWN_FAILURES: Final = (OutputError, PromptTooLong)


@define
class Answer:
    """What a system gave for an example.

    Args:
        outputs: the outputs; None where it failed.
        error: class of the error, empty for none.
        message: message of the error.
        answered: whether it says something of the system. Where the language model could not be asked, it does not.
        latency: seconds, None where unknown.
        cost: US dollars that it cost when it was made, None where unknown.
        tokens: tokens of the prompts and of the answers; None where unknown, as of an answer out of a cache.
        reused: whether it is from an earlier run.
    """

    outputs: Mapping[str, Any] | None
    error: str = ""
    message: str = ""
    answered: bool = True
    latency: float | None = None
    cost: float | None = None
    tokens: tuple[int, int] | None = None
    reused: bool = False


def answer_of(outcome: Any) -> Answer:
    """Return the outcome of an execution, a chain or a row of a batch as an answer."""
    if isinstance(outcome, FailedExecution):
        return failed_answer(outcome.error, outcome.usage, outcome.cost)
    outputs = {**outcome.outputs}  # a plain dict: reading a value of the other takes longer
    if outcome.cached:
        latency = getattr(outcome, "original_latency", None)
        return Answer(outputs, latency=latency, cost=getattr(outcome, "original_cost", None))
    usage: Usage = outcome.usage
    tokens = (usage.input_tokens, usage.output_tokens)
    return Answer(
        outputs, "", "", True, outcome.latency, outcome.cost, tokens
    )  # by position, which takes half the time


def failed_answer(error: Exception, usage: Usage | None = None, cost: float | None = None) -> Answer:
    """Return a failure as an answer."""
    tokens = (usage.input_tokens, usage.output_tokens) if usage is not None and usage.calls else None
    answered = isinstance(error, _OWN_FAILURES)
    return Answer(None, type(error).__name__, str(error), answered, cost=cost, tokens=tokens)


class AnswerKeeper(Protocol):
    """Knows answers, so that they are not asked for."""

    def key(self, system: System, inputs: Mapping[str, Any], occurrence: int) -> str:
        """Return what an answer is found by."""
        ...

    def find(self, key: str, system: System) -> Answer | None:
        """Return a known answer; None if it has to be asked for."""
        ...

    def record(self, key: str, system: System, answer: Answer) -> None:
        """Take an answer that was asked for."""
        ...


class AnswerJournal:
    """A journal that this process writes.

    Args:
        path: the file; made where it is not there.

    Raises:
        JournalError: it is something else, is used by another process, or cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._log = AppendLog(path)
        except OSError as error:
            raise JournalError(f"journal {os.fspath(path)} cannot be opened: {error.strerror or error}") from error
        self._lines: dict[str, bytes] = {}
        #: What language models of metrics have answered, by the digest of what they were asked.
        self._calls: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        try:
            self._salt = self._begin()
        except BaseException:
            self._log.close()
            raise

    def _begin(self) -> bytes:
        lines = self._log.scan()
        first = next(lines, None)
        if first is None:
            salt = secrets.token_hex(16)
            self._append({"hokusai_evaluation": _VERSION, "salt": salt})
            return salt.encode()
        header = _read(first.payload)
        if header.get("hokusai_evaluation") != _VERSION:
            raise JournalError(
                f"{self._log.path} is no journal of an evaluation, or one of another version; name another file"
            )
        for line in lines:
            record = _read(line.payload)  # a damaged line counts as not written: its example is run again
            if "key" in record:
                self._lines[record["key"]] = line.payload or b""
            elif isinstance(record.get("answers"), list):
                self._calls[str(record.get("call"))] = record["answers"]
        return str(header["salt"]).encode()

    def key(self, system: System, inputs: Mapping[str, Any], occurrence: int) -> str:
        """Return what an answer is found by.

        Args:
            system: the system.
            inputs: bound inputs.
            occurrence: number of the round, from 0.
        """
        text = json.dumps([system.identity, jsonable(inputs), occurrence], sort_keys=True)
        return self._digest(text)

    def find(self, key: str, system: System) -> Answer | None:
        """Return the answer of an earlier run, None where there is none that can be used."""
        line = self._lines.get(key)
        if line is None:
            return None
        record = _read(line)
        try:
            outputs = record["outputs"]
            return Answer(
                None if outputs is None else system.spec.codec.decode(orjson.dumps(outputs)),
                record["error"],
                record["message"],
                latency=record["latency"],
                cost=record["cost"],
                tokens=None if record["tokens"] is None else (record["tokens"][0], record["tokens"][1]),
                reused=True,
            )
        except (KeyError, TypeError, ValueError):  # a file is an input like any other
            return None

    def record(self, key: str, system: System, answer: Answer) -> None:
        """Write an answer. One that does not count as answered is not written, so that the next run asks again.

        Raises:
            JournalError: it cannot be written, say because the disk is full.
        """
        if not answer.answered or system.spec.sensitive & frozenset(system.spec.outputs):
            return
        try:
            outputs = None if answer.outputs is None else orjson.Fragment(system.spec.codec.encode(answer.outputs))
        except (TypeError, ValueError):  # no JSON form: it is asked for again
            return
        self._append(
            {
                "key": key,
                "outputs": outputs,
                "error": answer.error,
                "message": answer.message,
                "latency": answer.latency,
                "cost": answer.cost,
                "tokens": answer.tokens,
            }
        )

    def get(self, key: str) -> list[Any] | None:
        """Return what the language model of a metric has answered to a call, None if it was not made."""
        found = self._calls.get(self._digest(key))
        return None if found is None else [*found]

    def put(self, key: str, answers: list[Any]) -> None:
        """Keep what the language model of a metric has answered. What has no JSON form is asked for again.

        Raises:
            JournalError: it cannot be written.
        """
        digest = self._digest(key)
        with suppress(TypeError):
            self._append({"call": digest, "answers": answers})
            self._calls[digest] = [*answers]

    def _digest(self, text: str) -> str:
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=16).hexdigest()

    def _append(self, record: Mapping[str, Any]) -> None:
        data = orjson.dumps(record)
        try:
            with self._lock:
                self._log.append(data)
        except OSError as error:
            raise JournalError(
                f"journal {self._log.path} cannot be written ({error}); the evaluation stops. Make room, then run it "
                "again with the same journal: what is in it is not asked again"
            ) from error

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _read(payload: bytes | None) -> dict[str, Any]:
    try:
        record = orjson.loads(payload or b"")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
