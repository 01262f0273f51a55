"""The file of a cassette, and the file beside it that takes recordings until they are merged.

A cassette is one JSON document in a stable order, so that a change of it can be reviewed line by line. While a process
records, each call is appended as a line to a hidden file beside it, under a lock. So a killed process loses nothing,
and several may record at once. Closing the cassette merges both.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from hokusai_core.errors import CassetteError
from hokusai_core.json_encoding import canonical_json
from hokusai_core.storage import atomic_write, describe_os_error, lock_descriptor, make_missing_folders

__all__ = ["CassetteFile", "Interaction", "grouped"]

#: Name and version of the format.
_FORMAT: Final = "hokusai_cassette"
_VERSION: Final = 1
#: Stands for a text of several lines: ``{"$lines": ["first", "second"]}``.
_LINES: Final = "$lines"
_ADVICE: Final = "restore it from version control, or delete it and record it again"


@frozen(eq=False)
class Interaction:
    """A recorded call.

    Args:
        signature: name of the signature, for people and for finding the nearest request.
        request: what was asked: ``model``, ``options`` and ``messages``, free of credentials and sensitive values.
        response: what was answered; None where the call failed.
        error: the error of the provider; None where there was an answer.
        turn: number of the call among those that asked the same, from 0.
    """

    signature: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    turn: int = 0
    key: bytes = field(init=False, repr=False)

    @key.default
    def _make_key(self) -> bytes:
        return canonical_json(self.request)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form."""
        outcome = ("response", self.response) if self.error is None else ("error", self.error)
        return {"signature": self.signature, "request": dict(self.request), outcome[0]: outcome[1]}


def grouped(interactions: Sequence[Interaction]) -> dict[bytes, list[Interaction]]:
    """Return interactions by what was asked, in their order."""
    groups: dict[bytes, list[Interaction]] = {}
    for one in interactions:
        groups.setdefault(one.key, []).append(one)
    return groups


class CassetteFile:
    """Reads and writes the two files of a cassette.

    Args:
        path: the cassette.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._part = self.path.with_name(f".{self.path.name}.part")

    @property
    def exists(self) -> bool:
        """Whether there is a cassette, and not only recordings that no process has merged."""
        return self.path.exists()

    def check_writable(self) -> None:
        """Make the folder, and check that files can be made in it, before a call is paid for.

        Raises:
            CassetteError: they cannot.
        """
        with self._locked():
            if not os.access(self.path.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "may not be written to", os.fspath(self.path.parent))

    def read(self) -> list[Interaction]:
        """Return the interactions of the cassette; empty where there is none.

        Raises:
            CassetteError: it cannot be read, is damaged, or was written by a newer version.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            told = describe_os_error(error) if isinstance(error, OSError) else f"it is not UTF-8: {error}"
            raise CassetteError(f"cassette {self.path} cannot be read: {told}") from None
        try:
            data = json.loads(text)
        except ValueError as error:
            raise CassetteError(f"cassette {self.path} is damaged ({error}); {_ADVICE}") from None
        version = data.get(_FORMAT) if isinstance(data, dict) else None
        if not isinstance(version, int) or isinstance(version, bool) or not isinstance(data.get("interactions"), list):
            raise CassetteError(f"{self.path} is no cassette, or a damaged one; {_ADVICE}")
        if version > _VERSION:
            raise CassetteError(
                f"cassette {self.path} has format {version}, and this version of Hokusai reads format {_VERSION}; "
                "upgrade hokusai-core, or record it again"
            )
        return [self._interaction(item, number) for number, item in enumerate(data["interactions"], 1)]

    def read_part(self) -> list[Interaction]:
        """Return recordings that are not merged, as of a process that was killed. A line cut off is left out."""
        try:
            lines = self._part.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CassetteError(f"{self._part} cannot be read: {describe_os_error(error)}") from None
        found: list[Interaction] = []
        for line in lines:
            try:
                found.append(self._interaction(json.loads(line), len(found) + 1))
            except (ValueError, CassetteError):  # it was being written when its process died
                continue
        return found

    def append(self, interaction: Interaction) -> None:
        """Keep a recording, which is safe when this returns.

        Raises:
            CassetteError: it cannot be written.
        """
        line = json.dumps({**interaction.to_dict(), "turn": interaction.turn}, ensure_ascii=False) + "\n"
        with self._locked():
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                data = line.encode("utf-8", "backslashreplace")
                if os.fstat(descriptor).st_size and not self._ends_whole():
                    data = b"\n" + data  # after a line that a killed process has left half written
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)

    def merge(self, combine: Callable[[list[Interaction], list[Interaction]], list[Interaction]]) -> None:
        """Write the cassette anew.

        Args:
            combine: returns its interactions; takes those of the file as it is now, and those that are not merged.

        Raises:
            CassetteError: it cannot be read or written.
        """
        with self._locked():
            merged = combine(self.read(), self.read_part())
            merged = sorted(merged, key=_place)  # keeps the order of equal requests
            document = {_FORMAT: _VERSION, "interactions": [_folded(one.to_dict()) for one in merged]}
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            atomic_write(self.path, [text.encode("utf-8", "backslashreplace")])
            self._part.unlink(missing_ok=True)

    def _ends_whole(self) -> bool:
        with self._part.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the folder, so that no file for a lock lies beside cassettes."""
        try:
            make_missing_folders(self.path.parent)
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                lock_descriptor(descriptor, None)
                yield
            finally:
                os.close(descriptor)  # unlocks
        except OSError as error:
            raise CassetteError(f"cassette {self.path} cannot be written: {describe_os_error(error)}") from None

    def _interaction(self, data: Any, number: int) -> Interaction:
        data = _unfolded(data)
        request: Any = data.get("request") if isinstance(data, dict) else None
        whole = (
            isinstance(request, dict)
            and isinstance(request.get("model"), str)
            and isinstance(request.get("options"), dict)
            and isinstance(request.get("messages"), list)
            and all(isinstance(message, dict) for message in request["messages"])
            and sum(isinstance(data.get(name), dict) for name in ("response", "error")) == 1
        )
        if not whole:
            raise CassetteError(f"cassette {self.path}: interaction {number} is damaged; {_ADVICE}")
        turn = data.get("turn", 0)
        return Interaction(
            str(data.get("signature", "")),
            request,
            data.get("response"),
            data.get("error"),
            turn if isinstance(turn, int) else 0,
        )


def _place(interaction: Interaction) -> tuple[str, str, bytes]:
    return interaction.signature, str(interaction.request["model"]), interaction.key


def _folded(value: Any) -> Any:
    """Return ``value`` with texts of several lines as lists of lines."""
    if isinstance(value, str):
        return {_LINES: value.split("\n")} if "\n" in value else value
    if isinstance(value, Mapping):
        return {key: _folded(item) for key, item in value.items()}
    return [_folded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _unfolded(value: Any) -> Any:
    if isinstance(value, dict):
        lines = value.get(_LINES)
        if len(value) == 1 and isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            return "\n".join(lines)
        return {key: _unfolded(item) for key, item in value.items()}
    return [_unfolded(item) for item in value] if isinstance(value, list) else value
