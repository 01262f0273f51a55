"""Caches of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from hokusai_core.cache_entry import CacheEntry
from hokusai_core.errors import CacheError
from hokusai_core.testing.caches import CacheConformance


class FolderCache:
    """A cache that is right: a file for each entry."""

    tier = "folder"
    fork_safe = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.secret = self.make_secret()

    def make_secret(self) -> bytes:
        path = self.folder / "secret"
        if not path.exists():
            path.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()

    def path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest() + ".entry")

    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return attrs.asdict(entry) | {"outputs": base64.b64encode(entry.outputs).decode()}

    def decode(self, fields: dict[str, Any]) -> CacheEntry:
        return CacheEntry(**fields | {"outputs": base64.b64decode(fields["outputs"])})

    def check(self) -> None:
        if not self.folder.is_dir():
            raise CacheError(f"{self.folder}: there is no such folder")

    def get(self, key: str) -> CacheEntry | None:
        self.check()
        try:
            return self.decode(json.loads(self.path(key).read_text()))
        except FileNotFoundError:
            return None

    def put(self, entry: CacheEntry) -> None:
        self.check()
        path = self.path(entry.key)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        temporary.write_text(json.dumps(self.encode(entry)))
        temporary.replace(path)

    async def aget(self, key: str) -> CacheEntry | None:
        return await asyncio.to_thread(self.get, key)

    async def aput(self, entry: CacheEntry) -> None:
        await asyncio.to_thread(self.put, entry)

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        for path in self.folder.glob("*.entry"):
            entry = self.decode(json.loads(path.read_text()))
            if self.matches(entry, signature):
                yield entry

    def matches(self, entry: CacheEntry, signature: str | None) -> bool:
        return signature is None or entry.signature == signature

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        before = None if older_than is None else time.time() - older_than
        doomed = [one for one in self.entries(signature) if before is None or one.created_at < before]
        for entry in doomed:
            self.path(entry.key).unlink()
        return len(doomed)

    def stats(self) -> Mapping[str, Any]:
        sizes = [path.stat().st_size for path in self.folder.glob("*.entry")]
        return {"entries": len(sizes), "bytes": sum(sizes), "location": str(self.folder)}

    def close(self) -> None:
        pass


class LosesTheTimeToLive(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(entry) | {"expires_at": None}


class ExtendsTheTimeToLive(FolderCache):
    def decode(self, fields: dict[str, Any]) -> CacheEntry:
        found = super().decode(fields)
        return found if found.expires_at is None else attrs.evolve(found, expires_at=time.time() + 60)


class TakesNoCostForZero(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(entry) | {"cost": entry.cost or 0.0}


class ForgetsTheParts(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(entry) | {"parts": {}}


class RoundsTimes(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(entry) | {"created_at": int(entry.created_at)}


class KeepsTheFirst(FolderCache):
    def put(self, entry: CacheEntry) -> None:
        if self.get(entry.key) is None:
            super().put(entry)


class IgnoresCase(FolderCache):
    def path(self, key: str) -> Path:
        return super().path(key.lower())


class CutsKeys(FolderCache):
    def path(self, key: str) -> Path:
        return super().path(key[:255])


class KeysArePaths(FolderCache):
    def path(self, key: str) -> Path:
        return self.folder / f"{key}.entry"


class CutsLargeAnswers(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(attrs.evolve(entry, outputs=entry.outputs[: 2**20]))


class RewritesOutputs(FolderCache):
    def encode(self, entry: CacheEntry) -> dict[str, Any]:
        return super().encode(attrs.evolve(entry, outputs=json.dumps(json.loads(entry.outputs)).encode()))


class OneTemporaryFile(FolderCache):
    """Two threads write to it at once."""

    def put(self, entry: CacheEntry) -> None:
        temporary = self.folder / "new"
        temporary.write_text(json.dumps(self.encode(entry)))
        time.sleep(0)
        temporary.replace(self.path(entry.key))


class OnlyForItsProcess(FolderCache):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def check(self) -> None:
        super().check()
        if os.getpid() != self.process:
            raise CacheError("this connection belongs to another process")


class WritesLater(FolderCache):
    """What a killed process has put is lost."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting: dict[str, CacheEntry] = {}

    def get(self, key: str) -> CacheEntry | None:
        return self.waiting.get(key) or super().get(key)

    def put(self, entry: CacheEntry) -> None:
        self.waiting[entry.key] = entry

    def close(self) -> None:
        while self.waiting:
            super().put(self.waiting.popitem()[1])


class BlockingGet(FolderCache):
    async def aget(self, key: str) -> CacheEntry | None:
        return self.get(key)


class BlockingPut(FolderCache):
    async def aput(self, entry: CacheEntry) -> None:
        self.put(entry)


class AsyncPutForgetsTheParts(FolderCache):
    async def aput(self, entry: CacheEntry) -> None:
        await asyncio.to_thread(self.put, attrs.evolve(entry, expires_at=None, cost=entry.cost or 0.0))


class BoundToOneLoop(FolderCache):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.turn: asyncio.Queue[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def aget(self, key: str) -> CacheEntry | None:
        self.loop = self.loop or asyncio.get_running_loop()
        return await self.loop.run_in_executor(None, self.get, key)


class CannotCloseTwice(FolderCache):
    def close(self) -> None:
        del self.secret


class NewSecretEachTime(FolderCache):
    def make_secret(self) -> bytes:
        return secrets.token_bytes(32)


class ShortSecret(FolderCache):
    def make_secret(self) -> bytes:
        return b"secret"


class ShowsItsSecret(FolderCache):
    def stats(self) -> Mapping[str, Any]:
        return {**super().stats(), "secret": self.secret.hex()}


class MissIsAnError(FolderCache):
    def get(self, key: str) -> CacheEntry | None:
        found = super().get(key)
        if found is None:
            raise KeyError(key)
        return found


class MatchesPrefixes(FolderCache):
    def matches(self, entry: CacheEntry, signature: str | None) -> bool:
        return signature is None or entry.signature.startswith(signature)


class RemovesAll(FolderCache):
    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        return super().remove(older_than=older_than)


class DoesNotCount(FolderCache):
    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        super().remove(signature=signature, older_than=older_than)
        return 0


class FiguresAreObjects(FolderCache):
    def stats(self) -> Mapping[str, Any]:
        return {**super().stats(), "location": self.folder}


class OutageIsAnotherError(FolderCache):
    def check(self) -> None:
        if not self.folder.is_dir():
            raise ConnectionError("connection refused")


class OutageIsAMiss(FolderCache):
    def get(self, key: str) -> CacheEntry | None:
        return super().get(key) if self.folder.is_dir() else None


class OutageLasts(FolderCache):
    """Once away, always away."""

    broken = False

    def check(self) -> None:
        self.broken = self.broken or not self.folder.is_dir()
        if self.broken:
            raise CacheError("the store was away")


class LeavesFilesOpen(FolderCache):
    kept: list[Any]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        OPENED.append(open(folder / "secret", "rb"))  # noqa: SIM115  # that is the fault


class LeavesThreads(FolderCache):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        threading.Thread(target=END.wait, daemon=True).start()


OPENED: list[Any] = []
END = threading.Event()


class Suite(CacheConformance):
    """The suite as an author would subclass it; the runner gives ``planted``."""

    @pytest.fixture
    def make_cache(self, planted: Any, tmp_path: Path) -> Callable[[], Any]:
        return lambda: planted(tmp_path / "store")

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], Any]:
        @contextmanager
        def away() -> Iterator[None]:
            (tmp_path / "store").rename(tmp_path / "elsewhere")
            yield
            (tmp_path / "elsewhere").rename(tmp_path / "store")

        return away


def clean_up() -> None:
    while OPENED:
        OPENED.pop().close()
    END.set()


GOOD = FolderCache
FAULTS = [
    LosesTheTimeToLive, ExtendsTheTimeToLive, TakesNoCostForZero, ForgetsTheParts, RoundsTimes, KeepsTheFirst,
    IgnoresCase, CutsKeys, KeysArePaths, CutsLargeAnswers, RewritesOutputs, OneTemporaryFile, OnlyForItsProcess,
    WritesLater, BlockingGet, BlockingPut, AsyncPutForgetsTheParts, BoundToOneLoop, CannotCloseTwice,
    NewSecretEachTime, ShortSecret, ShowsItsSecret, MissIsAnError, MatchesPrefixes, RemovesAll, DoesNotCount,
    FiguresAreObjects, OutageIsAnotherError, OutageIsAMiss, OutageLasts, LeavesFilesOpen, LeavesThreads,
]  # fmt: skip
