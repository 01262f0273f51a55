"""Runs what the repository shows: the code blocks of every page and the examples in every docstring."""

from __future__ import annotations

import doctest
import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

from tests.pages.page import Page
from tests.warm_python import WarmPython
from tests.warm_python import warm_python as started_python

# A shell that starts a job in the background lets it ignore Ctrl-C, and so would every process that the tests start
# and interrupt. A handler of our own is not inherited: what is started falls back to the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same code passes or fails the same way, on a slow machine as well. HYPOTHESIS_PROFILE=explore looks further.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", _PATIENT, derandomize=True, database=None, max_examples=60)
settings.register_profile("explore", _PATIENT, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


#: How many usual tests a test that is marked slow counts for, and a block of a page.
_SLOW, _BLOCK = 60, 5


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the files first that take longest. Begun last, one would keep a worker when the others are done."""
    if not hasattr(config, "workerinput"):
        return
    weights: Counter[str] = Counter()
    for item in items:
        usual = _BLOCK if item.location[0].endswith(".md") else 1
        weights[item.location[0]] += _SLOW if item.get_closest_marker("slow") else usual
    items.sort(key=lambda item: -weights[item.location[0]])


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of every search for garbage: it stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """What runs programs in processes of their own that need not import DSPy."""
    with started_python() as started:
        yield started


@pytest.fixture(scope="session")
def start_python(request: pytest.FixtureRequest) -> Callable[[], WarmPython]:
    """What starts the process of `warm_python` when it is first needed: few pages have commands."""
    return partial(request.getfixturevalue, "warm_python")


_PAGE = "this_page"


def _enter_page(namespace: dict[str, Any]) -> None:
    """Give each page an empty working folder: an example may write files, and none may lean on the repository's."""
    namespace[_PAGE] = Page()


def _leave_page(namespace: dict[str, Any]) -> None:
    namespace[_PAGE].leave()


def _run_console(example: Example) -> str | None:
    page: Page = example.namespace[_PAGE]
    return page.run_console(example, example.namespace["start_python"])


_pages = Sybil(
    name="page",
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", _run_console), SkipParser()],
    patterns=["*.md"],
    excludes=["CHANGELOG.md"],
    setup=_enter_page,
    teardown=_leave_page,
    fixtures=["start_python"],
)
_docstrings = Sybil(
    name="docstring",
    parsers=[DocTestParser(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)],
    patterns=["*.py"],
    excludes=["conftest.py", "test_*.py", "tests/*.py", "tests/*/*.py"],
    setup=_enter_page,
    teardown=_leave_page,
)

pytest_collect_file = (_pages + _docstrings).pytest()
