"""Promotions: which optimized signature stands in for the one of its name, and all that stood in before.

A promotion is made once, by ``Executor.promote``, and holds for every executor of the namespace that is made later, in
any process of the user, until it is rolled back. An executor leaves promotions out with ``promotions=False``.

::

    <user data>/promotions/<namespace>/<pack>/<Name>/
        history.jsonl            one line for each promotion and rollback
        <fingerprint>.json       the artifacts
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, frozen

from hokusai_core.errors import ArtifactError
from hokusai_core.storage import private_folder, user_data_folder

if TYPE_CHECKING:
    from hokusai_core.artifacts import Artifact

__all__ = ["Promotion", "PromotionBook"]

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@frozen
class Promotion:
    """One entry of a history.

    Args:
        action: ``promote`` or ``rollback``.
        at: seconds since the epoch.
        fingerprint: the signature that stands in from then on; None for the original one.
        version: its version.
        note: why, where somebody said so.
    """

    action: Literal["promote", "rollback"]
    at: float
    fingerprint: str | None
    version: str
    note: str = ""


class PromotionBook:
    """The promotions of one namespace.

    Args:
        namespace: keeps tenants apart.
        folder: where they are kept; None for the user's own folder.

    Raises:
        ConfigurationError: the user has no folder.
    """

    def __init__(self, namespace: str, folder: Path | None = None) -> None:
        root = folder or user_data_folder("promotions")
        self._folder = root / _part(namespace)

    def knows(self, name: str) -> bool:
        """Return whether a signature, given by its qualified name, has a history.

        Raises:
            OSError: the folder may not be looked into.
        """
        try:
            os.stat(self._place(name) / "history.jsonl")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def history(self, name: str) -> list[Promotion]:
        """Return what happened to a signature, the latest last.

        Args:
            name: its qualified name, ``pack/Name``.

        Raises:
            ArtifactError: the history is damaged; names the line.
        """
        path = self._place(name) / "history.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [_entry(path, number, line) for number, line in enumerate(lines, 1)]

    def current(self, name: str) -> Artifact | None:
        """Return what stands in for a signature now, None for nothing.

        Raises:
            ArtifactError: it cannot be used; says why.
        """
        entries = self.history(name)
        if not entries or entries[-1].fingerprint is None:
            return None
        return _read(self._place(name), entries[-1])

    def promote(self, name: str, artifact: Artifact, note: str = "") -> Promotion:
        """Let ``artifact`` stand in for the signature of that name."""
        with self._locked(name) as place:
            artifact.write(place / f"{artifact.spec.fingerprint}.json")
            entry = Promotion("promote", time.time(), artifact.spec.fingerprint, artifact.spec.version, note)
            _append(place / "history.jsonl", entry)
        return entry

    def rollback(
        self, name: str, note: str = "", *, check: Callable[[Artifact], None], original: bool = False
    ) -> tuple[Promotion, Artifact | None]:
        """Go back to what stood in before the latest promotion that is still in force.

        Args:
            name: qualified name of the signature.
            note: why; kept in the history.
            check: raises where what stood in before cannot stand in now; nothing is rolled back then.
            original: go back to the original signature, whatever was promoted in between.

        Returns:
            The new entry of the history, and what stands in from now on; None for nothing but the original.

        Raises:
            ArtifactError: nothing stands in for the signature, or what did before cannot be read.
        """
        with self._locked(name) as place:
            in_force = _in_force(self.history(name))
            if not in_force:
                raise ArtifactError(f"nothing was promoted for {name}, so there is nothing to roll back")
            previous = in_force[-2] if len(in_force) > 1 and not original else None
            artifact = None
            if previous is not None:
                artifact = _usable(name, previous, place, check)
            entry = Promotion(
                "rollback",
                time.time(),
                previous.fingerprint if previous else None,
                previous.version if previous else "",
                note,
            )
            _append(place / "history.jsonl", entry)
        return entry, artifact

    def _place(self, name: str) -> Path:
        pack, _, short = name.partition("/")
        return self._folder / _part(pack) / _part(short)

    @contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        place = self._place(name)
        for folder in reversed([place, *list(place.parents)[:3]]):
            private_folder(folder)
        handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield place
        finally:
            os.close(handle)


def _read(place: Path, entry: Promotion) -> Artifact:
    from hokusai_core.artifacts import read_artifact  # listings look here for promotions, and mostly find none

    return read_artifact(place / f"{entry.fingerprint}.json")


def _usable(name: str, entry: Promotion, place: Path, check: Callable[[Artifact], None]) -> Artifact:
    """Return the artifact of an entry, which is gone back to only where it can really stand in."""
    try:
        artifact = _read(place, entry)
        check(artifact)
    except ArtifactError as error:
        raise ArtifactError(
            f"{name} was not rolled back, because {entry.version}, which stood in before, cannot be used: {error}. "
            f"executor.rollback({name!r}, original=True) goes back to the signature as it was before all promotions"
        ) from error
    return artifact


def _in_force(entries: list[Promotion]) -> list[Promotion]:
    """Return the promotions that no rollback has undone."""
    stack: list[Promotion] = []
    for entry in entries:
        if entry.action == "promote":
            stack.append(entry)
        else:
            del stack[-1:]
            while stack and stack[-1].fingerprint != entry.fingerprint:  # it went back by several at once
                stack.pop()
    return stack


def _append(path: Path, entry: Promotion) -> None:
    line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(path: Path, number: int, line: str) -> Promotion:
    try:
        data: dict[str, Any] = json.loads(line)
        entry = Promotion(**data)
        fits = entry.fingerprint is None or bool(re.fullmatch("[0-9a-f]{32}", entry.fingerprint))
    except (TypeError, ValueError):
        fits = False
        entry = None
    if entry is None or not fits:
        raise ArtifactError(f"{path}, line {number}: is damaged; remove the line, or the folder to forget its history")
    return entry


def _part(name: str) -> str:
    """Return a name as one part of a path, unable to lead anywhere else."""
    return name if _SAFE.fullmatch(name) else "_" + name.encode().hex()
