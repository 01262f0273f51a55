"""Files and folders for one user alone, whatever the umask; locks; whole writes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hokusai_core.errors import ConfigurationError
from hokusai_core.storage import (
    AppendLog,
    UnsafeFileError,
    atomic_write,
    describe_os_error,
    file_lock,
    is_locked,
    open_private_file,
    private_folder,
    user_data_folder,
)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=lambda umask: f"umask {umask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOKUSAI_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_everything_is_private_whatever_the_umask(home: Path) -> None:
    folder = private_folder(user_data_folder("feedback", "deep"))
    with AppendLog(folder / "a.log") as log, file_lock(folder / "lock"):
        log.append(b"one")
        atomic_write(folder / "whole.json", [b"{}"])
    found = {path: mode(path) for path in home.rglob("*")}
    assert len(found) > 6
    assert {path: 0o700 if path.is_dir() else 0o600 for path in found} == found


def test_folders_of_an_older_version_are_closed_to_others(home: Path) -> None:
    folder = user_data_folder("feedback")
    folder.mkdir(parents=True)
    for path in (folder.parent.parent, folder.parent, folder):
        path.chmod(0o755)
    (folder / "kept").touch()
    before = mode(home)
    private_folder(folder)
    assert mode(folder) == mode(folder.parent) == 0o700
    assert (mode(home), mode(folder.parent.parent)) == (before, 0o755)  # these are not Hokusai's


def test_a_chosen_folder_with_other_things_in_it_keeps_its_permissions(home: Path, tmp_path: Path) -> None:
    for name, expected in (("empty", 0o700), ("shared", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
        if name == "shared":
            (tmp_path / name / "theirs").touch()
        assert mode(private_folder(tmp_path / name)) == expected


def test_a_folder_that_others_can_write_to_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        private_folder(tmp_path / "open")
    parent = user_data_folder()
    private_folder(parent / "feedback")
    parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"folder {parent} .mode 0777"):
        private_folder(parent / "feedback")


def test_a_file_in_place_of_a_folder(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(NotADirectoryError):
            private_folder(path)


def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()
    path.chmod(0o644)
    AppendLog(path).close()
    assert mode(path) == 0o600


def test_a_file_that_others_may_have_prepared_is_refused_on_request(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(UnsafeFileError, match=r"can be written by others .mode 0666.; run chmod go-w"):
        open_private_file(path, check_owner=True)
    os.close(open_private_file(path))
    assert mode(path) == 0o600


# --------------------------------------------------------------------------------------------- the folder of the user


def test_the_folder_of_the_user_is_named_by_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standard = {"linux": home / ".local" / "share", "darwin": home / "Library" / "Application Support"}[sys.platform]
    assert user_data_folder("a", "b") == standard / "hokusai" / "a" / "b"
    monkeypatch.setenv("HOKUSAI_DATA_DIR", "~/mine")
    assert user_data_folder("a") == home / "mine" / "a"
    monkeypatch.setenv("HOKUSAI_SPOOL_DIR", "relative")
    assert user_data_folder("a", variable="HOKUSAI_SPOOL_DIR") == Path("relative").absolute()


def test_a_relative_home_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOKUSAI_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "somewhere")
    with pytest.raises(ConfigurationError, match="HOME is 'somewhere', which is not an absolute path"):
        user_data_folder("a")


def test_a_home_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOKUSAI_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ConfigurationError, match="set HOKUSAI_DATA_DIR"):
        user_data_folder("a")


# -------------------------------------------------------------------------------------------------------------- locks


def test_a_lock_keeps_others_out_until_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()
    code = (
        "import sys\nfrom hokusai_core.storage import file_lock\n"
        "with file_lock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(BlockingIOError, match="in use by another process"), file_lock(path, timeout=0.05):
            pass
        holder.kill()
        holder.wait()
    with file_lock(path, timeout=0):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with file_lock(tmp_path / "lock"):
            held.set()
            order.append("first")

    with file_lock(tmp_path / "lock"):
        thread = threading.Thread(target=hold)
        thread.start()
        order.append("holder")
        assert not held.wait(0.05)
    thread.join()
    assert order == ["holder", "first"]
    with file_lock(tmp_path / "lock", timeout=30):
        pass


# ------------------------------------------------------------------------------------------------------- whole writes


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write(path, [b"old"])

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        atomic_write(path, broken())
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_is_replaced_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    atomic_write(tmp_path / "link", [b"new"])
    assert (path.read_bytes(), mode(path)) == (b"new", 0o640)
    assert (tmp_path / "link").is_symlink()


def test_a_device_is_written_to() -> None:
    atomic_write(os.devnull, [b"nothing"])
    assert not Path(os.devnull).is_file()


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("n" * 250), [b"x"])
    assert len(list(tmp_path.iterdir())) == 1


# ------------------------------------------------------------------------------------------------------------- errors


def test_an_error_names_its_true_cause() -> None:
    assert "no file descriptors left (the limit is" in describe_os_error(
        OSError(errno.EMFILE, "Too many open files", "/x")
    )
    assert "/x" not in describe_os_error(OSError(errno.EMFILE, "Too many open files", "/x"))
    assert describe_os_error(OSError("odd")) == "odd"
    assert describe_os_error(OSError(errno.EIO, "Input/output error", b"/x")) == "/x: Input/output error"
