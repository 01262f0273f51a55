"""Offers: what a ``provide_*`` hook returned, checked one by one.

An offer is complete or it is nothing. Where a hook raises, also a generator that fails after some of its items, all
that it gave is dropped: half a list looks like a whole one, and what is missing would only show later, as a wrong
choice. Where a hook ran to its end, a single bad item is quarantined alone and the rest stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from hokusai_core.components import Component
from hokusai_core.plugins.records import FailureLog, Phase, PluginFailure, PluginRecord
from hokusai_core.plugins.remedies import or_turn_off

if TYPE_CHECKING:
    from hokusai_core.signatures import BaseSignature

__all__ = ["collect_components", "collect_items", "collect_signatures"]


def collect_items(
    record: PluginRecord, hook: str, call: Callable[[], object], failures: FailureLog
) -> tuple[object, ...] | None:
    """Call a hook of one plugin and return everything that it gave, None where it failed.

    Args:
        record: the plugin.
        hook: name of the hook, for reports.
        call: calls it.
        failures: where a failure is kept.
    """
    try:
        value = call()
        if value is None:
            return ()
        if isinstance(value, (str, bytes, Mapping, type)) or not isinstance(value, Iterable):
            _discard(value)
            kind = value.__name__ if isinstance(value, type) else type(value).__name__
            _fail(
                failures,
                record,
                "provide",
                f"it returned {kind}, not a list",
                "Return a list or yield the items.",
                hook,
            )
            return None
        return tuple(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _fail(
            failures, record, "provide", error, "Nothing that this hook offers is used. Report it to its author.", hook
        )
        return None


def collect_components(
    record: PluginRecord, hook: str, items: Iterable[object], failures: FailureLog
) -> tuple[Component, ...]:
    """Return the components among ``items``, with their owner; the others become failures."""
    by_name: dict[str, list[Component]] = defaultdict(list)
    for item in items:
        if not isinstance(item, Component):
            cause = f"it offers {type(item).__name__}, not a Component"
            _fail(failures, record, "provide", cause, "Offer hokusai_core.Component records.", hook)
        elif item not in by_name[item.name]:
            by_name[item.name].append(item)
    for name, rivals in by_name.items():
        if len(rivals) > 1:
            cause = f"it offers {len(rivals)} different components called {name!r}"
            _fail(failures, record, "provide", cause, "Neither is used. Give each a name of its own.", hook)
    return tuple(rivals[0].owned_by(record.owner) for rivals in by_name.values() if len(rivals) == 1)


def collect_signatures(
    record: PluginRecord, hook: str, items: Iterable[object], failures: FailureLog
) -> tuple[type[BaseSignature], ...]:
    """Return the usable signatures among ``items``; the others become failures, each by itself."""
    by_name: dict[str, list[type[BaseSignature]]] = defaultdict(list)
    for item in items:
        named = _usable_signature(record, hook, item, failures)
        if named is not None and named[1] not in by_name[named[0]]:
            by_name[named[0]].append(named[1])
    for name, rivals in by_name.items():
        if len(rivals) > 1:
            cause = f"its pack has {len(rivals)} different signatures of this name"
            _fail(failures, record, "signature", cause, "Neither is used. Give each a name of its own.", name)
    return tuple(rivals[0] for rivals in by_name.values() if len(rivals) == 1)


def _usable_signature(
    record: PluginRecord, hook: str, item: object, failures: FailureLog
) -> tuple[str, type[BaseSignature]] | None:
    from hokusai_core.signatures import BaseSignature

    if not (isinstance(item, type) and issubclass(item, BaseSignature)):
        kind = f"the class {item.__name__}" if isinstance(item, type) else type(item).__name__
        cause = f"{hook} offers {kind}, which is not a subclass of BaseSignature"
        remedy = "Its other signatures are used. Report it to its author."
        _fail(failures, record, "signature", cause, remedy, getattr(item, "__name__", ""))
        return None
    try:
        return item.spec.name, item
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        remedy = "Its other signatures are used. Report it to its author."
        _fail(failures, record, "signature", error, remedy, item.__name__)
        return None


def _fail(
    failures: FailureLog, record: PluginRecord, phase: Phase, cause: BaseException | str, remedy: str, subject: str
) -> None:
    remedy = or_turn_off(remedy, record.name)
    failures.add(PluginFailure(record.name, record.distribution, record.version, phase, cause, remedy, subject=subject))


def _discard(value: object) -> None:
    # A coroutine that is never awaited would warn once more, at a moment that nobody can place.
    close = getattr(value, "close", None)
    if callable(close) and hasattr(value, "cr_code"):
        close()
