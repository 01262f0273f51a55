"""The pytest plugin ``hokusai``: an isolated executor, a language model that costs nothing, and cassettes.

pytest imports this module at every start in an environment that has Hokusai, so it imports pytest alone. What a fixture
needs is imported when a test uses it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from hokusai_core.cassettes import Cassette
    from hokusai_core.executor import Executor

__all__ = ["NetworkBlocked"]

_LOOPBACK: Final = ("localhost", "ip6-localhost", "::1", "0.0.0.0", "::", "")  # noqa: S104  # compared with, not bound


class NetworkBlocked(RuntimeError):
    """A test that uses the fixture ``executor`` or ``make_executor`` has opened a connection to another machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--hokusai-record-mode``."""
    parser.getgroup("hokusai").addoption(
        "--hokusai-record-mode",
        metavar="MODE",
        help="What cassettes of language models do: once, new_episodes, none or all. It goes before markers.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        "cassette(path=None, *, record_mode='once', allow_playback_repeats=False): record the calls of language "
        "models of this test once, and replay them afterwards",
    )
    config.addinivalue_line("markers", "allow_network: isolated executors of this test may reach other machines")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give tests with the marker ``cassette`` the fixture of that name."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "cassette" not in names and item.get_closest_marker("cassette") is not None:
        names.append("cassette")


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Record the calls of language models that executors make in the test, and replay them in later runs.

    Without a path in ``@pytest.mark.cassette("path.json")`` the file is ``cassettes/MODULE/TEST.json`` beside the
    module of the test. The option ``--hokusai-record-mode`` goes before the mode of the marker, which is ``once``.
    """
    from hokusai_core.cassettes import cassette

    marker = request.node.get_closest_marker("cassette")
    path, options = _cassette_of(request, *(marker.args if marker else ()), **(marker.kwargs if marker else {}))
    with cassette(path, **options) as tape:
        yield tape


def _cassette_of(request: pytest.FixtureRequest, path: Any = None, **options: Any) -> tuple[Path, dict[str, Any]]:
    """Return path and options of the cassette of a test."""
    module = request.path
    if path is None:
        inside = [one.name for one in request.node.listchain() if isinstance(one, pytest.Class)]
        name = re.sub(r"[^\w.\[\]-]+", "_", ".".join([*inside, request.node.name]))[:200]
        path = Path("cassettes", module.stem, f"{name}.json")
    mode = request.config.getoption("--hokusai-record-mode")
    return module.parent / path, {**options, **({"record_mode": mode} if mode else {})}


@pytest.fixture
def null_lm() -> Callable[..., Any]:
    """Return a function that makes language models which answer any signature with values of the right types.

    They cost nothing and need no network. ``null_lm(answers={"team": "billing"})`` gives one output a value, and
    ``null_lm().engine.calls`` counts; all options are in the documentation of ``hokusai_core.testing.lm.null_lm``.
    """
    from hokusai_core.testing import lm

    return lm.null_lm


@pytest.fixture
def make_executor(
    request: pytest.FixtureRequest,
    null_lm: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Executor]]:
    """Return a function that makes isolated executors, which are closed after the test.

    It takes the options of ``Executor``. Left out, ``lm`` is a null language model. No variable ``HOKUSAI_...`` and no
    project file is read. Promotions, feedback, caches and records of plugins are in folders of the test. Connections to
    other machines raise ``NetworkBlocked``, unless the test is marked with ``@pytest.mark.allow_network``, or has a
    cassette that may record.
    """
    from hokusai_core.executor import Executor

    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("hokusai")
    for name in ("HOKUSAI_DATA_DIR", "HOKUSAI_CACHE_DIR"):
        monkeypatch.setenv(name, str(folder / name.split("_")[1].lower()))
    tape = request.getfixturevalue("cassette") if "cassette" in request.fixturenames else None
    if request.node.get_closest_marker("allow_network") is None and not (tape is not None and tape.records):
        _block_network(monkeypatch)
    made: list[Executor] = []

    def make(**options: Any) -> Executor:
        made.append(Executor(**{"lm": null_lm(), "environ": {}, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def executor(make_executor: Callable[..., Executor]) -> Executor:
    """Return an isolated executor with a null language model and every installed plugin; see ``make_executor``."""
    return make_executor()


def _block_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections to other machines raise ``NetworkBlocked``."""
    connect, connect_ex, find = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        if name not in _LOOPBACK and not name.startswith("127."):
            raise NetworkBlocked(
                f"a test with an isolated executor connects to {name!r}: answer with null_lm(), record the calls with "
                "@pytest.mark.cassette, or mark the test with @pytest.mark.allow_network"
            )

    def checked(method: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return method(self, address)

        return call

    def checked_find(host: Any, *arguments: Any, **options: Any) -> Any:
        check(host)  # asking for a name is a connection, too
        return find(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", checked(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", checked(connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", checked_find)
