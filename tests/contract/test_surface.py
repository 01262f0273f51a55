"""The public names: all are there, none is there that is not told of, and none costs before it is used."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

import hokusai_core

PUBLIC = ["hokusai_core", "hokusai_core.errors", "hokusai_core.testing.lm", "hokusai_core.testing.caches",
          "hokusai_core.testing.trackers"]  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_every_name_that_is_told_of_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    assert len(set(loaded.__all__)) == len(loaded.__all__)
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None


def test_names_are_those_of_their_modules() -> None:
    lazy = hokusai_core._HOME
    assert set(hokusai_core.__all__) == set(lazy) | {"__version__"}
    for name, home in lazy.items():
        source = importlib.import_module(f"hokusai_core.{home}")
        assert getattr(hokusai_core, name) is getattr(source, name)
        assert name in getattr(source, "__all__", [name]), f"{name} is no public name of hokusai_core.{home}"


def test_type_checkers_see_the_same_names() -> None:
    source = inspect.getsource(hokusai_core)
    checked = source.partition("if TYPE_CHECKING:")[2].partition("\n__version__")[0]
    for name in hokusai_core._HOME:
        assert f" {name}" in checked.replace(",", " ").replace("(", " "), f"{name} is hidden from type checkers"


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Excutor'"):
        _ = hokusai_core.Excutor
    with pytest.raises(ImportError):
        exec("from hokusai_core import Excutor")  # noqa: S102  # an import statement, as a caller writes it


def test_everything_is_listed_before_it_is_loaded() -> None:
    program = (
        "import hokusai_core, sys\n"
        "assert set(hokusai_core.__all__) <= set(dir(hokusai_core))\n"
        "assert 'hokusai_core.executor' not in sys.modules\n"
        "first = hokusai_core.Executor\n"
        "assert 'hokusai_core.executor' in sys.modules and 'Executor' in vars(hokusai_core)\n"
        "assert hokusai_core.Executor is first\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_star_import_takes_all() -> None:
    names: dict[str, Any] = {}
    exec("from hokusai_core import *", names)  # noqa: S102
    assert set(hokusai_core.__all__) <= set(names)


@pytest.mark.parametrize("name", sorted(hokusai_core._HOME))
def test_every_public_class_and_function_is_documented(name: str) -> None:
    value = getattr(hokusai_core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"
