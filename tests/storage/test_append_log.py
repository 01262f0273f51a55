"""The append log: whole lines or none, with real kills, a full disk, and several processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core.storage import AppendLog, LogLine, parse_line, read_log, scan_lines

WRITER = """
import sys
from hokusai_core.storage import AppendLog
path, name, count, size, shared = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "shared"
log = AppendLog(path, shared=shared)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    log.append(b"%s %d " % (name.encode(), number) + b"x" * size)
    print(number, flush=True)
"""


def start(path: Path, name: str, count: int, size: int, mode: str = "alone") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count), str(size), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def payloads(path: Path) -> list[bytes]:
    return [line.payload for line in read_log(path) if line.payload is not None]


def test_what_is_appended_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:
        log.append(b"one")
        log.append(b"two", b"")
        assert [line.payload for line in log.scan()] == [b"one", b"two", b""]
        log.append(b"three")  # reading moves no position that writing uses
        second = list(log.scan())[1]
        assert log.read_at(second.offset, second.length) == b"two"
        assert log.read_at(second.offset, second.length - 2) is None
    assert path.read_bytes().splitlines()[0] == b"%08x one" % zlib.crc32(b"one")
    with AppendLog(path) as log:
        log.append(b"four")
        assert log.dropped == 0
    assert payloads(path) == [b"one", b"two", b"", b"three", b"four"]


@given(st.lists(st.binary().map(lambda data: data.replace(b"\n", b"")), max_size=8))
def test_every_payload_comes_back(contents: list[bytes]) -> None:
    lines = [b"%08x %b\n" % (zlib.crc32(content), content) for content in contents]
    assert [line.payload for line in scan_lines(lines)] == contents


def test_a_payload_cannot_hold_a_line_feed(tmp_path: Path) -> None:
    with AppendLog(tmp_path / "a.log") as log:
        log.append(b"one")
        with pytest.raises(ValueError, match="line feed"):
            log.append(b"t\nwo")
    assert payloads(tmp_path / "a.log") == [b"one"]


def test_a_torn_last_line_is_dropped_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:
        log.append(b"one")
        log.append(b"two")
    torn = path.read_bytes()[:-3]
    path.write_bytes(torn)
    found = list(read_log(path))
    assert [line.payload for line in found] == [b"one", None]
    assert (found[1].torn, found[1].damaged) == (True, False)
    with AppendLog(path) as log:
        assert log.dropped == len(torn) - len(b"%08x one\n" % 0)
        log.append(b"three")
    assert payloads(path) == [b"one", b"three"]
    assert all(line.payload is not None for line in read_log(path))


def test_a_torn_line_longer_than_a_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:
        log.append(b"one")
    with path.open("ab") as file:
        file.write(b"x" * 300_000)
    with AppendLog(path) as log:
        assert log.dropped == 300_000
    assert payloads(path) == [b"one"]


def test_a_damaged_line_in_the_middle_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:
        for name in (b"one", b"two", b"three"):
            log.append(name)
    text = path.read_bytes()
    path.write_bytes(text.replace(b"two", b"twa"))
    lines = list(read_log(path))
    assert [line.payload for line in lines] == [b"one", None, b"three"]
    (damaged,) = [line for line in lines if line.damaged]
    assert (damaged.number, damaged.offset) == (2, text.index(b"\n") + 1)
    assert not damaged.torn


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_kill_costs_at_most_the_line_that_was_being_written(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.log"
    for round_number in range(5):
        with start(path, f"r{round_number}", 1_000_000, size) as process:
            go(process)
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(5 + 7 * round_number)]
            process.send_signal(signal.SIGKILL)
            told += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        with AppendLog(path) as log:  # the lock went with the process
            assert log.dropped <= size + 40
            lines = [line.payload for line in log.scan()]
        mine = [line for line in lines if line is not None and line.startswith(b"r%d " % round_number)]
        assert None not in lines
        assert len(mine) >= len(told)
        assert [int(line.split()[1]) for line in mine] == list(range(len(mine)))


def test_two_processes_append_to_one_log(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    processes = [start(path, name, 500, 3_000, "shared") for name in ("a", "b")]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    lines = list(read_log(path))
    assert len(lines) == 1000
    assert all(line.payload is not None for line in lines)
    for name in (b"a", b"b"):
        numbers = [int(line.payload.split()[1]) for line in lines if line.payload and line.payload.startswith(name)]
        assert numbers == list(range(500))


def test_a_shared_log_is_repaired_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path, shared=True) as mine, AppendLog(path, shared=True) as other:
        mine.append(b"one")
        with path.open("ab") as file:
            file.write(b"0000000 to")  # what a kill leaves of a third writer
        other.append(b"two")
        mine.append(b"three")
    assert payloads(path) == [b"one", b"two", b"three"]
    assert len(path.read_bytes().splitlines()) == 3


def test_one_log_belongs_to_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:
        with pytest.raises(BlockingIOError, match="in use"):
            AppendLog(path)
        log.append(b"one")
    process = start(path, "a", 1, 1)
    with pytest.raises(BlockingIOError):
        AppendLog(path)
    process.kill()
    process.communicate()
    AppendLog(path).close()


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with AppendLog(path) as log:

        def work(name: int) -> None:
            for number in range(200):
                log.append(json.dumps({"thread": name, "number": number}).encode())

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = [json.loads(content) for content in payloads(path)]
    assert len(seen) == 800
    assert {(item["thread"], item["number"]) for item in seen} == {(t, n) for t in range(4) for n in range(200)}


def test_a_full_disk_loses_the_line_and_nothing_else(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from hokusai_core.storage import AppendLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AppendLog(sys.argv[1])
log.append(b"one")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    log.append(b"x" * 200)
except OSError as error:
    print(type(error).__name__)
log.append(b"two")
"""
    path = tmp_path / "a.log"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "OSError\n"
    assert payloads(path) == [b"one", b"two"]
    assert path.read_bytes().count(b"\n") == 2
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


def test_a_log_in_a_forked_child_leaves_the_parent_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = AppendLog(path)
    log.append(b"parent")
    child = os.fork()
    if child == 0:
        log.after_fork()
        os._exit(0 if log.closed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.append(b"still the parent")
    with pytest.raises(BlockingIOError):
        AppendLog(path)
    log.close()
    assert payloads(path) == [b"parent", b"still the parent"]


def test_a_closed_log_refuses_and_a_deleted_one_is_noticed(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "a.log")
    log.rename(tmp_path / "b.log")
    assert not log.is_deleted()
    (tmp_path / "b.log").unlink()
    assert log.is_deleted()
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.append(b"one")


def test_lines_reach_the_disk_itself_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with AppendLog(tmp_path / "a.log", sync_every=5.0) as log:
        log.append(b"one")
        assert not synced
        clock[0] += 5
        log.append(b"two")
        log.append(b"three")
        assert len(synced) == 1


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="is a symbolic link"):
        AppendLog(tmp_path / "link")
    AppendLog(tmp_path / "link", follow_links=True).close()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        AppendLog(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        AppendLog(tmp_path)


# ------------------------------------------------------------------------------------------------- lines of Hokusai 0.1


def test_lines_of_the_journals_of_0_1_are_read(tmp_path: Path) -> None:
    body = b'{"key":"a","ok":true}\t{"answer":"tab\\tinside"}'
    whole = b"%b\t%08x\n" % (body, zlib.crc32(body))
    path = tmp_path / "old.log"
    path.write_bytes(whole + whole[:20] + b"\n" + whole.replace(b"answer", b"onswer") + whole)
    lines = list(read_log(path))
    assert [line.payload for line in lines] == [body, None, None, body]
    # 0.1 wrote a line feed after what a kill had cut off.
    assert [line.torn for line in lines] == [False, True, False, False]
    with AppendLog(path) as log:  # and goes on in the format of today
        log.append(b"new")
    assert payloads(path) == [body, body, b"new"]


def test_spools_and_studies_of_0_1_have_the_format_of_today() -> None:
    record = b'{"kind":"execution","text":"\xc3\xa9"}'
    assert parse_line(b"%08x %s\n" % (zlib.crc32(record), record)) == record


def test_a_line_is_what_it_says() -> None:
    assert LogLine(3, 10, 5, None, False).damaged
    assert not LogLine(3, 10, 5, b"x", False).damaged
    assert parse_line(b"") is None
    assert parse_line(b"\n") is None
    assert parse_line(b"00000000 \n") == b""
