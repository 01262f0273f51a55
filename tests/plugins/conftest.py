"""The zoo: broken plugins as installed distributions, put on sys.path one by one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.plugins import PluginManager, PluginWarning
from hokusai_core.plugins.discovery import discover

ZOO = Path(__file__).parent / "zoo"

Zoo = Callable[..., PluginManager]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that installs cases of the zoo; their modules are forgotten afterwards."""

    def put(*cases: str) -> None:
        for case in reversed(cases):
            monkeypatch.syspath_prepend(str(ZOO / case))

    yield put
    for name in [name for name in sys.modules if name.startswith("zoo_")]:
        del sys.modules[name]


@pytest.fixture
def zoo(install: Callable[..., None]) -> Iterator[Zoo]:
    """Return a function that makes a manager which sees the named cases and no other installed plugin."""
    managers = []
    others = [f"{found.record.distribution}:*" for found in discover().plugins]

    def make(*cases: str, **arguments: Any) -> PluginManager:
        install(*cases)
        arguments["disable"] = [*arguments.get("disable", ()), *others]
        managers.append(PluginManager(**arguments))
        return managers[-1]

    yield make
    for manager in managers:
        manager.close()


@pytest.fixture
def hushed() -> Iterator[None]:
    """Let plugin warnings pass; for tests that look at the records in place of the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        yield
