"""PromotionHistory: which optimized signatures were promoted and rolled back in one namespace, on disk.

::

    <user data>/promotions/<namespace>/<pack>/<Name>/
        history.jsonl            one line for each promotion and rollback
        <fingerprint>.json       the artifacts
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, frozen

from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import user_data_folder

if TYPE_CHECKING:
    from hokusai_core.plugin_api import Artifact

__all__ = ["Promotion", "PromotionHistory"]

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@frozen
class Promotion:
    """One entry of a history.

    Args:
        action: ``promote`` or ``rollback``.
        at: seconds since the epoch.
        fingerprint: the signature that is used from then on; None for the original.
        version: its version.
        note: the reason, empty where none was given.
    """

    action: Literal["promote", "rollback"]
    at: float
    fingerprint: str | None
    version: str
    note: str = ""


class PromotionHistory:
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

    def entries(self, name: str) -> list[Promotion]:
        """Return what was promoted for a signature and rolled back, the latest last.

        Args:
            name: its qualified name, ``pack/Name``.

        Raises:
            ArtifactError: the history is damaged; names the line.
            OSError: the folder cannot be read.
        """
        path = self._place(name) / "history.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [_entry(path, number, line) for number, line in enumerate(lines, 1)]

    def names(self) -> list[str]:
        """Return the qualified names that have a history, sorted."""
        found = (path.parent for path in self._folder.glob("*/*/history.jsonl"))
        return sorted(f"{_name(place.parent.name)}/{_name(place.name)}" for place in found)

    def read(self, name: str, entry: Promotion) -> Artifact:
        """Return the artifact of an entry that has a fingerprint.

        Raises:
            ArtifactError: it cannot be used; says why.
        """
        return _read(self._place(name), entry)

    def promote(self, name: str, artifact: Artifact, note: str = "") -> Promotion:
        """Let ``artifact`` replace the signature of that name."""
        with self._locked(name) as place:
            artifact.write(place / f"{artifact.spec.fingerprint}.json")
            entry = Promotion("promote", time.time(), artifact.spec.fingerprint, artifact.spec.version, note)
            _append(place / "history.jsonl", entry)
        return entry

    def rollback(
        self, name: str, note: str = "", *, check: Callable[[Artifact], None], original: bool = False
    ) -> Promotion:
        """Undo the latest promotion that is in force.

        Args:
            name: qualified name of the signature.
            note: the reason; kept in the history.
            check: raises ``ArtifactError`` if its argument cannot be used; nothing is changed then.
            original: go back to the original signature, past all promotions.

        Returns:
            The new entry of the history.

        Raises:
            ArtifactError: no promotion is in force, or the signature before it cannot be used.
        """
        with self._locked(name) as place:
            in_force = _in_force(self.entries(name))
            if not in_force:
                raise ArtifactError(f"nothing was promoted for {name}, so there is nothing to roll back")
            previous = in_force[-2] if len(in_force) > 1 and not original else None
            if previous is not None:
                _check_usable(name, previous, place, check)
            entry = Promotion(
                "rollback",
                time.time(),
                previous.fingerprint if previous else None,
                previous.version if previous else "",
                note,
            )
            _append(place / "history.jsonl", entry)
        return entry

    def _place(self, name: str) -> Path:
        pack, _, short = name.partition("/")
        return self._folder / _part(pack) / _part(short)

    @contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        place = self._place(name)
        # Every listing of signatures reads histories, and few commands write one.
        from hokusai_core.plugin_api import file_lock, private_folder

        private_folder(place)
        with file_lock(place / "lock"):
            yield place


def _read(place: Path, entry: Promotion) -> Artifact:
    from hokusai_core.plugin_api import read_artifact  # not needed by listings, which mostly find no promotion

    return read_artifact(place / f"{entry.fingerprint}.json")


def _check_usable(name: str, entry: Promotion, place: Path, check: Callable[[Artifact], None]) -> None:
    """Raise if the artifact of an entry cannot be used."""
    try:
        check(_read(place, entry))
    except ArtifactError as error:
        raise ArtifactError(
            f"{name} was not rolled back, because version {entry.version}, the one before, cannot be used: {error}. "
            f"executor.rollback({name!r}, original=True), or hokusai rollback {name} --original, goes back to the "
            "signature as it was before all promotions"
        ) from error


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
    """Add an entry to a history; call it with the lock held."""
    earlier = path.read_bytes() if path.exists() else b""
    if earlier and not earlier.endswith(b"\n"):
        earlier += b"\n"
    from hokusai_core.plugin_api import atomic_write

    atomic_write(path, [earlier, json.dumps(asdict(entry), ensure_ascii=False).encode(), b"\n"])


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


def _name(part: str) -> str:
    """Return the name of which ``_part`` has made a part of a path."""
    try:
        name = bytes.fromhex(part[1:]).decode() if part.startswith("_") else part
    except ValueError:  # a plain name that starts with an underscore
        return part
    return name if _part(name) == part else part
