"""What the ``provide_*`` hooks of plugins return, checked one by one.

Where a hook raises, everything that it returned is dropped, also the first items of a generator that fails later. Half
a list looks like a whole one, and the missing items would only show later, as a wrong choice. Where a hook ran to its
end, a bad item is dropped alone and the others stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hokusai_core.components import Component
from hokusai_core.plugins.failures import FailureLog, Phase, PluginFailure
from hokusai_core.plugins.fix_hints import or_turn_off
from hokusai_core.plugins.records import PluginRecord

if TYPE_CHECKING:
    from hokusai_core.base_signature import BaseSignature

__all__ = ["Listener", "collect_components", "collect_signatures"]


class Listener(NamedTuple):
    """One plugin's implementation of a hook.

    Args:
        record: the plugin.
        hook: name of the hook.
        call: pluggy's caller of the hook, narrowed to this plugin.
    """

    record: PluginRecord
    hook: str
    call: Any

    def ask(self) -> object:
        """Call a hook without arguments and return what the plugin returned."""
        results = self.call()
        return results[0] if results else None  # pluggy leaves None out


def _collect_items(listener: Listener, failures: FailureLog) -> tuple[object, ...]:
    """Call a ``provide_*`` hook of one plugin and return all its items, none if it failed."""
    record, hook = listener.record, listener.hook
    try:
        value = listener.ask()
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
            return ()
        return tuple(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _fail(
            failures, record, "provide", error, "Nothing that this hook offers is used. Report it to its author.", hook
        )
        return ()


def collect_components(listener: Listener, failures: FailureLog) -> tuple[Component, ...]:
    """Return the components that one plugin provides, with their owner; every other item becomes a failure."""
    record, hook, items = listener.record, listener.hook, _collect_items(listener, failures)
    by_name: dict[str, list[Component]] = defaultdict(list)
    for item in items:
        if not isinstance(item, Component):
            cause = f"it offers {type(item).__name__}, not a Component"
            _fail(failures, record, "provide", cause, "Offer hokusai_core.plugin_api.Component records.", hook)
        elif item not in by_name[item.name]:
            by_name[item.name].append(item)
    for name, rivals in by_name.items():
        if len(rivals) > 1:
            cause = f"it offers {len(rivals)} different components called {name!r}"
            _fail(failures, record, "provide", cause, "Neither is used. Give each a name of its own.", hook)
    return tuple(rivals[0].owned_by(record.owner) for rivals in by_name.values() if len(rivals) == 1)


def collect_signatures(listener: Listener, failures: FailureLog) -> tuple[type[BaseSignature], ...]:
    """Return the usable signatures that one plugin provides; every other item becomes a failure of its own."""
    record, hook, items = listener.record, listener.hook, _collect_items(listener, failures)
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
    from hokusai_core.base_signature import BaseSignature  # commands that list no signatures do without it

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
    # A coroutine that is never awaited would warn once more, at an unrelated moment.
    close = getattr(value, "close", None)
    if callable(close) and hasattr(value, "cr_code"):
        close()
