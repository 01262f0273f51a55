"""Component: the record with which a plugin offers anything except signatures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve, field, frozen

from hokusai_core.errors import PluginError

__all__ = ["Component", "Owner"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@frozen
class Owner:
    """Where a component or signature comes from; filled in by the plugin manager, never by the author.

    Args:
        plugin: name of the entry point.
        distribution: name of the installed distribution.
        version: its version.
    """

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        installed = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"{self.plugin}{installed}"


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@frozen
class Component:
    """An object that a plugin offers, such as a cache, tracker, validator, optimizer, command or model provider.

    Args:
        name: short name, unique within its kind and plugin; letters, digits, ``_``, ``.`` and ``-``.
        target: the factory; a callable, or ``"module:attribute"``, which is imported when first used.
        summary: one line for listings.
        requires: distributions that the target needs beyond its plugin's own dependencies.
        capabilities: words that say what it can do; consumers select by them.
        owner: set by the plugin manager.

    Raises:
        PluginError: at construction, where name or target is malformed.

    Example:
        >>> Component(name="jsonl", target="my_plugin.tracker:JsonlTracker", summary="JSON lines").qualified_name
        'jsonl'
    """

    name: str = field()
    target: str | Callable[..., Any] = field()
    summary: str = ""
    requires: tuple[str, ...] = field(default=(), converter=_names)
    capabilities: tuple[str, ...] = field(default=(), converter=_names)
    owner: Owner | None = None

    @name.validator
    def _check_name(self, _attribute: object, value: str) -> None:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise PluginError(f"component name {value!r}: use letters, digits, '_', '.' and '-'")

    @target.validator
    def _check_target(self, _attribute: object, value: object) -> None:
        if not callable(value) and not (isinstance(value, str) and _TARGET.fullmatch(value)):
            raise PluginError(
                f"component {self.name!r}: target must be a callable or 'module:attribute', not {value!r}"
            )

    @property
    def qualified_name(self) -> str:
        """``plugin/name`` once the manager has set the owner, else the short name."""
        return f"{self.owner.plugin}/{self.name}" if self.owner else self.name

    def owned_by(self, owner: Owner) -> Component:
        """Return this component with its owner set."""
        return evolve(self, owner=owner)
