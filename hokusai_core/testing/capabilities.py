"""The base class of the conformance suites: what a component declares that it can do.

The vocabulary is the same for all kinds of components. A capability that a component lacks is declared in its test
class. Tests of that capability are then skipped, and the reason of the skip names it.

Example::

    class TestMyCache(CacheConformance):
        durable = False  # it lives in memory
"""

from __future__ import annotations

import inspect
import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final

import pytest

__all__ = ["CAPABILITIES", "Conformance", "error_in_fork", "refuse_coroutine", "settled"]

#: Capability -> what a component without it cannot do.
CAPABILITIES: Final = {
    "durable": "what it has stored does not outlive its object and its process",
    "fork_safe": "an object that was made before os.fork does not work in the child process",
    "asynchronous": "its asynchronous methods are not for event loops",
}

#: Seconds that a forked child may take on a busy machine before it counts as hung.
_PATIENCE: Final = 20.0


class Conformance:
    """What the suites of all kinds share.

    Attributes:
        durable: whether what it has stored outlives its object and its process.
        fork_safe: whether an object that was made before ``os.fork`` works in the child process. It must not contradict
            the attribute ``fork_safe`` of the component, where it has one.
        asynchronous: whether an event loop goes on while its asynchronous methods wait.
        calls_on_loop: blocking calls that it makes on event loops on purpose, because they never wait there; such as
            ``"Connection.execute"``.
    """

    durable: ClassVar[bool] = True
    fork_safe: ClassVar[bool] = True
    asynchronous: ClassVar[bool] = True
    calls_on_loop: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def outage(self) -> Callable[[], AbstractContextManager[object]]:
        """Return what makes a context manager: while it is entered, what the component stores in cannot be reached.

        Tests of outages are skipped where a plugin's test class leaves this fixture out.
        """
        pytest.skip("define the fixture outage, so that a store that cannot be reached is tested")

    def require(self, *capabilities: str) -> None:
        """Skip the test if the component lacks one of the capabilities; the reason says which."""
        for name in capabilities:
            if not getattr(self, name):
                pytest.skip(f"{type(self).__name__} declares {name} = False: {CAPABILITIES[name]}")

    def require_fork(self, component: object) -> None:
        """Skip the test if the component is not for forks; fail if it contradicts its test class."""
        stated = getattr(component, "fork_safe", None)
        if stated is not None and stated is not self.fork_safe:
            pytest.fail(f"the component has fork_safe = {stated}, and its test class {self.fork_safe}")
        self.require("fork_safe")


def error_in_fork(work: Callable[[], Any]) -> str | None:
    """Do work in a forked child process, and return what went wrong there; None if nothing did.

    The test is skipped where the system has no fork.
    """
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork on this system")
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn where there are other threads. Whether that goes well is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        said = b""
        try:
            work()
        except BaseException:
            said = traceback.format_exc().encode("utf-8", "replace")[-10_000:]
        finally:
            os.write(writing, said or b"ok")
            os._exit(0)
    os.close(writing)
    watch = threading.Timer(_PATIENCE, os.kill, (child, 9))
    watch.start()
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
    finally:
        os.waitpid(child, 0)
        watch.cancel()
    if not said:
        return "the child process hung or was killed"
    return None if said == b"ok" else said.decode("utf-8", "replace")


def refuse_coroutine(value: object) -> None:
    """Fail if a method that is not awaited is a coroutine function."""
    if inspect.iscoroutine(value):
        value.close()
        pytest.fail(f"{value.__qualname__} is a coroutine function, but its caller does not await it")


def settled(condition: Callable[[], bool], patience: float = 2.0) -> bool:
    """Return whether a condition comes true within some seconds."""
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
