"""Python processes that start without imports: a process that has imported what most need forks for each of them.

A program that uses DSPy spends a second on imports. Each run here is a process of its own, too, which ends as any other
does: only its imports are shared. What is tested about imports, about the start and about signals needs a new Python.

As a program, this module is the process that forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# As the command sets it, before anything imports the library of remote models.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

#: Packages whose modules are imported beforehand, and single modules.
PACKAGES = ("hokusai", "hokusai.commands", "hokusai_core", "hokusai_core.dspy_bridge", "hokusai_evaluate")
MODULES = (
    "dspy", "pytest", "hokusai_diskcache", "hokusai_local", "hokusai_mlflow", "hokusai_openai", "hokusai_signatures",
)  # fmt: skip

#: What ``python -m hokusai`` and ``python -m pytest`` do.
COMMAND = "from hokusai.start import main; main()"
PYTEST = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"


class WarmPython:
    """Runs programs in processes that are forked.

    Args:
        address: of the socket of the process that forks. A request is three open files, then a line of JSON.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def run(
        self,
        code: str,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = 300.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, and return what it printed and its exit code, as ``subprocess.run`` does."""
        with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
            files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
            for file in files:
                file.write_bytes(stdin if file.name == "stdin" else b"")
            request = {
                "code": code,
                "arguments": arguments,
                "environment": dict(os.environ if env is None else env),
                "folder": os.fspath(cwd or os.getcwd()),
            }
            with ExitStack() as opened, socket.socket(socket.AF_UNIX) as connection:
                streams = [opened.enter_context(file.open("rb" if file.name == "stdin" else "ab")) for file in files]
                connection.settimeout(timeout)
                connection.connect(self.address)
                socket.send_fds(connection, [b"3"], [stream.fileno() for stream in streams])
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile() as lines:
                    status = int(lines.readline())
            output, errors = (file.read_bytes().decode() for file in files[1:])
        return subprocess.CompletedProcess([code, *arguments], status, output, errors)


@contextmanager
def warm_python() -> Iterator[WarmPython]:
    """Start the process that forks, and end it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOKUSAI_", "MLFLOW_"))}
    # Not pytest's folder: the path of a socket has an upper bound on its length.
    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        address = str(Path(folder) / "socket")
        with subprocess.Popen(
            [sys.executable, "-P", __file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | {"HOME": folder},
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield WarmPython(address)
            process.stdin.close()


def _import_everything() -> None:
    names = list(MODULES)
    for package in PACKAGES:
        found = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
        names += [module.name for module in found if not module.name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _serve(path: str) -> dict[str, Any]:
    """Answer on a socket until stdin is closed; return only in the processes of runs, with their requests."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)  # the process that started this one waits for it
        watched: list[Any] = [listener, 0]
        while listener in select.select(watched, [], [])[0]:
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                return _attend(connection)
            connection.close()
            while _ended_child():
                pass
    os._exit(0)


def _attend(connection: socket.socket) -> dict[str, Any]:
    """Fork the process of a run, and report its exit code; return in that process."""
    with connection:
        streams = socket.recv_fds(connection, 1, 3)[1]
        with connection.makefile() as lines:
            request: dict[str, Any] = json.loads(lines.readline())
        child = os.fork()
        if child:
            for stream in streams:
                os.close(stream)
            status = os.waitpid(child, 0)[1]
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
    return request | {"streams": streams}


def _ended_child() -> int:
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


def _become(request: Mapping[str, Any]) -> None:
    """Let this process look as if it had been started for the request."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]  # a text stream, as ever
    os.chdir(request["folder"])
    known = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    os.environ.clear()
    os.environ.update(request["environment"])
    asked = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:0] = [one for one in asked if one not in known]
    importlib.invalidate_caches()
    sys.argv[:] = ["-c", *request["arguments"]]


if __name__ == "__main__":
    _import_everything()
    _request = _serve(sys.argv[1])
    _become(_request)
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(_request["code"], "<string>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102  # tests' own code
