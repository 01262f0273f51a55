"""The catalog of plugins: those found and those that may load."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import ModuleType

from attrs import define, evolve

from hokusai_core.components import Owner
from hokusai_core.plugins.discovery import Discovery
from hokusai_core.plugins.failures import FailureLog, PluginFailure
from hokusai_core.plugins.records import Conflict, PluginRecord, PluginState
from hokusai_core.plugins.selection import Selection

__all__ = ["Catalog", "Entry"]

_IN_PROCESS = "in process"


@define(eq=False)
class Entry:
    """A plugin and how far it came.

    Args:
        record: what is reported of it.
        requires: what its distribution declares to need.
        plugin: the module or object; None until it is loaded.
    """

    record: PluginRecord
    requires: tuple[str, ...] = ()
    plugin: object | None = None

    def become(self, state: PluginState) -> None:
        """Note a new state."""
        self.record = evolve(self.record, state=state)

    @property
    def in_process(self) -> bool:
        """Whether the host gave it, in place of an installed distribution."""
        return self.record.origin == _IN_PROCESS


class Catalog:
    """Plugins given in process, in their order, then the installed ones by distribution and name.

    Two installed plugins of one name: neither loads. It is unknown which one the host means, and
    signatures could silently come from the wrong distribution. Both are recorded as failed; denying one
    as ``distribution:name`` lets the other load. A plugin given in process is the host's explicit choice: it loads,
    and an installed one of its name is recorded as failed.

    Args:
        discovery: the installed plugins.
        extra: modules or objects with hooks, or pairs of a name and such an object.
        selection: which of them may load.
        failures: where failures are kept.
    """

    def __init__(
        self, discovery: Discovery, extra: Sequence[object], selection: Selection, failures: FailureLog
    ) -> None:
        given = [_given(item) for item in extra]
        found = [Entry(plugin.record, plugin.requires) for plugin in discovery.plugins]
        self.entries = (*given, *found)
        self.conflicts: tuple[Conflict, ...] = ()
        records = [entry.record for entry in found]
        wanted = [failure for failure in discovery.failures if _concerns(failure, selection, records)]
        failures.extend(wanted)
        for complaint in selection.complaints([entry.record for entry in self.entries]):
            failures.say(complaint)
        for entry in self.entries:
            if not selection.admits(entry.record, in_process=entry.in_process):
                entry.become("disabled")
        self._find_duplicates(failures)

    def _find_duplicates(self, failures: FailureLog) -> None:
        by_name: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.record.state != "disabled":
                by_name[entry.record.name].append(entry)
        conflicts = []
        for name, rivals in by_name.items():
            if len(rivals) > 1:
                conflicts.append(Conflict("plugin", name, tuple(rival.record.owner for rival in rivals)))
                self._settle(rivals, failures)
        self.conflicts = tuple(conflicts)

    def _settle(self, rivals: Sequence[Entry], failures: FailureLog) -> None:
        given = [rival for rival in rivals if rival.in_process]
        losers = rivals if len(given) != 1 else [rival for rival in rivals if not rival.in_process]
        for loser in losers:
            others = [rival.record.owner for rival in rivals if rival is not loser]
            loser.become("failed")
            failures.add(
                PluginFailure(
                    plugin=loser.record.name,
                    distribution=loser.record.distribution,
                    version=loser.record.version,
                    phase="discovery",
                    cause=f"its name is also the name of {_list(others)}",
                    remedy=_pick(loser, rivals),
                )
            )


def _list(owners: Iterable[Owner]) -> str:
    return " and ".join(
        f"the plugin of {owner.distribution} {owner.version}" if owner.distribution else "a plugin given in process"
        for owner in owners
    )


def _pick(loser: Entry, rivals: Sequence[Entry]) -> str:
    name, distribution = loser.record.name, loser.record.distribution
    others = sorted({rival.record.distribution for rival in rivals} - {distribution})
    if loser.in_process:
        return "Give each plugin a name of its own: extra=[('name', plugin), ...]"
    if not others:
        return f"{distribution} declares it twice; only its author can mend that. HOKUSAI_DISABLE_PLUGINS={name}"
    if others == [""]:
        return f"To be quiet about it: HOKUSAI_DISABLE_PLUGINS={distribution}:{name}"
    keep = ",".join(f"{other}:{name}" for other in others if other)
    return f"To use this one: HOKUSAI_DISABLE_PLUGINS={keep}. To use none of them: HOKUSAI_DISABLE_PLUGINS={name}"


def _concerns(failure: PluginFailure, selection: Selection, records: Sequence[PluginRecord]) -> bool:
    if failure.plugin:
        record = PluginRecord(failure.plugin, failure.distribution, failure.version, "", "failed", "")
        return selection.admits(record)
    return selection.admits_distribution(failure.distribution, records)


def _given(item: object) -> Entry:
    name, plugin = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
    if not isinstance(name, str):
        named_by = plugin if isinstance(plugin, (ModuleType, type)) else type(plugin)
        name = named_by.__name__
    return Entry(PluginRecord(name, "", "", name, "found", _IN_PROCESS), plugin=plugin)
