"""Cassette: records calls of language models once, and answers them later without a call."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from attrs import define, evolve, field

from hokusai_core.cassettes.cassette_file import CassetteFile, Interaction, grouped
from hokusai_core.cassettes.request_difference import explain_miss
from hokusai_core.errors import CassetteError, CassetteMiss, ConfigurationError
from hokusai_core.process import active_cassettes, fork_callbacks

__all__ = ["RECORD_MODES", "Cassette", "RecordMode", "cassette"]

#: What a cassette does with a call; the words of vcrpy.
RecordMode = Literal["once", "new_episodes", "none", "all"]
RECORD_MODES: Final[tuple[str, ...]] = get_args(RecordMode)


@define(eq=False)
class _Recording:
    """What a cassette has recorded and not merged; it outlives the cassette until that is done.

    Args:
        file: where it is written.
        before: how often each request was in the file when it was opened.
        known: how often each request was recorded before, killed processes included.
        replaces: whether what was in the file when it was opened goes.
        unmerged: whether a killed process has left recordings.
    """

    file: CassetteFile
    before: Counter[bytes]
    known: Counter[bytes]
    replaces: bool
    unmerged: bool
    lock: Any = field(factory=threading.RLock)
    new: list[Interaction] = field(factory=list)

    def add(self, interaction: Interaction) -> None:
        with self.lock:
            turned = evolve(interaction, turn=self.known[interaction.key])
            self.known[interaction.key] += 1
            self.new.append(turned)
            self.file.append(turned)

    def merge(self) -> None:
        with self.lock:
            if self.new or self.unmerged:
                self.file.merge(self._combined)
                self.new, self.replaces, self.unmerged = [], False, False

    def _combined(self, stored: list[Interaction], waiting: list[Interaction]) -> list[Interaction]:
        """Return what the cassette holds from now on.

        Where several processes have recorded the same request, one answer for each turn stays.
        """
        merged: dict[bytes, dict[int, Interaction]] = {}
        for key, group in grouped(stored).items():  # in place of what is replaced others may have written something
            merged[key] = dict(enumerate(group[self.before[key] :] if self.replaces else group))
        for one in [*self.new, *waiting]:
            merged.setdefault(one.key, {}).setdefault(one.turn, one)
        return [turns[turn] for turns in merged.values() for turn in sorted(turns)]


class Cassette:
    """A file with recorded calls of language models.

    Make one with ``cassette``. As a context manager it takes every call that executors make inside, in this process. As
    ``Executor(cassette=...)`` it takes those of one executor, and closes with it.

    Attributes:
        path: the file.
        record_mode: what it does with a call.
        played: how many calls it has answered.
        recorded: how many calls it has recorded.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, record_mode: str = "once", allow_playback_repeats: bool = False
    ) -> None:
        if record_mode not in RECORD_MODES:
            raise ConfigurationError(f"record_mode={record_mode!r}: expected one of {', '.join(RECORD_MODES)}")
        file = CassetteFile(path)
        self.path: Path = file.path
        self.record_mode, self._repeats = record_mode, allow_playback_repeats
        stored = file.read()
        self._records = record_mode in ("new_episodes", "all") or (record_mode == "once" and not file.exists)
        if self._records:
            file.check_writable()
        before, left = Counter(one.key for one in stored), []
        if record_mode == "all":
            stored = []
        elif self._records:
            left = file.read_part()  # a process that was killed has paid for them
        self._stored = stored + left
        self._groups = grouped(self._stored)
        known = Counter(one.key for one in self._stored)
        self._turns: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self.played = self.recorded = 0
        self._recording = _Recording(file, before, known, record_mode == "all", bool(left))
        self._entered: list[Any] = []
        #: Sensitive text -> the signature that it belongs to; in memory only.
        self._sensitive: dict[str, str] = {}
        # One that is never closed is merged when it is forgotten, or at the end of the process.
        weakref.finalize(self, self._recording.merge)
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock, self._recording.lock = threading.Lock(), threading.RLock()

    @property
    def records(self) -> bool:
        """Whether a call that is not in the cassette is made and recorded; else it is an error."""
        return self._records

    def find(self, signature: str, request: Mapping[str, Any]) -> Interaction | None:
        """Return the recorded answer to a request; None if the call is to be made and recorded.

        Equal requests get their answers in the order in which they were recorded.

        Args:
            signature: name of the signature.
            request: ``model``, ``options`` and ``messages``, free of credentials and sensitive values.

        Raises:
            CassetteMiss: it is not in the cassette, and nothing may be recorded; says what differs.
        """
        asked = Interaction(signature, request)
        with self._lock:
            turn = self._turns[asked.key]
            group = self._groups.get(asked.key, ())
            self._turns[asked.key] += 1
            if turn < len(group):
                self.played += 1
                return group[turn]
            if group and self._repeats:
                self.played += 1
                return group[-1]
        if self._records:
            return None
        raise CassetteMiss(
            explain_miss(asked, self._stored, path=self._shown_path, mode=self.record_mode, times=len(group)),
            signature=signature,
        )

    def keep_out(self, signature: str, texts: Iterable[str]) -> None:
        """Refuse recordings that hold one of the sensitive texts of a signature."""
        with self._lock:
            for text in texts:
                self._sensitive.setdefault(text, signature)

    def check(self, signature: str, request: Mapping[str, Any]) -> None:
        """Check that a request may be recorded.

        Raises:
            CassetteError: it holds the value of a sensitive field of another execution, as where a chain hands one on
                to a field that is not marked so.
        """
        if not self._sensitive:
            return
        written = json.dumps(request, ensure_ascii=False)
        with self._lock:
            found = {
                owner
                for text, owner in self._sensitive.items()
                if json.dumps(text, ensure_ascii=False)[1:-1] in written
            }
        if found:
            raise CassetteError(
                f"signature {signature!r}: its request holds the value of a sensitive field of "
                f"{', '.join(sorted(found))}, so it is not recorded; mark the field that takes it as sensitive, too"
            )

    def record(self, interaction: Interaction) -> None:
        """Keep a call that was made.

        Raises:
            CassetteError: the file cannot be written.
        """
        self._recording.add(interaction)
        with self._lock:
            self.recorded += 1

    def close(self) -> None:
        """Merge what was recorded into the file; calling it twice is harmless.

        Raises:
            CassetteError: the file cannot be written. What was recorded is kept in a hidden file beside it.
        """
        self._recording.merge()

    @property
    def _shown_path(self) -> str:
        relative = os.path.relpath(self.path)
        return str(self.path) if relative.startswith("..") else relative

    def __enter__(self) -> Self:
        self._entered.append(active_cassettes.enter(self))
        return self

    def __exit__(self, *_exception: object) -> None:
        active_cassettes.leave(self._entered.pop())
        if not self._entered:
            self.close()

    def __repr__(self) -> str:
        counts = f"played={self.played} recorded={self.recorded}"
        return f"<Cassette {self._shown_path} record_mode={self.record_mode} {counts}>"


def cassette(
    path: str | os.PathLike[str], *, record_mode: RecordMode = "once", allow_playback_repeats: bool = False
) -> Cassette:
    """Record the calls of language models that executors make, or replay them without a call.

    Credentials and values of sensitive fields are never written.

    Args:
        path: the file, such as ``tests/cassettes/triage.json``.
        record_mode: ``once`` records if the file does not exist, and else replays; ``new_episodes`` replays
            what is known and records the rest; ``none`` only replays; ``all`` records everything anew. A call that is
            not in the file and may not be recorded raises ``CassetteMiss``.
        allow_playback_repeats: whether the last answer to a request is given again, where it is asked more often than
            it was recorded; else that is a ``CassetteMiss``.

    Raises:
        CassetteError: the file is damaged, or was written by a newer version.
        ConfigurationError: there is no such mode.

    Example:
        >>> from hokusai_core import Executor, cassette
        >>> from hokusai_core.testing.lm import null_lm
        >>> for lm in (null_lm(answers={"answer": "Paris"}), null_lm(answers={"answer": "is not asked"})):
        ...     with cassette("capitals.json"), Executor(lm=lm, plugins=[]) as executor:
        ...         executor.register_signature("Ask", "question -> answer")
        ...         executor.execute_signature("Ask", {"question": "Capital of France?"})["answer"]
        'Paris'
        'Paris'
    """
    return Cassette(path, record_mode=record_mode, allow_playback_repeats=allow_playback_repeats)
