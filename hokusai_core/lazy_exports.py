"""Public modules whose names are imported when they are first used, and the list of these modules."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

__all__ = ["PUBLIC_MODULES", "lazy_exports"]

#: Every public module of this distribution; ``__all__`` of each is its list of names.
PUBLIC_MODULES: Final = (
    "hokusai_core",
    "hokusai_core.plugin_api",
    "hokusai_core.types",
    "hokusai_core.errors",
    "hokusai_core.testing.caches",
    "hokusai_core.testing.listening",
    "hokusai_core.testing.lm",
    "hokusai_core.testing.metrics",
    "hokusai_core.testing.optimizers",
    "hokusai_core.testing.trackers",
)


def lazy_exports(
    module: str, names_by_module: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a module whose names come from other modules (PEP 562).

    Args:
        module: its ``__name__``.
        names_by_module: module that defines names -> these names.

    Example:
        >>> get, names = lazy_exports("json", {"collections": ["OrderedDict"]})
        >>> get("OrderedDict").__name__
        'OrderedDict'
    """
    sources = {name: source for source, names in names_by_module.items() for name in names}

    def get(name: str) -> Any:
        source = sources.get(name)
        if source is None:
            return _moved_name(module, name)
        value = getattr(importlib.import_module(source), name)
        vars(sys.modules[module])[name] = value  # the next access costs nothing
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[module]), *sources})

    return get, names


def _moved_name(module: str, name: str) -> Any:
    """Return a name that version 0.1 had in ``hokusai_core`` and that another public module has now, with a warning."""
    root, *others = PUBLIC_MODULES[:4]
    if module == root and not name.startswith("_"):
        for other in map(importlib.import_module, others):
            if name in other.__all__:
                warnings.warn(
                    f"{name} has moved; write: from {other.__name__} import {name}", DeprecationWarning, stacklevel=3
                )
                return getattr(other, name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
