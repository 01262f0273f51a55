"""Which plugins may load: the allow-list and the deny-list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugins.fix_hints import normalize
from hokusai_core.plugins.records import PluginRecord
from hokusai_core.suggestions import closest

__all__ = ["Selection"]


class _Selector(NamedTuple):
    text: str
    name: str
    distribution: str | None = None

    def matches(self, record: PluginRecord) -> bool:
        if self.distribution is not None and normalize(record.distribution) != self.distribution:
            return False
        return self.name in {"*", record.name}


def _selectors(names: Sequence[str]) -> tuple[_Selector, ...]:
    if isinstance(names, str):
        raise ConfigurationError(f"plugins {names!r}: give a sequence of names, not a string")
    return tuple(_selector(name) for name in names)


def _optional_selectors(names: Sequence[str] | None) -> tuple[_Selector, ...] | None:
    return None if names is None else _selectors(names)


def _selector(text: str) -> _Selector:
    distribution, colon, name = text.strip().rpartition(":")
    if not name or ":" in distribution or (colon and not distribution) or (name == "*" and not colon):
        raise ConfigurationError(f"plugin {text!r}: write 'name', 'distribution:name' or 'distribution:*'")
    return _Selector(text.strip(), name, normalize(distribution) if colon else None)


@frozen
class Selection:
    """The allow-list and the deny-list; both apply before anything is imported.

    Args:
        only: plugins that may load; None for all, empty for none. Each is ``name``, ``distribution:name`` or
            ``distribution:*``. Plugins given in process are not subject to it: the host named them already.
        disable: plugins that may not load, in the same forms. It wins over ``only``, and holds for plugins given in
            process too.

    Raises:
        ConfigurationError: an entry is malformed, or a string stands where a sequence is meant.
    """

    only: tuple[_Selector, ...] | None = field(default=None, converter=_optional_selectors)
    disable: tuple[_Selector, ...] = field(default=(), converter=_selectors)

    def admits(self, record: PluginRecord, *, in_process: bool = False) -> bool:
        """Return whether the plugin may load."""
        if any(selector.matches(record) for selector in self.disable):
            return False
        return in_process or self.only is None or any(selector.matches(record) for selector in self.only)

    def admits_distribution(self, distribution: str, records: Iterable[PluginRecord]) -> bool:
        """Return whether a distribution whose plugins are unknown may hold one that is wanted.

        Args:
            distribution: its name; empty where unknown.
            records: the plugins that were found.
        """
        anything = PluginRecord("*", distribution, "", "", "found", "")
        if any(selector.name == "*" and selector.matches(anything) for selector in self.disable):
            return False
        # Where everything that is wanted was found, a broken distribution cannot hold any of it.
        known = list(records)
        return self.only is None or any(not any(map(selector.matches, known)) for selector in self.only)

    def complaints(self, records: Sequence[PluginRecord]) -> list[str]:
        """Return one sentence for each entry that matches no plugin and looks like a mistake.

        A plugin that is wanted and absent is always one. A denied plugin that is absent is what the deny-list asks
        for, unless the entry is a near miss of an installed name.
        """
        complaints = []
        names = sorted({record.name for record in records})
        for selector in self.only or ():
            if not any(map(selector.matches, records)):
                installed = ", ".join(names) or "none"
                complaints.append(
                    f"HOKUSAI_PLUGINS or only= names {selector.text!r}, which is not installed ({installed} are)"
                )
        for selector in self.disable:
            near = closest(selector.name, names, cutoff=0.8)
            if near and not any(map(selector.matches, records)):
                complaints.append(
                    f"HOKUSAI_DISABLE_PLUGINS or disable= names {selector.text!r}, which is not installed; "
                    f"did you mean {near!r}?"
                )
        return complaints
