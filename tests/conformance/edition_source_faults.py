"""Edition sources of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import ArtifactError
from hokusai_core.signature_registry import Edition
from hokusai_core.signatures import SignatureSpec
from hokusai_core.testing.edition_sources import EditionSourceConformance


def place(folder: Path, name: str, namespace: str) -> Path:
    return folder / hashlib.sha256(f"{namespace}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()


def publish(folder: Path, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
    record = {"base": base.fingerprint, "spec": better.to_dict(), "at": time.time(), "name": name}
    temporary = folder / "new"
    temporary.write_text(json.dumps(record))
    temporary.replace(place(folder, name, namespace))


class Folder:
    """A source that is right: a file for each edition."""

    fork_safe = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Any:
        record = self.load(name, namespace)
        if record is None:
            return None
        if record["base"] != spec.fingerprint:
            return self.changed(name, record)
        return self.make(record)

    def load(self, name: str, namespace: str) -> Any:
        path = place(self.folder, name, namespace)
        return json.loads(path.read_text()) if path.exists() else None

    def changed(self, name: str, record: Any) -> Any:
        raise ArtifactError(f"{name} has changed since its edition was made")

    def make(self, record: Any) -> Any:
        return Edition(BaseSignature.from_dict(record["spec"]), record["at"])


class ForgetsTheNamespace(Folder):
    def load(self, name: str, namespace: str) -> Any:
        return super().load(name, "default")


class ForgetsThePack(Folder):
    def load(self, name: str, namespace: str) -> Any:
        return super().load(f"pack/{name.partition('/')[2]}", namespace)


class NamesMatchByTheirStart(Folder):
    def load(self, name: str, namespace: str) -> Any:
        return super().load(name.removesuffix("s"), namespace)


class ForAnyVersion(Folder):
    def changed(self, name: str, record: Any) -> Any:
        return self.make(record)


class ChangedIsAKeyError(Folder):
    def changed(self, name: str, record: Any) -> Any:
        raise KeyError(name)


class NothingIsAnError(Folder):
    def load(self, name: str, namespace: str) -> Any:
        found = super().load(name, namespace)
        if found is None:
            raise ArtifactError(f"there is no edition of {name}")
        return found


class NamespacesArePaths(Folder):
    def load(self, name: str, namespace: str) -> Any:
        (self.folder / namespace).stat()
        return super().load(name, namespace)


class ReturnsAClass(Folder):
    def make(self, record: Any) -> Any:
        return super().make(record).signature_class


class ReturnsASpec(Folder):
    def make(self, record: Any) -> Any:
        return Edition(SignatureSpec.from_dict(record["spec"]), record["at"])  # type: ignore[arg-type]  # that is the fault


class ReturnsTheBase(Folder):
    def make(self, record: Any) -> Any:
        base = {**record["spec"], "instructions": "Say it louder."}
        return Edition(BaseSignature.from_dict(base), record["at"])


class Milliseconds(Folder):
    def make(self, record: Any) -> Any:
        return Edition(BaseSignature.from_dict(record["spec"]), record["at"] * 1000)


class NoTime(Folder):
    def make(self, record: Any) -> Any:
        return Edition(BaseSignature.from_dict(record["spec"]), 0.0)


class TimeIsText(Folder):
    def make(self, record: Any) -> Any:
        return Edition(BaseSignature.from_dict(record["spec"]), str(record["at"]))  # type: ignore[arg-type]  # as above


class RemembersThatThereIsNone(Folder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.known: dict[Any, Any] = {}

    def load(self, name: str, namespace: str) -> Any:
        if (name, namespace) not in self.known:
            self.known[name, namespace] = super().load(name, namespace)
        return self.known[name, namespace]


class RemembersTheFirst(RemembersThatThereIsNone):
    def load(self, name: str, namespace: str) -> Any:
        found = super().load(name, namespace)
        if found is None:
            del self.known[name, namespace]
        return found


class ReadsOnceAtTheStart(Folder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.texts = {path.name: path.read_text() for path in folder.iterdir()}

    def load(self, name: str, namespace: str) -> Any:
        text = self.texts.get(place(self.folder, name, namespace).name)
        return None if text is None else json.loads(text)


class ChangesTheOriginal(Folder):
    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Any:
        found = super().edition(name, spec, namespace)
        if found is not None:
            object.__setattr__(spec, "instructions", found.signature_class.spec.instructions)
        return found


class Chatty(Folder):
    def make(self, record: Any) -> Any:
        os.write(1, b"found an edition\n")
        return super().make(record)


class NotForThreads(Folder):
    namespace = ""

    def load(self, name: str, namespace: str) -> Any:
        self.namespace = namespace
        time.sleep(0.0003)
        return super().load(name, self.namespace)


class OnlyForItsProcess(Folder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def load(self, name: str, namespace: str) -> Any:
        return super().load(name, namespace) if os.getpid() == self.process else None


class AsksAServerEachTime(Folder):
    def load(self, name: str, namespace: str) -> Any:
        time.sleep(0.021)
        return super().load(name, namespace)


class LeavesFilesOpen(Folder):
    def load(self, name: str, namespace: str) -> Any:
        OPENED.append(open(os.devnull))  # noqa: SIM115  # that is the fault
        return super().load(name, namespace)


class Waits(Folder):
    async def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Any:
        return super().edition(name, spec, namespace)


class HasNoMethod:
    fork_safe = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder


OPENED: list[Any] = []


class Suite(EditionSourceConformance):
    folder: Path

    @pytest.fixture
    def make_source(self, planted: Any, tmp_path: Path) -> Any:
        self.folder = tmp_path
        return lambda: planted(tmp_path)

    def put(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
        publish(self.folder, name, base, better, namespace)


GOOD = Folder
FAULTS = [
    ForgetsTheNamespace, ForgetsThePack, NamesMatchByTheirStart, ForAnyVersion, ChangedIsAKeyError, NothingIsAnError,
    NamespacesArePaths, ReturnsAClass, ReturnsASpec, ReturnsTheBase, Milliseconds, NoTime, TimeIsText,
    RemembersThatThereIsNone, RemembersTheFirst, ReadsOnceAtTheStart, ChangesTheOriginal, Chatty, NotForThreads,
    OnlyForItsProcess, AsksAServerEachTime, LeavesFilesOpen, Waits, HasNoMethod,
]  # fmt: skip


def clean_up() -> None:
    while OPENED:
        OPENED.pop().close()
