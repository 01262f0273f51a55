"""Tests of the pack; no language model is called."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hokusai_core import Executor
from hokusai_core.errors import InputError
from hokusai_core.plugin_api import jsonable

from acme_sample import plugin

EXAMPLES = [(item.__name__, example) for item in plugin.provide_signatures() for example in item.spec.examples]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(mode="testing", plugins=[], extra_plugins=[("acme-plugin", plugin)]) as executor:
        yield executor


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_example_gives_what_it_promises(executor: Executor, name: str, example: dict[str, Any]) -> None:
    result = executor.execute_signature(name, example["inputs"])
    # As JSON: an output may be a model, an enum or a date, which an example has as plain data.
    assert jsonable(dict(result)) == jsonable(example["outputs"])


@pytest.mark.parametrize("name", sorted({name for name, _ in EXAMPLES}))
def test_missing_inputs_are_refused(executor: Executor, name: str) -> None:
    with pytest.raises(InputError, match="is required"):
        executor.execute_signature(name, {})


def test_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert importlib.import_module(project["project"]["entry-points"]["hokusai"]["acme-plugin"]) is plugin
