"""Caches and trackers of an executor, made as its settings name them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from hokusai_core.caching import MemoryCache
from hokusai_core.caching.tiers import CacheTiers
from hokusai_core.errors import CacheError, ComponentNotFoundError, PluginError, TrackingError
from hokusai_core.plugins.failures import frames_inside

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Tracker
    from hokusai_core.settings import Config

__all__ = ["PartsMaker"]


class PartsMaker:
    """Makes what an executor is put together from.

    Args:
        plugins: where components come from.
        config: the executor's settings.
        optional: names of caches and trackers that are done without, after one warning, where they cannot be had.
    """

    def __init__(self, plugins: PluginManager, config: Config, optional: AbstractSet[str]) -> None:
        self._plugins, self._config, self._optional = plugins, config, optional

    def cache(self) -> CacheTiers | None:
        """Return the cache stage, None where caching is off."""
        value = self._config.value
        if not value("cache_enabled"):
            return None
        memory = MemoryCache(value("cache_entries"), value("cache_bytes"))
        chosen = value("cache")
        if chosen is None or not isinstance(chosen, str):
            return CacheTiers(memory, chosen, name=type(chosen).__name__)
        return CacheTiers(memory, self._create("cache", chosen), name=chosen)

    def trackers(self) -> dict[str, Tracker]:
        """Return the trackers that the settings name."""
        made: dict[str, Tracker] = {}
        try:
            for name in self._config.value("trackers"):
                tracker = self._create("tracker", name)
                if tracker is not None:
                    made[name] = tracker
        except BaseException:
            for tracker in made.values():  # nobody is going to get an executor that could close them
                tracker.close()
            raise
        return made

    def _create(self, kind: str, name: str) -> Any:
        """Make a cache or tracker; None for an optional one that cannot be had."""
        if name not in self._optional:
            return self._plugins.create(kind, name)
        try:
            return self._plugins.create(kind, name)
        except (PluginError, CacheError, TrackingError) as error:
            off = any(record.name == name and record.state == "disabled" for record in self._plugins.records())
            # Nobody who turned the plugin of that name off has to be told that it is missing.
            if not (off and isinstance(error, ComponentNotFoundError)):
                effect = "answers are kept in memory only" if kind == "cache" else "executions are not recorded there"
                warnings.warn(f"{kind} {name!r} cannot be used, so {effect}: {error}", stacklevel=frames_inside())
            return None
