"""The conformance suites find the mistakes of plugin authors: faults are planted and counted, for each kind.

A fault is a component that is right except for one thing. The suite has to fail it, and to pass the one that is right.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.hookspecs import COMPONENT_HOOKS
from hokusai_core.testing.capabilities import settled
from tests.conformance.suite_runner import Failure, first_failure

ROOT = Path(__file__).parents[2]
#: Kinds of components, and engines, which language models are made of.
KINDS = [kind for kind in (*COMPONENT_HOOKS, "engine") if (Path(__file__).parent / f"{kind}_faults.py").exists()]
#: Share of the planted faults that a suite has to find.
GOAL = 0.95
#: Seconds that a suite waits at most for a component with a fault; one that is right gets the time that suites give.
PATIENCE = 0.3


#: Engines are asked over connections, which takes a while.
SLOW = {"engine": [pytest.mark.soak]}


@pytest.fixture(params=[pytest.param(kind, marks=SLOW.get(kind, ())) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def faults(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The module with the faults of a kind; what they write goes to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"tests.conformance.{kind}_faults")
    yield module
    getattr(module, "clean_up", lambda: None)()


@contextmanager
def short_waits() -> Iterator[None]:
    """Let suites wait briefly for what comes true late: with most faults it never does."""

    def settled_soon(condition: Callable[[], bool], patience: float = 2.0) -> bool:
        return settled(condition, min(patience, PATIENCE))

    with pytest.MonkeyPatch.context() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("hokusai_core.testing.") and getattr(module, "settled", None) is settled:
                patches.setattr(module, "settled", settled_soon)
        yield


def test_a_suite_finds_planted_faults(
    kind: str, faults: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def failure_of(component: Any) -> Failure | None:
        fixtures = {"planted": component, "capfd": capfd, "caplog": caplog}
        return first_failure(faults.Suite, fixtures, only=getattr(component, "tests", ()))

    good = failure_of(faults.GOOD)
    assert good is None, f"{good.test} fails a component that is right: {good.error!r}"
    with short_waits():
        found = {fault.__name__: failure_of(fault) for fault in faults.FAULTS}
    assert failure_of(faults.GOOD) is None, "faults spoil what comes after them"
    missed = [name for name, failure in found.items() if failure is None]
    assert len(found) >= 15
    assert len(found) - len(missed) >= GOAL * len(found), f"{kind}: not found are {', '.join(missed)}"
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{kind}` \|.*\| (\d+) of (\d+) \|$", page, re.MULTILINE)
    assert row is not None, f"docs/plugins.md does not say how many faults the suite of {kind} finds"
    assert (int(row[1]), int(row[2])) == (len(found) - len(missed), len(found)), f"{kind}: not found are {missed}"
