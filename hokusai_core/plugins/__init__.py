"""Plugins: found through entry points, loaded one at a time, and quarantined where they fail.

    >>> from hokusai_core.plugins import PluginManager
    >>> with PluginManager(entry_points=()) as manager:  # as if no plugin were installed
    ...     manager.records()
    []

The modules, from the outside in: ``manager`` (the only one that calls pluggy), ``catalog`` (which plugins there are,
and which of them may load), ``selection`` (allow-list and deny-list), ``discovery`` (entry points, without importing),
``hookcheck`` (what a plugin must fulfill), ``loading`` (why it could not be loaded), ``offers`` (what ``provide_*``
hooks returned), ``lookup`` and ``creation`` (components by name, and their instances), ``observers`` (muting),
``targets`` (lazy ``"module:attribute"``), ``remedies`` (what mends a failed import) and ``records`` (what the manager
reports).
"""

from __future__ import annotations

from hokusai_core.plugins.manager import PluginManager
from hokusai_core.plugins.records import Conflict, PluginFailure, PluginRecord, PluginWarning

__all__ = ["Conflict", "PluginFailure", "PluginManager", "PluginRecord", "PluginWarning"]
