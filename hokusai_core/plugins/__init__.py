"""Plugins: found through entry points, loaded one at a time, and quarantined where they fail.

    >>> from hokusai_core.plugins import PluginManager
    >>> with PluginManager(entry_points=()) as manager:  # as if no plugin were installed
    ...     manager.records()
    []

Modules in reading order: ``manager`` (loads plugins and calls their hooks; with ``markers`` the only one that imports
pluggy), ``catalog`` (which plugins there are and which may load), ``selection`` (allow-list and deny-list),
``discovery`` (entry points, read without importing), ``distributions`` (what is installed), ``hook_validation`` (what a
plugin module must fulfil),
``hook_results`` (what ``provide_*`` hooks returned), ``component_factory`` (components by name and their instances),
``observer_guard`` (counts failures of ``on_*`` hooks and mutes them), ``failures`` and ``records`` (what the manager
reports), ``fix_hints`` (how to fix a failed import).
"""

from __future__ import annotations

from hokusai_core.plugins.failures import PluginFailure, PluginWarning
from hokusai_core.plugins.manager import PluginManager
from hokusai_core.plugins.records import Conflict, PluginRecord

__all__ = ["Conflict", "PluginFailure", "PluginManager", "PluginRecord", "PluginWarning"]
