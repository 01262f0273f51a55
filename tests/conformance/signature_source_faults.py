"""Signature sources of authors in a hurry: each breaks the contract in one way."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import ConfigurationError
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.signature_sources import SignatureSourceConformance

ASK = SignatureSpec("Ask", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))


class Folder:
    """A source that is right: signatures as files. Addresses are ``folder:/NAME``, or ``folder://token@/NAME``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Ask").write_text(json.dumps(ASK.to_dict()))

    def name(self, uri: str) -> str:
        return uri.rpartition("/")[2]

    def refuse(self, uri: str) -> Any:
        raise ConfigurationError(f"there is no signature {self.name(uri)!r}") from None

    def __call__(self, uri: str) -> Any:
        path = self.folder / self.name(uri)
        return self.decode(path.read_text()) if path.is_file() else self.refuse(uri)

    def decode(self, text: str) -> Any:
        return json.loads(text)


class ReturnsAClass(Folder):
    def decode(self, text: str) -> Any:
        return BaseSignature.from_dict(super().decode(text))


class ReturnsText(Folder):
    def decode(self, text: str) -> Any:
        return text


class ReturnsASpec(Folder):
    def decode(self, text: str) -> Any:
        return SignatureSpec.from_dict(super().decode(text))


class HoldsObjects(Folder):
    def decode(self, text: str) -> Any:
        return {**super().decode(text), "version": object()}


class HasNoOutputs(Folder):
    def decode(self, text: str) -> Any:
        data = super().decode(text)
        return {**data, "fields": [one for one in data["fields"] if one.get("role", one.get("kind")) == "input"]}


class HasNoFields(Folder):
    def decode(self, text: str) -> Any:
        return {"name": "Ask", "instructions": "Answer."}


class ReturnsNone(Folder):
    def decode(self, text: str) -> Any:
        super().decode(text)


class Numbers(Folder):
    loaded = 0

    def decode(self, text: str) -> Any:
        self.loaded += 1
        return {**super().decode(text), "instructions": f"Answer. ({self.loaded})"}


class KeepsTheResult(Folder):
    kept: Any = None

    def decode(self, text: str) -> Any:
        self.kept = super().decode(text) if self.kept is None else self.kept
        return self.kept


class KeepsItsParts(KeepsTheResult):
    def decode(self, text: str) -> Any:
        return dict(super().decode(text))


class AnythingWillDo(Folder):
    def refuse(self, uri: str) -> Any:
        return ASK.to_dict()


class UnknownIsNone(Folder):
    def refuse(self, uri: str) -> Any:
        return None


class UnknownIsAKeyError(Folder):
    def refuse(self, uri: str) -> Any:
        raise KeyError(self.name(uri))


class UnknownHasNoName(Folder):
    def refuse(self, uri: str) -> Any:
        raise ConfigurationError("there is no such signature")


class ShowsTheToken(Folder):
    def refuse(self, uri: str) -> Any:
        raise ConfigurationError(f"there is nothing at {uri}")


class ShowsTheTokenInTheCause(Folder):
    def refuse(self, uri: str) -> Any:
        try:
            raise ConnectionError(f"404 for {uri}")
        except ConnectionError as error:
            raise ConfigurationError(f"there is no signature {self.name(uri)!r}") from error


class PrintsTheAddress(Folder):
    def name(self, uri: str) -> str:
        os.write(2, f"loading {uri}\n".encode())
        return super().name(uri)


class NeedsAPosition(Folder):
    def __call__(self, uri: str, /) -> Any:
        return super().__call__(uri)


class NeedsAnOption(Folder):
    def __call__(self, uri: str, *, token: str) -> Any:  # type: ignore[override]  # that is the fault
        return super().__call__(uri)


class Waits(Folder):
    async def __call__(self, uri: str) -> Any:
        return super().__call__(uri)


class NotForThreads(Folder):
    text = ""

    def decode(self, text: str) -> Any:
        assert not self.text, "one call at a time"
        self.text = text
        time.sleep(0.001)
        self.text = ""
        return super().decode(text)


class OnlyForItsProcess(Folder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def decode(self, text: str) -> Any:
        return super().decode(text) if os.getpid() == self.process else {}


class LeavesFilesOpen(Folder):
    def __call__(self, uri: str) -> Any:
        path = self.folder / self.name(uri)
        if path.is_file():
            OPENED.append(open(path))  # noqa: SIM115  # that is the fault
        return super().__call__(uri)


class LeavesThreads(Folder):
    def decode(self, text: str) -> Any:
        threading.Thread(target=END.wait, daemon=True).start()
        return super().decode(text)


OPENED: list[Any] = []
END = threading.Event()


class Suite(SignatureSourceConformance):
    uri: ClassVar[str] = "folder:/Ask"
    unknown_uri: ClassVar[str] = "folder:/Nothing"
    secret_uri: ClassVar[str] = "folder://hunter2@/Nothing"  # noqa: S105  # planted
    secret: ClassVar[str] = "hunter2"  # noqa: S105  # planted

    @pytest.fixture
    def load(self, planted: Any, tmp_path: Path) -> Callable[..., Any]:
        made: Callable[..., Any] = planted(tmp_path)
        return made


GOOD = Folder
FAULTS = [
    ReturnsAClass, ReturnsText, ReturnsASpec, HoldsObjects, HasNoOutputs, HasNoFields, ReturnsNone, Numbers,
    KeepsTheResult, KeepsItsParts, AnythingWillDo, UnknownIsNone, UnknownIsAKeyError, UnknownHasNoName, ShowsTheToken,
    ShowsTheTokenInTheCause, PrintsTheAddress, NeedsAPosition, NeedsAnOption, Waits, NotForThreads, OnlyForItsProcess,
    LeavesFilesOpen, LeavesThreads,
]  # fmt: skip


def clean_up() -> None:
    while OPENED:
        OPENED.pop().close()
    END.set()
