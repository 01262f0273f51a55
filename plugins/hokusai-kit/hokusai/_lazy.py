"""Lazy exports: import a name of a module when it is first used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    module: str, homes: Mapping[str, str], others: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a module.

    Args:
        module: its ``__name__``.
        homes: public name -> module that holds it.
        others: names that the module defines itself.

    Example:
        >>> get, names = lazy_names("shapes", {"OrderedDict": "collections"})
        >>> get("OrderedDict").__name__, names()
        ('OrderedDict', ['OrderedDict'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    def names() -> list[str]:
        return sorted({*homes, *others})

    return get, names
