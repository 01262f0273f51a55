"""One page while its blocks are run: an empty folder, an empty home, and a terminal for its commands."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from sybil import Example

from hokusai_local.weights import cache_folder
from tests.pages import console
from tests.warm_python import COMMAND, WarmPython

__all__ = ["Page"]

ROOT = Path(__file__).parents[2]
ANSWERS = Path(__file__).with_name("answers")
#: Where it is set, pages are written anew with what their commands print. The embedded model is asked again,
#: unless it is set to "recorded".
WRITE = "HOKUSAI_WRITE_OUTPUT"


def answers_of(page: str) -> Path:
    """Return the file with the answers of the embedded model that the commands of a page got.

    Args:
        page: path of the page in the repository.
    """
    return ANSWERS / f"{page.removesuffix('.md').replace('/', '-')}.jsonl"


class Page:
    """The blocks of a page are run in it, in order. A page in the root of the repository is read in a clone of it.

    It may also configure Hokusai's logger. Afterwards the logger is as it was, or pytest would keep a record of every
    execution of the tests that follow.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger("hokusai")
        self._level, self._handlers = self._logger.level, list(self._logger.handlers)
        self._before, self._home_before = os.getcwd(), os.environ.get("HOME")
        self._weights = cache_folder()
        self._folder = tempfile.TemporaryDirectory(prefix="hokusai-docs-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name).resolve()
        self.work = self.home / "work"
        self.work.mkdir()
        os.environ["HOME"] = str(self.home)
        os.chdir(self.work)
        self._terminal: console.PageTerminal | None = None
        self._written: list[tuple[int, int, str]] = []
        self._path: Path | None = None

    def leave(self) -> None:
        """Undo what the page has changed; write it anew where that is asked for."""
        if self._terminal is not None:
            self._terminal.close()
        os.chdir(self._before)
        if self._home_before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = self._home_before
        self._folder.cleanup()
        self._logger.setLevel(self._level)
        for handler in set(self._logger.handlers) - set(self._handlers):
            self._logger.removeHandler(handler)
        if self._path is not None and self._written:
            text = self._path.read_text(encoding="utf-8")
            self._path.write_text(console.with_blocks(text, self._written), encoding="utf-8")

    def run_console(self, example: Example, start_python: Callable[[], WarmPython]) -> str | None:
        """Run a console block; return what is wrong with it.

        Args:
            example: the block.
            start_python: starts what runs programs.
        """
        path = Path(example.path)
        if self._terminal is None:
            self._path = path
            self._terminal = self._open_terminal(path, start_python().address)
        commands = console.commands_of(example.parsed)
        printed: dict[int, list[str]] = {}
        wrong: list[str] = []  # the commands after one that fails are run: later blocks need what they make
        for number, command in enumerate(commands):
            if command.installs:
                continue
            printed[number], code = self._terminal.run(command.text)
            shown, now = ("\n".join(lines) for lines in (command.output, printed[number]))
            if code:
                wrong.append(f"{command.text!r} ended with exit code {code}:\n{now}")
            elif not self._writes and not console.matches(command.output, printed[number]):
                wrong.append(f"{command.text!r} printed:\n{now}\n\nThe page shows:\n{shown}")
        if self._writes:
            new = console.rewritten(commands, printed)
            if new != example.parsed:
                start = example.document.text.index(example.parsed, example.start)
                self._written.append((start, start + len(example.parsed), new))
        if not wrong:
            return None
        return "\n\n".join([*wrong, f"`make output ARGS={path.relative_to(ROOT)}` writes the page anew"])

    @property
    def _writes(self) -> bool:
        return bool(os.environ.get(WRITE))

    def _open_terminal(self, path: Path, address: str) -> console.PageTerminal:
        name = path.relative_to(ROOT).as_posix()
        if "/" not in name:  # the commands of such a page are for a clone
            (self.work / "examples").symlink_to(ROOT / "examples")
        answers = answers_of(name)
        replay = not self._writes or os.environ[WRITE] == "recorded"
        if not replay:
            answers.parent.mkdir(exist_ok=True)
            answers.unlink(missing_ok=True)
        options = f"{str(answers)!r}, replay={replay}, record={self._writes}"
        model = f"from tests.pages.recorded_model import install\ninstall({options})\n"
        programs = {"hokusai": model + COMMAND, "python": model + console.PYTHON}
        console.write_programs(self.home / "bin", address, programs)
        names = {str(self.home): "~", sys.prefix: ".venv", str(ROOT): "~/hokusai"}
        return console.PageTerminal(self.work, self._environment(), names)

    def _environment(self) -> Mapping[str, str]:
        kept = ("LITELLM_LOCAL_MODEL_COST_MAP", "MLFLOW_DISABLE_TELEMETRY", "LD_LIBRARY_PATH")
        return {name: os.environ[name] for name in kept if name in os.environ} | {
            "HOME": str(self.home),
            "HOKUSAI_LOCAL_CACHE": str(self._weights),
            "LANG": "C.UTF-8",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_COLOR": "1",
            "PATH": os.pathsep.join([str(self.home / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
            "TERM": "dumb",
            # What the page installs goes into a folder of its own, and nothing is fetched for it.
            "PIP_TARGET": str(self.home / "packages"),
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": os.pathsep.join(
                path for path in [str(ROOT), str(self.home / "packages")] if path not in sys.path
            ),
        }
