"""Whatever happens to the store, executions are answered, and one warning says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import CacheError, CacheWarning
from hokusai_core.testing.caches import make_entry
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache


class Host:
    """An executor with a store, as a program would use it."""

    def __init__(self, folder: Path) -> None:
        self.cache = DiskCache(folder, busy_timeout=0.05)
        model = null_lm(answers={"answer": lambda prompt: prompt.split("Q")[1]})
        self.engine = model.engine
        self.executor = Executor(lm=model, plugins=[], cache=self.cache)
        self.executor.register_signature("Ask", "question -> answer")

    def ask(self, *numbers: int) -> list[str | None]:
        """Ask, check every answer, and return which tier each came from."""
        tiers = []
        for number in numbers:
            result = self.executor.execute_signature("Ask", {"question": f"Q{number}Q"})
            assert result["answer"] == str(number)
            tiers.append(result.cached)
        return tiers

    def failures(self) -> int:
        return int(self.executor.stats()["cache"]["persistent"]["failures"])

    def close(self) -> None:
        self.executor.close()


@contextmanager
def caught() -> Iterator[list[str]]:
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield messages
    messages += [str(warning.message) for warning in seen if issubclass(warning.category, CacheWarning)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store that holds the answers 0 to 4."""
    host = Host(tmp_path / "answers")
    host.ask(*range(5))
    host.close()
    return tmp_path / "answers"


def test_the_store_serves_a_new_process(folder: Path) -> None:
    host = Host(folder)
    assert host.ask(0, 1, 7, 0, 7) == ["disk", "disk", None, "memory", "memory"]
    assert host.engine.calls == 1
    host.close()


# -- damaged files -------------------------------------------------------------------------------------------------


def scramble(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def cut(path: Path) -> None:
    os.truncate(path, 5000)


def behead(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def spoil(path: Path) -> None:
    """Leave the header, and fill every page behind it with noise."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


def replace_by_another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE Cache (something INTEGER)")
    connection.execute("CREATE TABLE Settings (key TEXT, value)")
    connection.close()


def lose_figures(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE Settings SET value = 'many' WHERE key = 'size'")
    connection.close()


DAMAGES = [scramble, cut, behead, spoil, replace_by_another_database, lose_figures]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_database_is_moved_aside_and_rebuilt(folder: Path, damage: Any) -> None:
    for name in ("cache.db-wal", "cache.db-shm"):
        (folder / "store" / name).unlink(missing_ok=True)
    damage(folder / "store" / "cache.db")
    host = Host(folder)
    with caught() as messages:
        host.ask(0, 1, 9)
    assert len(messages) == 1
    assert "was damaged; it was moved aside to store-corrupt-" in messages[0]
    assert str(folder) in messages[0]
    assert len(list(folder.glob("store-corrupt-*/cache.db"))) == 1
    assert host.executor.stats()["cache"]["persistent"]["stores_moved_aside"] == 1
    host.close()
    again = Host(folder)
    assert again.ask(0, 1, 9) == ["disk"] * 3
    again.close()


@pytest.mark.parametrize("damage", [scramble, spoil], ids=lambda damage: damage.__name__)
def test_damage_that_appears_while_it_runs(folder: Path, damage: Any) -> None:
    other = DiskCache(folder)
    for number in range(300):  # more than SQLite keeps of a file that it has read
        other.put(make_entry(f"{number:064x}", outputs=b'"' + b"x" * 20_000 + b'"'))
    other.close()
    host = Host(folder)
    assert host.ask(0, 1) == ["disk", "disk"]
    with sqlite3.connect(folder / "store" / "cache.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(folder / "store" / "cache.db")
    with caught() as messages:
        host.ask(*range(60))
        host.ask(*range(60, 90))
        assert host.cache.get(f"{7:064x}") is None
    assert [message for message in messages if "moved aside" in message] == messages[-1:]
    host.close()
    again = Host(folder)
    assert again.ask(*range(80, 90)) == ["disk"] * 10
    again.close()


def test_two_processes_that_find_the_damage_rebuild_it_once(folder: Path) -> None:
    for name in ("cache.db-wal", "cache.db-shm"):
        (folder / "store" / name).unlink(missing_ok=True)
    first, second = DiskCache(folder), DiskCache(folder)
    assert first.get("00") is None
    assert second.get("00") is None
    first.stats()
    scramble(folder / "store" / "cache.db")
    with caught():
        first.put(make_entry("aa"))
        second.put(make_entry("bb"))
        assert first.get("bb") is not None
        assert second.get("aa") is not None
    assert len(list(folder.glob("store-corrupt-*"))) == 1
    first.close()
    second.close()


# -- folder --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["", "store"])
def test_a_folder_that_is_deleted_is_made_again(folder: Path, what: str) -> None:
    host = Host(folder)
    secret = host.cache.secret
    assert host.ask(0) == ["disk"]
    shutil.rmtree(folder / what)
    time.sleep(0.15)  # readers look now and then
    with caught() as messages:
        assert host.ask(0, 1, 5) == ["memory", None, None]
        shutil.rmtree(folder / what)
        time.sleep(0.15)
        assert host.ask(1, 5, 6) == ["memory", "memory", None]
        shutil.rmtree(folder / what)
        time.sleep(0.15)
        host.ask(7, 8)
    assert len(messages) == 1
    assert "was deleted while it was in use" in messages[0]
    assert "HOKUSAI_CACHE_DIR" in messages[0]
    assert host.cache.secret == secret
    host.close()
    again = Host(folder)
    assert again.ask(7, 8, 0) == ["disk", "disk", None]
    again.close()


def test_a_folder_that_others_can_write_costs_one_warning(folder: Path) -> None:
    folder.chmod(0o777)
    host = Host(folder)
    with caught() as messages:
        assert host.ask(0, 1, 2, 0) == [None, None, None, "memory"]
    assert len(messages) == 1
    assert "others can write to the folder" in messages[0]
    assert "chmod go-w" in messages[0]
    host.close()


# -- locks ---------------------------------------------------------------------------------------------------------

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked_by_another_process(folder: Path) -> Iterator[None]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder / "store" / "cache.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.communicate("end\n")


def test_a_database_that_is_locked_while_it_runs_still_serves(folder: Path) -> None:
    host = Host(folder)
    assert host.ask(0) == ["disk"]
    with caught() as messages, locked_by_another_process(folder):
        assert host.ask(1, 2, *range(10, 60), 3, 4) == ["disk", "disk", *[None] * 50, "disk", "disk"]
        # One write waited for the lock; the others found the store resting.
        assert host.failures() <= 3
    assert len(messages) == 1
    assert "is locked by another process" in messages[0]
    host.close()


def test_a_database_that_is_locked_from_the_start(folder: Path) -> None:
    with caught() as messages, locked_by_another_process(folder):
        host = Host(folder)
        assert host.ask(0, 1, 2, 0) == [None, None, None, "memory"]
        assert host.failures() <= 4
    assert len(messages) == 1
    assert "is locked by another process" in messages[0]
    assert host.cache.get("00") is None  # the lock is gone: it works again
    host.close()


@pytest.mark.parametrize("opened", [True, False], ids=["running", "from-the-start"])
def test_many_tasks_do_not_wait_for_a_lock_one_after_the_other(
    folder: Path, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(folder, busy_timeout=0.2)
    if opened:
        assert cache.get("00") is None
    tries: list[str] = []

    def counted(what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **named: (tries.append(what), work(*arguments, **named))[1]  # type: ignore[func-returns-value]

    monkeypatch.setattr(cache, "_write", counted("write", cache._write))
    monkeypatch.setattr(cache._access, "_open", counted("open", cache._access._open))

    async def put_all() -> list[Any]:
        puts = (cache.aput(make_entry(f"{number:064x}")) for number in range(100))
        return await asyncio.gather(*puts, return_exceptions=True)

    with locked_by_another_process(folder):
        failures = asyncio.run(put_all())
    assert {type(failure) for failure in failures} == {CacheError}
    assert {"locked by another process" in str(failure) for failure in failures} == {True}
    # One for each thread that was at it before the first failed.
    assert {"write"} == set(tries) if opened else {"open"} == set(tries)
    assert len(tries) <= 2
    cache.close()


def test_an_event_loop_goes_on_while_the_store_is_opened(folder: Path) -> None:
    cache = DiskCache(folder)
    cache.put(make_entry("aa"))
    cache.close()
    cache = DiskCache(folder)
    late = threading.Timer(20, cache._access.opening.release)  # else the test would hang where it should fail

    async def read() -> None:
        reading = [asyncio.ensure_future(cache.aget(key)) for key in ("aa", "bb")]
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not any(task.done() for task in reading)
        late.cancel()
        cache._access.opening.release()
        found = await asyncio.gather(*reading)
        assert [entry is not None for entry in found] == [True, False]

    cache._access.opening.acquire()
    late.start()
    asyncio.run(read())
    cache.close()


def test_a_lock_is_no_damage(folder: Path) -> None:
    cache = DiskCache(folder, busy_timeout=0)
    assert cache.get("00") is None
    with locked_by_another_process(folder), pytest.raises(CacheError, match="locked"):
        cache.put(make_entry())
    cache.put(make_entry())
    assert cache.get(make_entry().key) == make_entry(created_at=cache.get(make_entry().key).created_at)  # type: ignore[union-attr]
    assert list(folder.glob("store-corrupt-*")) == []
    cache.close()


# -- what needs a process of its own -------------------------------------------------------------------------------

PROGRAM = """
import json, resource, sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_degradation import Host, caught
folder, limit = Path(sys.argv[2]), int(sys.argv[3])
host = Host(folder)
if limit:
    host.ask(1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
with caught() as messages:
    tiers = host.ask(*range(int(sys.argv[4])))
print(json.dumps({"messages": messages, "tiers": tiers, "calls": host.engine.calls, "failures": host.failures()}))
host.close()
"""


def run_program(folder: Path, *, limit: int = 0, count: int = 10, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(folder), str(limit), str(count)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_folder_that_cannot_be_written_to(folder: Path) -> None:
    # Root may write anywhere, until the capability to do so is dropped.
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("root cannot give up its rights here: setpriv is missing")
    paths = [folder, folder / "store", *(folder / "store").iterdir(), folder / "secret", folder / "lock"]
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    found = run_program(folder, prefix=prefix)
    assert found["tiers"] == [None] * 10
    assert len(found["messages"]) == 1
    assert "cannot be written to" in found["messages"][0]
    assert "HOKUSAI_CACHE_DIR" in found["messages"][0]


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    host = Host(tmp_path / "file" / "answers")
    with caught() as messages:
        assert host.ask(0, 1, 0) == [None, None, "memory"]
    assert len(messages) == 1
    assert str(tmp_path) in messages[0]
    host.close()


def test_a_full_disk_still_serves_what_it_has(folder: Path) -> None:
    """The system refuses to let files grow beyond a limit, as it refuses on a full disk."""
    used = (folder / "store" / "cache.db").stat().st_size
    found = run_program(folder, limit=used, count=40)
    assert found["tiers"][:5] == ["disk"] * 5
    assert len(found["messages"]) == 1
    assert "cannot grow" in found["messages"][0]
    assert found["calls"] == 1 + 35
    again = Host(folder)
    assert again.ask(0, 1000, 4) == ["disk", "disk", "disk"]
    again.ask(50)
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", str(place)], check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"x" * 1024)
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017  # any number of writes succeeds before
    finally:
        os.close(handle)


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    host = Host(small_disk / "answers")
    with caught() as messages:
        first = host.ask(*range(5))
        ballast = small_disk / "ballast"
        fill(ballast)
        host.ask(*range(5, 60))
    assert first == [None] * 5
    assert len(messages) == 1
    assert "cannot grow" in messages[0]
    ballast.unlink()
    host.close()
    again = Host(small_disk / "answers")
    assert again.ask(0, 4) == ["disk", "disk"]
    again.close()


def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    fill(small_disk / "ballast")
    host = Host(small_disk / "answers")
    with caught() as messages:
        assert host.ask(*range(5), 0) == [*[None] * 5, "memory"]
    assert len(messages) == 1
    assert "cannot grow" in messages[0]
    host.close()
