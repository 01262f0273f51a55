"""An attacker who can write to the store plants things: nothing is executed, served, or reached outside of it."""

from __future__ import annotations

import os
import pickle
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from hokusai_core.errors import CacheWarning, DamagedEntryError
from hokusai_core.testing.caches import make_entry
from hokusai_diskcache import DiskCache
from hokusai_diskcache.store import JsonDisk

KEY = make_entry().key


class Payload:
    """Creates a file when it is unpickled, as ``os.system`` would run a program."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with one good entry."""
    cache = DiskCache(tmp_path / "answers")
    cache.put(make_entry("good"))
    cache.close()
    return tmp_path / "answers"


@pytest.fixture
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "store" / "cache.db", isolation_level=None)
    yield connection
    connection.close()


def plant(database: sqlite3.Connection, **columns: Any) -> None:
    row = {"key": KEY, "raw": 1, "store_time": 1.0, "access_time": 1.0, "mode": 1, "tag": "pack/Greet", **columns}
    database.execute(
        f"INSERT INTO Cache ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )


def use_everything(folder: Path) -> dict[str, Any]:
    """Do everything that reads from the store, and return its figures."""
    cache = DiskCache(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        assert cache.get(KEY) is None
        assert [entry.key for entry in cache.entries()] == ["good"]
        assert [entry.key for entry in cache.entries("pack/Greet")] == ["good"]
        cache.put(make_entry(KEY))
        assert cache.get(KEY) == make_entry(KEY, created_at=cache.get(KEY).created_at)  # type: ignore[union-attr]
        assert cache.remove(older_than=3600) == 0
        assert cache.get("good") is not None
        figures = dict(cache.stats())
    cache.close()
    return figures


def test_the_payload_works_on_plain_diskcache(folder: Path, database: sqlite3.Connection, trace: Path) -> None:
    """Otherwise the tests below would show nothing."""
    plant(database, mode=4, value=pickle.dumps(Payload(trace)))
    with diskcache.Cache(str(folder / "store")) as plain:
        plain.get(KEY)
    assert trace.exists()


def test_a_pickled_value_is_dropped(folder: Path, database: sqlite3.Connection, trace: Path) -> None:
    plant(database, mode=4, value=pickle.dumps(Payload(trace)))
    assert use_everything(folder)["damaged_rows"] == 1
    assert not trace.exists()
    assert database.execute("SELECT count(*) FROM Cache WHERE mode = 4").fetchone() == (0,)


def test_a_pickled_value_in_a_file_is_dropped(folder: Path, database: sqlite3.Connection, trace: Path) -> None:
    (folder / "store" / "value.val").write_bytes(pickle.dumps(Payload(trace)))
    plant(database, mode=4, filename="value.val")
    assert use_everything(folder)["damaged_rows"] == 1
    assert not trace.exists()


@pytest.mark.parametrize("raw", [0, 1, None, "x"])
def test_a_pickled_key_is_dropped(folder: Path, database: sqlite3.Connection, trace: Path, raw: Any) -> None:
    plant(database, key=pickle.dumps(Payload(trace)), raw=raw, value=b"x")
    assert use_everything(folder)["damaged_rows"] == 1
    assert not trace.exists()


def test_a_pickled_tag_is_found(folder: Path, database: sqlite3.Connection, trace: Path) -> None:
    """It would hide the entry from a command that clears its signature."""
    database.execute("UPDATE Cache SET tag = ?", (pickle.dumps(Payload(trace)),))
    cache = DiskCache(folder)
    with pytest.warns(CacheWarning, match="dropped"):
        assert list(cache.entries()) == []
    assert cache.stats()["damaged_rows"] == 1
    assert not trace.exists()
    cache.close()


def test_pickles_among_the_settings_are_ignored(folder: Path, database: sqlite3.Connection, trace: Path) -> None:
    payload = pickle.dumps(Payload(trace))
    for name in ("disk_pickle_protocol", "eviction_policy", "sqlite_cache_size", "_disk", "disk_min_file_size"):
        database.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, payload))
    use_everything(folder)
    assert not trace.exists()


def test_settings_cannot_replace_parts_of_the_store(folder: Path, database: sqlite3.Connection, tmp_path: Path) -> None:
    """diskcache would set each of them as an attribute."""
    for name, value in (("_directory", str(tmp_path / "elsewhere")), ("get", 1), ("sqlite_journal_mode", "off")):
        database.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, value))
    assert use_everything(folder)["foreign_settings"] >= 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [1, 2, 3, 4, 99])
def test_a_file_name_leads_nowhere(folder: Path, database: sqlite3.Connection, tmp_path: Path, mode: int) -> None:
    """Neither to be read, nor to be removed together with its row."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    plant(database, mode=mode, filename="../../victim")
    plant(database, key="other", mode=mode, filename=str(victim))
    assert use_everything(folder)["damaged_rows"] == 2
    assert victim.read_text() == "precious"


def test_storing_over_a_planted_row_leaves_its_file_alone(
    folder: Path, database: sqlite3.Connection, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    plant(database, mode=2, filename="../../victim")
    cache = DiskCache(folder)
    cache.put(make_entry(KEY))
    assert cache.get(KEY) is not None
    cache.close()
    assert victim.exists()


@pytest.mark.parametrize(
    "value",
    ["text", 7, None, b"", b"{}", b'"' + b"0" * 32 + b'"\n[1]\n{}', b"\x80\x04."],
    ids=["text", "number", "null", "empty", "json", "forged", "pickle"],
)
def test_a_value_of_another_form_is_dropped(folder: Path, database: sqlite3.Connection, value: Any) -> None:
    plant(database, value=value)
    assert use_everything(folder)["damaged_rows"] == 1


def test_an_entry_under_another_key_is_dropped(folder: Path, database: sqlite3.Connection) -> None:
    """Else a true answer could be made the answer to another question."""
    ((value,),) = database.execute("SELECT value FROM Cache WHERE key = 'good'").fetchall()
    plant(database, value=value)
    assert use_everything(folder)["damaged_rows"] == 1


def test_a_flipped_bit_is_found(folder: Path, database: sqlite3.Connection) -> None:
    ((value,),) = database.execute("SELECT value FROM Cache WHERE key = 'good'").fetchall()
    for position in range(0, len(value), 7):
        spoiled = bytearray(value)
        spoiled[position] ^= 1
        database.execute("UPDATE Cache SET value = ? WHERE key = 'good'", (bytes(spoiled),))
        cache = DiskCache(folder)
        with pytest.warns(CacheWarning, match="dropped"):
            assert cache.get("good") is None
        cache.put(make_entry("good"))
        cache.close()


def test_one_warning_tells_of_damage(folder: Path, database: sqlite3.Connection) -> None:
    plant(database, mode=4, value=b"x")
    plant(database, key="other", mode=4, value=b"x")
    cache = DiskCache(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cache.get(KEY) is None
        assert cache.get("other") is None
    assert "never wrote" in str(caught[0].message)
    assert len(caught) == 1
    assert cache.stats()["damaged_rows"] == 2
    cache.close()


def test_the_disk_cannot_even_be_asked_to_pickle(tmp_path: Path) -> None:
    disk = JsonDisk(str(tmp_path), min_file_size=0, pickle_protocol=5, anything="else")
    for key in (("a", "tuple"), b"bytes", 1, 1.5, None):
        with pytest.raises(TypeError):
            disk.put(key)
    for value in ({"a": 1}, "text", 1, None):
        with pytest.raises(TypeError):
            disk.store(value, False)
    with pytest.raises(TypeError):
        disk.store(b"bytes", True)
    with pytest.raises(DamagedEntryError):
        disk.filename()
    with pytest.raises(DamagedEntryError):
        disk.hash("key")


def test_a_planted_trigger_cannot_leave_the_database(folder: Path, database: sqlite3.Connection) -> None:
    """A trigger may spoil what is stored; that shows as damage and harms nothing else."""
    database.execute(
        "CREATE TRIGGER planted AFTER INSERT ON Cache BEGIN UPDATE Cache SET value = x'00' WHERE key = NEW.key; END"
    )
    cache = DiskCache(folder)
    cache.put(make_entry(KEY))
    with pytest.warns(CacheWarning):
        assert cache.get(KEY) is None
    cache.close()
