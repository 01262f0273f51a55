"""``--strategy`` and ``--set`` of the commands that run signatures, and what ``hokusai show`` says of a strategy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ASK = ("run", "ResolveQuery", "-i", "query=?", "--json")

PACK = '''
from hokusai_core import BaseSignature, FunctionTool, InputField, OutputField, hookimpl
from hokusai_core.plugin_api import Component


class Research(BaseSignature):
    """Answer the question."""

    question: str = InputField()
    answer: str = OutputField()
    strategy = {"name": "react", "tools": ["look_up"], "max_iters": 6}


class Broken(Research):
    strategy = "reactt"


def look_up(word: str) -> str:
    """Look a word up."""
    return word


@hookimpl
def provide_signatures():
    return [Research, Broken]


@hookimpl
def provide_tools():
    return [Component(name="look_up", target=lambda: FunctionTool(look_up, version="4"), summary="Looks words up")]
'''


@pytest.fixture(autouse=True)
def testing_mode(environment: dict[str, str]) -> None:
    environment["HOKUSAI_MODE"] = "testing"


def test_a_strategy_and_its_options_are_given(hokusai: Command) -> None:
    done = hokusai(*ASK, "--strategy", "majority", "--set", "n=3", "--set", "strategy=chain_of_thought")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["strategy"] == "majority"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy", "majorty"], "there is no strategy 'majorty'; did you mean 'majority'"),
        (["--strategy", "majority", "--set", "m=3"], "unexpected keyword argument 'm'"),
        (["--strategy", "majority", "--set", "n=0"], "n=0: expected a whole number"),
        (["--strategy", "react"], "missing a required argument: 'tools'"),
        (["--strategy", "react", "--set", "tools=search"], "there is no tool 'search'"),
        (["--set", "n=3"], "declares no strategy"),
        (["--set", "n"], "expected OPTION=VALUE"),
    ],
)
def test_what_is_wrong_with_them_is_said(hokusai: Command, flags: list[str], message: str) -> None:
    done = hokusai(*ASK, *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_batches_and_chains_take_them(hokusai: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "1 + 1?"}\n')
    done = hokusai("batch", "ResolveQuery", "rows.jsonl", "--strategy", "chain_of_thought")
    assert done.returncode == 0, done.stderr
    (tmp_path / "chain.toml").write_text('inputs = ["query"]\n[[steps]]\nsignature = "ResolveQuery"\n')
    for flags, code in ((["--strategy", "majority", "--set", "n=3"], 0), (["--strategy", "x"], 1)):
        done = hokusai("chain", "run", "chain.toml", "-i", "query=?", *flags)
        assert done.returncode == code, done.stderr


def test_a_declared_strategy_is_shown(hokusai: Command, install: Callable[[str, str], None]) -> None:
    install("research_pack", PACK)
    shown = hokusai("show", "Research")
    assert "strategy     react(tools=['look_up'], max_iters=6)" in shown.stdout
    strategy = json.loads(hokusai("show", "Research", "--json").stdout)["strategy"]
    assert (strategy["version"], strategy["parts"]) == ("1", [["tool research_pack/look_up", "4"]])
    assert json.loads(hokusai("show", "ResolveQuery", "--json").stdout)["strategy"] is None
    listed = hokusai("plugins").stdout
    assert "tool look_up" in listed
    changed = hokusai("run", "Research", "-i", "question=?", "--set", "max_iters=2", "--json")
    assert json.loads(changed.stdout)["strategy"] == "react"
    broken = hokusai("run", "Broken", "-i", "question=?")
    assert "there is no strategy 'reactt'; did you mean 'react'" in broken.stderr
