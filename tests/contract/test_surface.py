"""The public names: all exist, all are documented, type checkers see the same ones, and none costs before its use."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hokusai_core
from tools.public_modules import LAZY_MODULES, PUBLIC_MODULES


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_listed_name_exists_and_is_documented(module: str) -> None:
    loaded = importlib.import_module(module)
    assert len(set(loaded.__all__)) == len(loaded.__all__)
    for name in loaded.__all__:
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("module", LAZY_MODULES)
def test_type_checkers_see_the_names_that_are_there_at_run_time(module: str) -> None:
    loaded = importlib.import_module(module)
    tree = ast.parse(Path(str(loaded.__file__)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen: dict[str, str] = {}
    for statement in checked.body:
        assert isinstance(statement, ast.ImportFrom)
        seen |= dict.fromkeys((alias.name for alias in statement.names), str(statement.module))
    assert set(seen) == set(loaded.__all__) - {"__version__", "lazy_exports"}  # these are made or imported in place
    for name, home in seen.items():
        assert getattr(loaded, name) is getattr(importlib.import_module(home), name)


def test_users_have_about_thirty_names() -> None:
    assert len(hokusai_core.__all__) <= 35


def test_a_name_is_the_same_thing_in_each_public_module() -> None:
    found: dict[str, Any] = {}
    for module in map(importlib.import_module, LAZY_MODULES):
        for name in module.__all__:
            assert found.setdefault(name, getattr(module, name)) is getattr(module, name)


def test_a_name_that_moved_still_works_and_says_where_it_is() -> None:
    with pytest.warns(DeprecationWarning, match="from hokusai_core.plugin_api import MemoryCache"):
        from hokusai_core import MemoryCache  # type: ignore[attr-defined]  # as programs for 0.1 write it

    from hokusai_core.plugin_api import MemoryCache as moved

    assert MemoryCache is moved


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Excutor'"):
        _ = hokusai_core.Excutor  # type: ignore[attr-defined]
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
        # Their modules have the same names, and are imported by others.
        "from hokusai_core.plugin_api import Outbox, atomic_write, file_lock\n"
        "assert callable(atomic_write) and callable(file_lock)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_star_import_takes_all() -> None:
    names: dict[str, Any] = {}
    exec("from hokusai_core import *", names)  # noqa: S102
    assert set(hokusai_core.__all__) <= set(names)
