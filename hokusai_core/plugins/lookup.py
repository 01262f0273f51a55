"""Finding a component by name, and saying well why there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NoReturn

from hokusai_core.components import Component, Owner
from hokusai_core.errors import ComponentConflictError, ComponentNotFoundError, PluginLoadError
from hokusai_core.hookspecs import COMPONENT_HOOKS
from hokusai_core.plugins.records import Conflict, PluginFailure
from hokusai_core.suggestions import did_you_mean

__all__ = ["find_component", "find_conflicts", "hook_of"]


def hook_of(kind: str) -> str:
    """Return the hook that provides a kind of component.

    Raises:
        ComponentNotFoundError: there is no such kind.
    """
    try:
        return COMPONENT_HOOKS[kind]
    except KeyError:
        hint = did_you_mean(kind, COMPONENT_HOOKS) or f"; there are {', '.join(COMPONENT_HOOKS)}"
        raise ComponentNotFoundError(f"there is no kind of component {kind!r}{hint}") from None


def find_component(
    kind: str, name: str, components: Sequence[Component], failures: Sequence[PluginFailure]
) -> Component:
    """Return the component of a kind that ``name`` means.

    Args:
        kind: kind of component.
        name: ``name``, or ``plugin/name``.
        components: all components of that kind.
        failures: all failures of plugins.

    Raises:
        ComponentConflictError: several plugins offer the short name.
        PluginLoadError: the plugin that is named, or that has this name, failed.
        ComponentNotFoundError: nobody offers it.
    """
    found = [component for component in components if name in {component.name, component.qualified_name}]
    if len(found) == 1:
        return found[0]
    if found:
        offers = ", ".join(f"{item.qualified_name} ({_installed(item)})" for item in found)
        raise ComponentConflictError(
            f"{kind} {name!r} is offered by several plugins: {offers}; use one of these full names"
        )
    return _refuse(kind, name, components, [failure for failure in failures if _hides(failure, kind)])


def _refuse(kind: str, name: str, components: Sequence[Component], failures: Sequence[PluginFailure]) -> NoReturn:
    plugin = name.partition("/")[0]
    for failure in failures:
        if failure.plugin == plugin:
            cause = failure.cause if isinstance(failure.cause, BaseException) else None
            raise PluginLoadError(f"{kind} {name!r} cannot be had: {failure}") from cause
    known = sorted({label for item in components for label in (item.name, item.qualified_name)})
    message = f"there is no {kind} {name!r}"
    message += did_you_mean(name, known) or "."
    message += f" Installed: {', '.join(item.qualified_name for item in components) or 'none'}."
    if failures:
        # A plugin that failed cannot say what it would have offered, so each of them may be the reason.
        message += " It may belong to a plugin that failed: " + " | ".join(map(str, failures))
    raise ComponentNotFoundError(message)


def _hides(failure: PluginFailure, kind: str) -> bool:
    """Return whether components of a kind may be missing because of this failure."""
    if failure.phase == "provide":
        return failure.subject == COMPONENT_HOOKS[kind]
    return failure.phase in {"discovery", "import", "register"}


def _installed(component: Component) -> str:
    owner = component.owner
    return f"{owner.distribution} {owner.version}" if owner and owner.distribution else "in process"


def find_conflicts(kind: str, offers: Iterable[tuple[str, Owner | None]]) -> list[Conflict]:
    """Return the names that occur more than once in pairs of a name and its owner."""
    owners: dict[str, list[Owner]] = defaultdict(list)
    for name, owner in offers:
        if owner is not None:
            owners[name].append(owner)
    return [Conflict(kind, name, tuple(claims)) for name, claims in sorted(owners.items()) if len(claims) > 1]
