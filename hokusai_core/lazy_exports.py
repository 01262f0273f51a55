"""Lazy exports: public modules import a name when it is first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    module: str, names_by_module: Mapping[str, Iterable[str]], moved_to: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a module whose names come from other modules.

    Args:
        module: its ``__name__``.
        names_by_module: module that defines names -> these names.
        moved_to: public modules that have names which this one had in version 0.1; such a name still works, with a
            ``DeprecationWarning`` that says what to write.

    Example:
        >>> get, names = lazy_exports("json", {"collections": ["OrderedDict"]})
        >>> get("OrderedDict").__name__
        'OrderedDict'
    """
    sources = {name: source for source, names in names_by_module.items() for name in names}

    def get(name: str) -> Any:
        source = sources.get(name)
        if source is None:
            return _moved_name(module, name, moved_to)
        value = getattr(importlib.import_module(source), name)
        vars(sys.modules[module])[name] = value  # the next access costs nothing
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[module]), *sources})

    return get, names


def _moved_name(module: str, name: str, moved_to: Sequence[str]) -> Any:
    for other in () if name.startswith("_") else map(importlib.import_module, moved_to):
        if name in other.__all__:
            warnings.warn(
                f"{name} has moved; write: from {other.__name__} import {name}", DeprecationWarning, stacklevel=3
            )
            return getattr(other, name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
