"""Take pictures of the command in terminals of 80 and 40 columns for docs/images, from what it prints.

python tools/picture_terminal.py
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
COMMANDS = {
    "list": "hokusai list",
    "run": 'hokusai run signatures.py -i ticket="I was charged twice this month" --cache off',
    "evaluate": "hokusai evaluate signatures.py labelled.csv --metric accuracy --sample 12 --worst 1",
}
WIDTHS = (80, 40)
#: The frame of a picture. Rich's own names fonts of a service, which would need a network.
FRAME = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#292929"/>
<g transform="translate(9, 41)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def printed(command: str, width: int, folder: Path, environment: dict[str, str]) -> str:
    """Return what a command prints in a terminal, with its colours."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(shlex.split(command), cwd=folder, env=environment, stdout=inner, stderr=inner)
    os.close(inner)
    received = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        received += part
    os.close(terminal)
    process.wait()
    return received.decode()


def on_screen(text: str, width: int) -> Text:
    """Return what stays on the screen: no lines of progress, and long lines broken at the edge, as a terminal does."""
    text = re.sub(r"\x1b\[(\?25[lh]|2K|1A)", "\r", text.replace("\r\n", "\n"))
    lines = [Text.from_ansi(line) for line in text.split("\n") if "\r" not in line.rstrip("\r")]
    broken = [part for line in lines for part in line.divide(range(width, max(len(line), 1), width))]
    return Text("\n").join(broken)


def main() -> int:
    """Write every picture; return the exit code."""
    with tempfile.TemporaryDirectory() as home:
        # The note about the embedded model is said once to a user, and not in a picture.
        environment = {**os.environ, "HOME": home, "TERM": "xterm-256color", "HOKUSAI_LM": "local"}
        environment["HOKUSAI_LOCAL_CACHE"] = os.environ.get(
            "HOKUSAI_LOCAL_CACHE", str(Path.home() / ".cache/hokusai/local")
        )
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["hokusai", "init", "tickets"], cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL)
        for name, command in COMMANDS.items():
            for width in WIDTHS:
                console = Console(
                    record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
                )
                shown = printed(command, width, Path(home) / "tickets", environment)
                console.print(on_screen(f"$ {command}\n{shown}".strip(), width), end="")
                svg = console.export_svg(theme=DIMMED_MONOKAI, code_format=FRAME, unique_id="terminal")
                (IMAGES / f"terminal-{name}-{width}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
