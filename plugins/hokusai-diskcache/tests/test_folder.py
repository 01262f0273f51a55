"""Who may use the folder, what is in it, and the secret."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hokusai_core.errors import CacheError, CacheWarning, ConfigurationError
from hokusai_core.testing.caches import make_entry
from hokusai_diskcache import DiskCache
from hokusai_diskcache.folder import Folder, default_directory
from hokusai_diskcache.mounts import network_file_system


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_nothing_is_touched_before_the_first_use(tmp_path: Path) -> None:
    DiskCache(tmp_path / "answers").close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_user_can_read_what_is_stored(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        cache = DiskCache(tmp_path / "deep" / "answers")
        cache.put(make_entry())
    finally:
        os.umask(old)
    folder = cache.directory
    assert mode(folder.parent) == mode(folder) == 0o700
    assert mode(folder / "store") == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"secret", "lock", "cache.db", "cache.db-wal"}
    assert {path.name: mode(path) for path in files} == {path.name: 0o600 for path in files}
    cache.close()


@pytest.mark.parametrize("bits", [0o020, 0o002, 0o022])
@pytest.mark.parametrize("place", ["", "store", "secret", "store/cache.db"])
def test_what_others_can_write_is_refused(tmp_path: Path, place: str, bits: int) -> None:
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry())
    first.close()
    target = tmp_path / "answers" / place
    target.chmod(mode(target) | bits)
    cache = DiskCache(tmp_path / "answers")
    with pytest.raises(CacheError, match=r"(others can write|be written by others) .* chmod go-w"):
        cache.get("00")
    with pytest.raises(CacheError, match="chmod go-w"):
        cache.put(make_entry())
    cache.close()


def test_what_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry())
    for path in (tmp_path / "answers").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    second = DiskCache(tmp_path / "answers")
    assert second.get(make_entry().key) is not None
    assert {path.name: mode(path) for path in (tmp_path / "answers").rglob("*") if mode(path) & 0o077} == {}
    first.close()
    second.close()


def test_an_empty_folder_becomes_private_and_one_with_other_things_stays(tmp_path: Path) -> None:
    for name in ("empty", "shared"):
        (tmp_path / name).mkdir(mode=0o755)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "shared" / "page.html").touch()
    for name, expected in (("empty", 0o700), ("shared", 0o755)):
        cache = DiskCache(tmp_path / name)
        cache.put(make_entry())
        assert mode(tmp_path / name) == expected
        assert mode(tmp_path / name / "store") == 0o700
        cache.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("place", ["", "store", "secret", "store/cache.db"])
def test_what_another_user_owns_is_refused(tmp_path: Path, place: str) -> None:
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry())
    first.close()
    os.chown(tmp_path / "answers" / place, 12345, 12345)
    cache = DiskCache(tmp_path / "answers")
    with pytest.raises(CacheError, match=r"belongs to another user \(uid 12345\)"):
        cache.get("00")
    cache.close()


@pytest.mark.parametrize("place", ["store", "secret", "lock", "store/cache.db", "store/cache.db-wal"])
def test_links_in_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry())
    first.close()
    target = tmp_path / "answers" / place
    if target.exists():
        target.rename(tmp_path / "moved")
    else:
        (tmp_path / "moved").touch()
    target.symlink_to(tmp_path / "moved")
    cache = DiskCache(tmp_path / "answers")
    with pytest.raises(CacheError, match="symbolic link"):
        cache.put(make_entry())
    cache.close()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("place", ["secret", "lock", "store/cache.db", "store/cache.db-wal"])
def test_what_is_not_a_regular_file_is_refused(tmp_path: Path, place: str, make: Callable[[Path], None]) -> None:
    """A pipe would be waited for."""
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry())
    first.close()
    target = tmp_path / "answers" / place
    target.unlink(missing_ok=True)
    make(target)
    target.chmod(0o600)
    cache = DiskCache(tmp_path / "answers")
    with pytest.raises(CacheError, match=f"{place} is not a regular file; remove it"):
        cache.put(make_entry())
    cache.close()


def test_something_else_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "astray").symlink_to(tmp_path / "nowhere")
    for place in ("file", "file/below", "astray"):
        cache = DiskCache(tmp_path / place)
        with pytest.raises(CacheError, match="something that is not a folder is there"):
            cache.get("00")
        cache.close()


def test_the_log_of_a_deleted_database_goes(tmp_path: Path) -> None:
    """SQLite would take it for that of the new one, and fail for as long as anybody uses it."""
    first = DiskCache(tmp_path / "answers")
    first.put(make_entry("aa"))
    store = tmp_path / "answers" / "store"
    (store / "cache.db").unlink()
    (store / "cache.db-wal").write_bytes(b"rotten" * 100)
    second = DiskCache(tmp_path / "answers")
    assert second.get("aa") is None
    second.put(make_entry("bb"))
    first.put(make_entry("cc"))
    assert first.get("bb") is not None
    assert second.get("cc") is not None
    first.close()
    second.close()


def test_a_secret_that_another_process_made_anew_is_taken_over(tmp_path: Path) -> None:
    first = DiskCache(tmp_path / "a")
    first.put(make_entry("aa"))
    (tmp_path / "a" / "secret").unlink()
    second = DiskCache(tmp_path / "a")
    second.put(make_entry("bb"))
    assert first.get("bb") is not None
    assert first.secret == second.secret
    first.put(make_entry("cc"))
    assert second.get("cc") is not None
    assert first.stats()["damaged_rows"] == second.stats()["damaged_rows"] == 0
    with pytest.warns(CacheWarning, match="dropped"):
        assert second.get("aa") is None
    first.close()
    second.close()


def test_the_secret_is_random_and_stays(tmp_path: Path) -> None:
    first, second, other = DiskCache(tmp_path / "a"), DiskCache(tmp_path / "a"), DiskCache(tmp_path / "b")
    assert len(first.secret) == 32
    assert first.secret == second.secret == (tmp_path / "a" / "secret").read_bytes()
    assert other.secret != first.secret


def test_a_secret_that_was_cut_off_is_replaced(tmp_path: Path) -> None:
    first = DiskCache(tmp_path / "a")
    first.put(make_entry())
    first.close()
    (tmp_path / "a" / "secret").write_bytes(b"short")
    cache = DiskCache(tmp_path / "a")
    assert len(cache.secret) == 32
    with pytest.warns(CacheWarning):
        assert cache.get(make_entry().key) is None  # it can no longer be verified
    cache.put(make_entry())
    assert cache.get(make_entry().key) is not None


def test_racing_processes_agree_on_the_secret(tmp_path: Path) -> None:
    program = (
        "import sys; from hokusai_diskcache import DiskCache; "
        "sys.stdin.readline(); print(DiskCache(sys.argv[1], busy_timeout=20).secret.hex())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "a")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    secrets = {process.communicate("go\n")[0].strip() for process in processes}
    assert secrets == {(tmp_path / "a" / "secret").read_bytes().hex()}


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "chosen"))
    assert default_directory() == tmp_path / "chosen"
    assert DiskCache().directory == tmp_path / "chosen"
    monkeypatch.delenv("HOKUSAI_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in default_directory().parents


@pytest.mark.parametrize(
    "options",
    [
        {"directory": ""},
        {"directory": "a\0b"},
        {"size_limit": 5},
        {"eviction_policy": "random"},
        {"busy_timeout": -1},
        {"busy_timeout": 600},
    ],
    ids=str,
)
def test_options_are_checked(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DiskCache(**{"directory": tmp_path, **options})  # type: ignore[arg-type]


def test_keeps_to_the_size_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "a", size_limit=2**20)
    for number in range(300):
        cache.put(make_entry(f"{number:064x}", outputs=b'"' + b"x" * 20_000 + b'"'))
    figures = cache.stats()
    assert figures["bytes"] < 2 * 2**20
    assert 10 < figures["entries"] < 100
    assert cache.get(f"{299:064x}") is not None
    assert cache.get(f"{0:064x}") is None
    cache.close()


def test_expired_entries_are_purged_as_others_come(tmp_path: Path) -> None:
    import time

    cache = DiskCache(tmp_path / "a")
    for number in range(20):
        cache.put(make_entry(f"{number:064x}", expires_at=time.time() + 0.2))
    time.sleep(0.3)
    for number in range(20, 24):
        cache.put(make_entry(f"{number:064x}"))
    assert cache.stats()["entries"] == 4
    cache.close()


def test_at_most_three_damaged_stores_are_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    folder.prepare()
    for _ in range(5):
        folder.prepare_store()
        folder.move_store_aside()
    assert len(folder.set_aside()) == 3


def test_network_file_systems_are_recognized(tmp_path: Path) -> None:
    table = f"/dev/vda / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n"
    assert network_file_system(tmp_path, table) == "nfs4"
    assert network_file_system(tmp_path.parent, table) is None
    assert network_file_system(tmp_path, f"{table}tmpfs {tmp_path} tmpfs rw 0 0\n") is None
    assert network_file_system(tmp_path, "nonsense") is None
    assert network_file_system(tmp_path) is None
