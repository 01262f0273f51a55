"""Records of plugins and of names that several plugins claim."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from hokusai_core.components import Owner

__all__ = ["Conflict", "PluginRecord", "PluginState"]

PluginState = Literal["found", "loaded", "disabled", "failed"]


@frozen
class PluginRecord:
    """A plugin that is installed or was given in process.

    Args:
        name: name of the entry point; the left half of qualified names such as ``name/Signature``.
        distribution: name of the installed distribution; empty for a plugin given in process.
        version: version of the distribution.
        target: what the entry point names, ``module`` or ``module:attribute``.
        state: ``found`` (not imported yet), ``loaded``, ``disabled`` (never imported) or ``failed``. A loaded plugin
            stays ``loaded`` when one of its hooks or offers fails: only that offer is in quarantine.
        origin: the folder that the distribution was found in, or ``in process``.
    """

    name: str
    distribution: str
    version: str
    target: str
    state: PluginState
    origin: str

    @property
    def owner(self) -> Owner:
        """The owner of this plugin's components and signatures."""
        return Owner(plugin=self.name, distribution=self.distribution, version=self.version)


@frozen
class Conflict:
    """One name that several plugins claim.

    Args:
        kind: ``plugin`` for names of entry points (none of them is loaded), ``signature``, or a kind of component
            (all are loaded; the qualified name picks one).
        name: the name.
        owners: who claims it, in the order of discovery.
    """

    kind: str
    name: str
    owners: tuple[Owner, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} is offered by {', '.join(map(str, self.owners))}"
