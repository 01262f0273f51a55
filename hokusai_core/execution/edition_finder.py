"""EditionFinder: asks the installed edition sources which signature replaces another one."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

from attrs import evolve

from hokusai_core.errors import ComponentConflictError, HokusaiError
from hokusai_core.process import fork_callbacks, made_after_fork
from hokusai_core.redaction import scrubbed_error
from hokusai_core.settings import ExecutionMode, Settings
from hokusai_core.signature_registry import Edition

if TYPE_CHECKING:
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import EditionSource
    from hokusai_core.signatures import SignatureSpec

__all__ = ["EditionFinder", "EditionWarning"]

_KIND = "edition_source"


class EditionWarning(UserWarning):
    """An edition cannot be used, so the original signature is."""


class EditionFinder:
    """Finds the edition of a signature in one namespace.

    A source that fails never stops the host: it is warned about, and the original signature is used.

    Args:
        plugins: the plugins that offer edition sources.
        namespace: the namespace of the executor.
        enabled: False to use no editions at all.
    """

    def __init__(self, plugins: PluginManager, namespace: str, *, enabled: bool = True) -> None:
        self.namespace, self.enabled = namespace, enabled
        self._plugins = plugins
        self._sources: dict[str, EditionSource] | None = None
        self._lock = threading.RLock()
        #: Sources of parent processes; kept, as freeing one might close what the parent uses.
        self._inherited: list[EditionSource] = []
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        if self._sources and any(map(made_after_fork, self._sources.values())):
            self._inherited += self._sources.values()
            self._sources = None

    @classmethod
    def of(cls, plugins: PluginManager, settings: Settings) -> EditionFinder:
        """Return the finder for the settings of an executor.

        In testing mode editions are used only where the setting ``promotions`` is given, because the tests of a host
        must not depend on what was promoted on the machine that runs them.
        """
        testing = settings.value("mode") is ExecutionMode.TESTING and settings["promotions"].source == "default"
        return cls(plugins, settings.value("namespace"), enabled=settings.value("promotions") and not testing)

    def find(self, name: str, spec: SignatureSpec) -> Edition | None:
        """Return the edition that replaces a signature, None for none.

        Args:
            name: qualified name of the signature, ``pack/Name``.
            spec: the signature as its pack or the host defines it.

        Raises:
            ComponentConflictError: several sources have an edition of it.
        """
        if not self.enabled:
            return None
        found: list[Edition] = []
        with self._lock:
            for label, source in list(self._made_sources().items()):
                edition = self._ask(label, source, name, spec)
                if edition is not None:
                    found.append(edition)
        if len(found) > 1:
            raise ComponentConflictError(
                f"several edition sources have a signature for {name}: {', '.join(item.source for item in found)}; "
                "disable the plugin of all but one (HOKUSAI_DISABLE_PLUGINS)"
            )
        return found[0] if found else None

    def _made_sources(self) -> dict[str, EditionSource]:
        if self._sources is None:
            self._sources = {}
            for component in self._plugins.components(_KIND):
                label = component.qualified_name
                try:
                    self._sources[label] = self._plugins.create(_KIND, label)
                except HokusaiError as error:
                    _warn(f"the editions of {label} are not used: {error}")
        return self._sources

    def _ask(self, label: str, source: EditionSource, name: str, spec: SignatureSpec) -> Edition | None:
        try:
            edition = source.edition(name, spec, self.namespace)
        except HokusaiError as error:  # about this signature; the source may have good editions of others
            _warn(f"the edition of {name} that {label} has is not used: {error}")
            return None
        except Exception as error:
            del self._made_sources()[label]
            _warn(
                f"the edition source {label} failed ({scrubbed_error(error)}) and is not asked again; the "
                "original signatures are used. Leave editions out with promotions=False or HOKUSAI_PROMOTIONS=off"
            )
            return None
        return None if edition is None else evolve(edition, source=label)


def _warn(message: str) -> None:
    warnings.warn(message, EditionWarning, stacklevel=2)
