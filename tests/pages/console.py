"""The console blocks of a page: their commands are run in order, and what they print has to be what the page shows.

A block holds commands, each after a dollar sign, with what they print below them. A line of three dots stands for any
number of lines. Where HOKUSAI_WRITE_OUTPUT is set, the page is written anew with what its commands have printed.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

__all__ = ["Command", "PageTerminal", "commands_of", "matches", "rewritten", "shown"]

WIDTH = 80
#: Stands for any number of lines.
CUT = "..."
#: Commands that install something: they are run where a page is tried in an environment of its own.
INSTALLS = re.compile(r"(make|pip|uv|python -m (pip|venv)|\.|git clone|python3 (dev\.py|-m venv)|playwright) ")
_END = re.compile(rb"\x1e(\d+)\x1e\n?")
#: What reads commands, each ended by a zero byte, and says with which exit code each has ended.
_READER = r"""while IFS= read -r -d '' command <&9; do eval "$command"; printf '\036%d\036\n' "$?"; done"""

#: What differs from run to run, and what stands for it in a comparison.
_VOLATILE: Sequence[tuple[str, str]] = (
    (r"\b\d+[smhd] ago", "AGO"),
    (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", "DATE"),
    (r"\b\d{4}-\d\d-…", "DATE"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "CLOCK"),
    (r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "ID"),
    (r"(?<![\w.])(?=[0-9a-f]*\d)[0-9a-f]{7,64}(?![\w])(?!\.\d)", "ID"),
    (r"\b\d+\.\d+\.\d+[\w.+]*", "VERSION"),
    (r"\b\d[\d,]*(?:\.\d+)?(?= ?(?:s|ms|min|h|seconds|minutes|hours|B|KiB|MiB|GiB|KB|MB|GB|rows/s|/s)\b)", "N"),
    (r'"(latency|seconds|lag|elapsed)": ?[\d.e-]+', r'"\1": N'),
    (r"─+", "─"),
    (r"[ \t]+", " "),
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command of a block, and what the page says that it prints."""

    text: str
    output: tuple[str, ...] = ()

    @property
    def installs(self) -> bool:
        """Return whether it changes the environment."""
        return INSTALLS.match(f"{self.text} ") is not None


def commands_of(block: str) -> list[Command]:
    """Return the commands of a console block."""
    commands: list[Command] = []
    lines = block.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            if not commands:
                raise ValueError(f"{line!r} stands above the first command")
            last = commands.pop()
            commands.append(Command(last.text, (*last.output, line)))
            continue
        text = line.removeprefix("$ ")
        here = re.search(r"<<-?\s*['\"]?(\w+)", text)
        while lines and (text.endswith("\\") or (here and text.rpartition("\n")[2] != here[1])):
            text += "\n" + lines.pop(0)
        commands.append(Command(text))
    return commands


def stable(text: str) -> str:
    """Return a text without what differs from run to run.

    Example:
        >>> stable("1.2 s  local  3f2a9c81d4e0")
        'N s local ID'
    """
    for pattern, replacement in _VOLATILE:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def matches(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """Return whether a command has printed what a page shows."""
    parts: list[list[str]] = [[]]
    for line in expected:
        if line == CUT:
            parts.append([])
        elif line.strip():
            parts[-1].append(stable(line))
    lines = [stable(line) for line in printed if line.strip()]
    if len(parts) == 1:
        return parts[0] == lines
    first, *middle, last = parts
    if lines[: len(first)] != first or len(lines) < len(first) + len(last) or lines[len(lines) - len(last) :] != last:
        return False
    rest = lines[len(first) : len(lines) - len(last)]
    for part in middle:
        start = next((i for i in range(len(rest) - len(part) + 1) if rest[i : i + len(part)] == part), None)
        if start is None:
            return False
        rest = rest[start + len(part) :]
    return True


def shown(expected: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Return the lines for a page, cut where it was cut."""
    if CUT not in expected:
        return list(printed)
    before = list(expected).index(CUT)
    after = list(reversed(expected)).index(CUT)
    if len(printed) <= before + after:
        return list(printed)
    return [*printed[:before], CUT, *(printed[-after:] if after else [])]


def rewritten(commands: Sequence[Command], printed: Mapping[int, Sequence[str]]) -> str:
    """Return the text of a block with what its commands have printed.

    Args:
        commands: the commands.
        printed: the lines of each that was run, by its number.
    """
    lines: list[str] = []
    for number, command in enumerate(commands):
        lines.append(f"$ {command.text}")
        lines += shown(command.output, printed[number]) if number in printed else command.output
    return "\n".join(lines) + "\n"


class PageTerminal:
    """A shell in a terminal of 80 columns, for the commands of a page.

    Args:
        folder: where the commands begin.
        environment: variables of the shell.
        names: texts that are shown by another text, such as the path of a temporary folder.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._terminal, inner = pty.openpty()
        attributes = termios.tcgetattr(inner)
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(inner, termios.TCSANOW, attributes)
        ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        reading, self._asking = os.pipe()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", f"exec 9<&{reading}; {_READER}"],
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=inner,
            pass_fds=[reading],
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
        os.close(inner)
        os.close(reading)

    def run(self, command: str, timeout: float = 3_600.0) -> tuple[list[str], int]:
        """Run a command; return the lines that it has printed, and its exit code.

        Raises:
            TimeoutError: it takes too long.
        """
        os.write(self._asking, command.encode() + b"\0")
        received, until = b"", time.monotonic() + timeout
        while not (end := _END.search(received)):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._terminal], [], [], left)[0]:
                raise TimeoutError(f"{command!r} has not ended; so far: {received.decode(errors='replace')}")
            received += os.read(self._terminal, 65_536)
        text = received[: end.start()].decode(errors="replace")
        for old, new in self._names.items():
            text = text.replace(old, new)
        return plain_lines(text), int(end[1])

    def close(self) -> None:
        """End the shell."""
        os.close(self._asking)
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGHUP)  # what a command has left behind, too
        self._shell.wait()
        os.close(self._terminal)


def plain_lines(text: str) -> list[str]:
    r"""Return what a terminal shows, without colours, and without lines of progress that are drawn over.

    Example:
        >>> plain_lines("1 of 2\r2 of 2\n\x1b[1mdone\x1b[0m\n")
        ['done']
    """
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip() for line in text.split("\n") if "\r" not in line.rstrip("\r")]
    return "\n".join(lines).strip("\n").split("\n") if any(lines) else []


#: A program that hands itself, with its arguments, folder, variables and open files, to the process that forks.
_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
request = {{
    "code": {code!r},
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    socket.send_fds(connection, [b"3"], [0, 1, 2])
    connection.sendall(json.dumps(request).encode() + b"\\n")
    with connection.makefile() as lines:
        status = int(lines.readline())
sys.exit(status if status >= 0 else 128 - status)
"""

#: What `python FILE`, `python -m MODULE` and `python -c CODE` do.
PYTHON = """
import runpy, sys
sys.argv[:] = sys.argv[1:]
if sys.argv[0] == "-m":
    sys.path.insert(0, "")
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
elif sys.argv[0] == "-c":
    sys.path.insert(0, "")
    code = sys.argv.pop(1)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
else:
    import os
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def write_programs(folder: Path, address: str, programs: Mapping[str, str]) -> None:
    """Write programs that run in processes which need not import DSPy.

    Args:
        folder: where they are written.
        address: of the process that forks.
        programs: name -> what it runs.
    """
    folder.mkdir()
    for name, code in programs.items():
        path = folder / name
        path.write_text(_CLIENT.format(python=sys.executable, code=code, address=address), encoding="utf-8")
        path.chmod(0o700)


def with_blocks(text: str, blocks: Sequence[tuple[int, int, str]]) -> str:
    """Return a text with other text in some places, which are given by their beginning and end."""
    for start, end, new in sorted(blocks, reverse=True):
        text = text[:start] + new + text[end:]
    return text
