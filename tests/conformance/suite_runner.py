"""Runs a conformance suite without pytest: one process, no collection, the first failure ends it.

That is what makes hundreds of planted faults affordable. Fixtures, parameters and skips mean what they mean to pytest.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

__all__ = ["Failure", "first_failure"]


@frozen
class Failure:
    """What found a fault: the test of the suite, and its error."""

    test: str
    error: BaseException


def first_failure(suite: type, fixtures: Mapping[str, Any], only: tuple[str, ...] = ()) -> Failure | None:
    """Run the tests of a suite on a component until one fails.

    Args:
        suite: the test class; it needs no pytest to be made.
        fixtures: fixture -> its value, in place of those of the class and of pytest.
        only: names of the tests to run; empty for all.
    """
    for name, case in _cases(suite):
        if only and name not in only:
            continue
        try:
            _run(suite, name, case, fixtures)
        except pytest.skip.Exception:
            continue
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Failure(name, error)
    return None


def _run(suite: type, name: str, case: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for fixture, forget in (("capfd", "readouterr"), ("caplog", "clear")):
        if fixture in given:  # what earlier tests have printed and logged is not this one's
            getattr(given[fixture], forget)()
    with ExitStack() as stack:
        resolve = _resolver(suite(), {**given, **case}, stack)
        for fixture in _fixtures(suite):
            if _marker(suite, fixture).autouse:
                resolve(fixture)
        test = getattr(resolve("self"), name)
        test(**{parameter: resolve(parameter) for parameter in inspect.signature(test).parameters})


def _resolver(instance: Any, given: Mapping[str, Any], stack: ExitStack) -> Callable[[str], Any]:
    """Return a function that makes each fixture once and lets the stack take it down."""
    made: dict[str, Any] = {"self": instance, **given}

    def resolve(name: str) -> Any:
        if name not in made:
            if name == "tmp_path":
                made[name] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fault-")))
            elif name == "monkeypatch":
                made[name] = stack.enter_context(pytest.MonkeyPatch.context())
            else:
                made[name] = _made(name)
        return made[name]

    def _made(name: str) -> Any:
        function = inspect.getattr_static(type(instance), name).__wrapped__
        parameters = list(inspect.signature(function).parameters)
        arguments = {parameter: resolve(parameter) for parameter in parameters if parameter != "request"}
        if "request" in parameters:
            arguments["request"] = type("Request", (), {"param": given.get(f"param of {name}")})
        made_of = function(**arguments)
        return stack.enter_context(_taken_down(made_of)) if inspect.isgenerator(made_of) else made_of

    return resolve


@contextmanager
def _taken_down(generator: Iterator[Any]) -> Iterator[Any]:
    yield next(generator)
    for _ in generator:
        raise AssertionError("a fixture yields once")


def _cases(suite: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each test with each set of its parameters, in the order of the source."""
    names = [name for cls in reversed(suite.__mro__) for name in vars(cls) if name.startswith("test_")]
    for name in dict.fromkeys(names):
        test = getattr(suite, name)
        axes = [_parameter_sets(mark) for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        for fixture in _fixtures(suite):
            params = _marker(suite, fixture).params
            if params and _uses(suite, test, fixture):
                axes.append([{f"param of {fixture}": value} for value in params])
        for sets in itertools.product(*axes):
            yield name, {key: value for part in sets for key, value in part.items()}


def _parameter_sets(mark: pytest.Mark) -> list[dict[str, Any]]:
    names, values = mark.args[:2]
    names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    return [dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in values]


@functools.cache
def _fixtures(suite: type) -> list[str]:
    return [name for name in dir(suite) if hasattr(inspect.getattr_static(suite, name), "_fixture_function_marker")]


def _marker(suite: type, name: str) -> Any:
    return inspect.getattr_static(suite, name)._fixture_function_marker


def _uses(suite: type, function: Callable[..., Any], fixture: str) -> bool:
    """Return whether a test or a fixture asks for a fixture, itself or through others."""
    for name in inspect.signature(function).parameters:
        if name == fixture:
            return True
        if name in _fixtures(suite) and _uses(suite, inspect.getattr_static(suite, name).__wrapped__, fixture):
            return True
    return False
