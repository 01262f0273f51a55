"""PluginManager: loads plugins one at a time, and continues without those that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import pluggy

from hokusai_core.components import Component
from hokusai_core.errors import ClosedError, PluginError, PluginLoadError
from hokusai_core.hookspecs import COMPONENT_HOOKS, HokusaiSpecs
from hokusai_core.loggers import AreaLogger
from hokusai_core.markers import PROJECT
from hokusai_core.option_table import ComponentChoice
from hokusai_core.plugins.catalog import Catalog, Entry
from hokusai_core.plugins.component_factory import (
    create_component,
    find_component,
    find_conflicts,
    hook_of,
    resolve_target,
)
from hokusai_core.plugins.discovery import discover, from_entry_points
from hokusai_core.plugins.failures import FailureLog, Phase, PluginFailure, load_failure, target_failure
from hokusai_core.plugins.hook_results import Listener, collect_components, collect_signatures
from hokusai_core.plugins.hook_validation import HOOK_NAMES, check_api, check_hooks
from hokusai_core.plugins.observer_guard import ObserverGuard
from hokusai_core.plugins.records import Conflict, PluginRecord
from hokusai_core.plugins.selection import Selection
from hokusai_core.process import fork_callbacks
from hokusai_core.redaction import without_credentials
from hokusai_core.storage.private_folders import making_in_data_folder

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from hokusai_core.signature_registry import SignaturePack

__all__ = ["PluginManager"]

_LOG: Final = AreaLogger("plugins")
_SIGNATURES = "provide_signatures"
#: Failures of these phases are the plugin's state; the others happen to a component or an observer in use.
_LOADING: frozenset[Phase] = frozenset({"discovery", "import", "register", "provide", "signature"})


class PluginManager:
    """The plugins of one executor; two managers in one process share nothing.

    Nothing is scanned before it is asked for, and nothing imported before an offer or a hook is needed: ``records``
    only reads metadata. Every plugin is then imported inside its own ``try``, which catches ``BaseException`` (a
    ``SystemExit`` at import included) except ``KeyboardInterrupt``; an interrupted ``load`` goes on where it stopped
    when it is called again.

    What a plugin prints while it is imported is printed: hiding it would mean replacing ``sys.stdout`` under the feet
    of the host's other threads. A plugin that hangs cannot be helped from inside the process; the deny-list can.

    Hooks are called for one plugin at a time, in the order of ``records``; ``tryfirst`` and ``trylast`` change
    nothing, and wrappers are refused, so that no plugin can alter or swallow what another one says.

    The manager keeps no instance that ``create`` made: who creates one closes it.

    Args:
        only: plugins that may load (``name``, ``distribution:name`` or ``distribution:*``); None for all of them,
            empty for none. Plugins in ``extra`` need not be named.
        disable: plugins that may not load, in the same forms; wins over ``only`` and over ``extra``.
        strict: ``load`` raises everything that failed, as one ``ExceptionGroup``, and so does every method that
            loads; offers of every kind are asked for at once, so that the group is complete.
        extra: plugins given in process: modules or objects with hooks, or pairs ``(name, object)``. Without a name, a
            module or class gives its ``__name__``, an object that of its class.
        entry_points: used in place of the installed ones.
        data_folder: where components that are made here keep their data; None for the folders of the user.

    Raises:
        ConfigurationError: ``only`` or ``disable`` is malformed.

    Example:
        >>> with PluginManager(only=()) as manager:
        ...     manager.components("cache"), manager.implements("on_execution_finished")
        ([], False)
    """

    def __init__(
        self,
        *,
        only: Sequence[str] | None = None,
        disable: Sequence[str] = (),
        strict: bool = False,
        extra: Sequence[object] = (),
        entry_points: Iterable[EntryPoint] | None = None,
        data_folder: Path | None = None,
    ) -> None:
        self._selection = Selection(only, disable)
        self._strict, self._data_folder = strict, data_folder
        self._extra = tuple(extra)
        self._given_entry_points = None if entry_points is None else tuple(entry_points)
        self._lock = threading.RLock()
        self._failures = FailureLog()
        self._observers = ObserverGuard(self._failures)
        self._hooks = pluggy.PluginManager(PROJECT)
        self._hooks.add_hookspecs(HokusaiSpecs)
        self._catalog: Catalog | None = None
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._offers: dict[str, tuple[Component, ...]] = {}
        self._packs: tuple[SignaturePack, ...] | None = None
        self._loaded = False
        self._closed = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    # -- what there is ------------------------------------------------------------------------------------------

    def records(self) -> list[PluginRecord]:
        """Return every plugin and its state, without importing any: ``extra`` first, then by distribution and name."""
        records = [entry.record for entry in self._entries()]
        self._failures.announce()
        return records

    def failures(self) -> tuple[PluginFailure, ...]:
        """Return the failures so far. Before ``load``, these are failures found in the metadata."""
        self._entries()
        self._failures.announce()
        return self._failures.all()

    def conflicts(self) -> tuple[Conflict, ...]:
        """Return the names that several plugins claim: of plugins, of signatures, of components; loads plugins."""
        conflicts = list(self._catalog_of().conflicts)
        for kind in COMPONENT_HOOKS:
            offers = ((component.name, component.owner) for component in self.components(kind))
            conflicts += find_conflicts(kind, offers)
        packed = ((item.spec.name, pack.owner) for pack in self.signature_packs() for item in pack.signatures)
        conflicts += find_conflicts("signature", packed)
        return tuple(conflicts)

    # -- loading ------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Import the admitted plugins and register their hooks; once, from whichever thread comes first.

        Raises:
            ExceptionGroup: in strict mode, of one ``PluginLoadError`` for each failure; at every call.
            ClosedError: the manager was closed.
        """
        if not self._loaded:
            with self._lock:
                self._check_open()
                if not self._loaded:
                    self._load_all()
        self._check_open()
        self._failures.announce()
        if self._strict:
            self._raise_failures()

    def _load_all(self) -> None:
        for entry in self._entries():
            if entry.record.state == "found":
                self._load_one(entry)
        for hook in HOOK_NAMES:
            self._listeners[hook] = tuple(self._listen(hook))
        if self._strict:
            for kind in COMPONENT_HOOKS:
                self._collect(kind)
            self._collect_packs()
        self._loaded = True

    def _load_one(self, entry: Entry) -> None:
        """Load one plugin; on failure nothing of it stays registered."""
        phase: Phase = "import"
        try:
            plugin = entry.plugin if entry.in_process else resolve_target(entry.record.target)
            phase = "register"
            check_api(plugin)
            check_hooks(plugin, self._hooks.parse_hookimpl_opts)
            hash(plugin)  # pluggy keeps plugins in sets; one that cannot be hashed would break the calls of all others
            self._hooks.register(plugin, entry.record.name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            entry.become("failed")
            self._failures.add(load_failure(entry.record, entry.requires, phase, error))
        else:
            entry.plugin = plugin
            entry.become("loaded")
            _LOG.debug("plugin %s loaded", entry.record.owner)

    def _listen(self, hook: str) -> Iterable[Listener]:
        implementing = {
            implementation.plugin_name for implementation in getattr(self._hooks.hook, hook).get_hookimpls()
        }
        plugins = self._hooks.get_plugins()
        for entry in self._entries():
            if entry.record.state == "loaded" and entry.record.name in implementing:
                others = [plugin for plugin in plugins if plugin is not entry.plugin]
                yield Listener(entry.record, hook, self._hooks.subset_hook_caller(hook, others))

    # -- offers -------------------------------------------------------------------------------------------------

    def components(self, kind: str | None = None) -> list[Component]:
        """Return the components of one kind, or of all kinds, by plugin in the order of ``records``.

        Raises:
            ComponentNotFoundError: there is no such kind.
        """
        if kind is None:
            return [component for known in COMPONENT_HOOKS for component in self.components(known)]
        hook_of(kind)
        self.load()
        with self._lock:
            self._check_open()
            found = self._collect(kind)
        self._failures.announce()
        return list(found)

    def component(self, kind: str, name: str) -> Component:
        """Return one component by its short name, or as ``plugin/name``.

        Raises:
            ComponentNotFoundError: no plugin offers it. The message lists the components and the failed plugins.
            ComponentConflictError: several plugins offer the short name.
            PluginLoadError: the plugin that is meant failed; raised from the original cause.
        """
        return find_component(kind, name, self.components(kind), self._failures.all())

    def create(self, kind: str, name: str | ComponentChoice, **options: Any) -> Any:
        """Resolve a component's target and call it with ``options``; the caller owns and closes what comes back.

        The target of a ``command`` is the command itself: it is returned, not called.

        Args:
            kind: kind of component.
            name: its short name, ``plugin/name``, or a choice of a name and options.
            **options: keyword arguments of the target.

        Raises:
            ComponentNotFoundError: no plugin offers it.
            ComponentConflictError: several plugins offer the short name.
            ConfigurationError: the target does not take these options.
            PluginLoadError: the plugin failed, or the target does not exist or raises; from the original cause.
            HokusaiError: what the target itself raises, such as ``CacheError``.
        """
        if isinstance(name, ComponentChoice):
            options = {**name.options, **options}
            name = name.name
        component = self.component(kind, name)
        try:
            with making_in_data_folder(self._data_folder):
                instance = create_component(kind, component, options)
        except PluginLoadError as error:
            if error.__cause__ is not None:
                self._failures.add(target_failure(kind, component, error.__cause__), warn=False)
            raise
        self._failures.discard(target_failure(kind, component, RuntimeError()))
        return instance

    def signature_packs(self) -> list[SignaturePack]:
        """Return the usable signatures of each plugin that offers any."""
        self.load()
        with self._lock:
            self._check_open()
            packs = self._collect_packs()
        self._failures.announce()
        return list(packs)

    def _collect(self, kind: str) -> tuple[Component, ...]:
        hook = hook_of(kind)
        if hook not in self._offers:
            found: list[Component] = []
            for listener in self._listeners[hook]:
                found += collect_components(listener, self._failures)
            self._offers[hook] = tuple(found)
        return self._offers[hook]

    def _collect_packs(self) -> tuple[SignaturePack, ...]:
        from hokusai_core.plugins.pack_arrivals import arrivals
        from hokusai_core.signature_registry import SignaturePack

        if self._packs is None:
            listeners = self._listeners[_SIGNATURES]
            found = [(each.record.owner, collect_signatures(each, self._failures)) for each in listeners]
            with making_in_data_folder(self._data_folder):
                since = arrivals(owner.distribution for owner, signatures in found if signatures)
            self._packs = tuple(
                SignaturePack(owner, signatures, since.get(owner.distribution))
                for owner, signatures in found
                if signatures
            )
        return self._packs

    # -- observing and gating -----------------------------------------------------------------------------------

    def implements(self, hook: str) -> bool:
        """Return whether any loaded plugin implements a hook. If none does, the caller need not build the event."""
        return bool(self._listeners_of(hook))

    def notify(self, hook: str, event: object) -> None:
        """Notify the observers of an ``on_*`` hook. Their errors are not raised.

        An observer's first failure is warned about, and after 10 in a row it is no longer called. On a closed manager
        this does nothing: the observers of an execution that ends late are closed as well.
        """
        if self._closed:
            return
        for listener in self._listeners_of(hook):
            record = listener.record
            if self._observers.is_muted(record.name, hook):
                continue
            try:
                listener.call(event=event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._observers.failed(record, hook, error)
            else:
                self._observers.succeeded(record.name, hook)
        self._failures.announce()

    def check(self, hook: str, **arguments: Any) -> None:
        """Ask the plugins of a ``check_*`` hook for consent, in order. The first error is raised and names its plugin.

        Raises:
            ClosedError: the manager was closed; a gate that is gone consents to nothing.
        """
        for listener in self._listeners_of(hook):
            try:
                listener.call(**arguments)
            except Exception as error:
                refusal = without_credentials(error)
                refusal.add_note(f"refused by {hook} of plugin {listener.record.name!r}")
            else:
                continue
            raise refusal  # out here, where Python attaches no cause that would show a credential

    def callers(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        """Return each plugin that implements a hook, as its name and version, with its implementation."""
        return [
            (f"{listener.record.name} {listener.record.version}".rstrip(), listener.call)
            for listener in self._listeners_of(hook)
        ]

    def _listeners_of(self, hook: str) -> tuple[Listener, ...]:
        if not self._loaded or self._closed or self._strict:
            self.load()
        try:
            return self._listeners[hook]
        except KeyError:
            raise PluginError(f"there is no hook {hook!r}") from None

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Forget all plugins; calling it twice is harmless.

        Instances that ``create`` returned are not touched. ``records`` and ``failures`` still answer; loading, offers
        and checks raise ``ClosedError``. Modules that were imported stay imported, as everywhere in Python.
        """
        with self._lock:
            self._closed = True
            self._listeners = dict.fromkeys(HOOK_NAMES, ())
            self._offers = {}
            self._packs = ()
            self._hooks = pluggy.PluginManager(PROJECT)
            for entry in self._catalog.entries if self._catalog else ():
                entry.plugin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _catalog_of(self) -> Catalog:
        with self._lock:
            if self._catalog is None:
                given = self._given_entry_points
                found = discover() if given is None else from_entry_points(given)
                self._catalog = Catalog(found, self._extra, self._selection, self._failures)
            return self._catalog

    def _entries(self) -> tuple[Entry, ...]:
        return self._catalog_of().entries

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the plugin manager was closed; its executor with it")

    def _raise_failures(self) -> None:
        errors = [failure.as_error() for failure in self._failures.all() if failure.phase in _LOADING]
        if errors:
            raise ExceptionGroup(f"{len(errors)} failures of plugins, in strict mode", errors)
