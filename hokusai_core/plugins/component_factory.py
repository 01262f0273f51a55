"""Components: found by name, and made from what their targets name."""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from hokusai_core.components import Component, Owner
from hokusai_core.errors import (
    ComponentConflictError,
    ComponentNotFoundError,
    ConfigurationError,
    HokusaiError,
    PluginLoadError,
)
from hokusai_core.hookspecs import COMPONENT_HOOKS
from hokusai_core.plugins.failures import PluginFailure, ProtocolError, describe_error, target_failure
from hokusai_core.plugins.records import Conflict
from hokusai_core.protocols import COMPONENT_PROTOCOLS, protocol_problems
from hokusai_core.redaction import printable_cause
from hokusai_core.suggestions import did_you_mean

__all__ = ["OBJECT_KINDS", "create_component", "find_component", "find_conflicts", "hook_of", "resolve_target"]


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
        ComponentNotFoundError: no plugin offers it.
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


#: Kinds whose target is the object itself and is not called; calling a ``click.Command`` would run it.
OBJECT_KINDS = frozenset({"command"})
_MAKERS = ("__new__", "__init__")


def create_component(kind: str, component: Component, options: Mapping[str, Any]) -> object:
    """Resolve the target and call it with ``options``; the caller owns what comes back.

    Raises:
        PluginLoadError: the target does not exist, raises another error than a ``HokusaiError``, or makes an object
            that lacks a member of the protocol of its kind.
        ConfigurationError: the target does not take these options.
        HokusaiError: what the target itself raises about its configuration or store, unchanged.
    """
    try:
        target = resolve_target(component.target) if isinstance(component.target, str) else component.target
        if kind in OBJECT_KINDS:
            if options:
                raise ConfigurationError(f"{kind} {component.qualified_name!r} takes no options")
            return target
        if not callable(target):
            raise TypeError(f"{component.target} is {type(target).__name__}, which cannot be called")
        _check_options(kind, component, target, options)
        instance = target(**options)
        _check_protocol(kind, instance)
        return instance
    except (KeyboardInterrupt, HokusaiError):
        raise
    except BaseException as error:
        raise PluginLoadError(str(target_failure(kind, component, error))) from printable_cause(error)


def resolve_target(target: str) -> object:
    """Import what ``target`` names.

    Only text that an installed plugin wrote in its own entry point or ``Component`` comes here, never data.

    Args:
        target: ``module``, ``module:attribute`` or ``module:attribute.attribute``.

    Raises:
        ImportError: the module, or something that it imports, is not there; ``name`` tells which.
        AttributeError: the module has no such attribute; the message names the nearest one.
        BaseException: whatever else the module raises while it is imported.
    """
    module_name, _, path = target.partition(":")
    value: object = importlib.import_module(module_name)
    for attribute in path.split(".") if path else ():
        try:
            value = getattr(value, attribute)
        except AttributeError as error:
            hint = did_you_mean(attribute, dir(value))
            raise AttributeError(f"{module_name} has no attribute {attribute!r}{hint}") from error
    return value


def _check_protocol(kind: str, instance: object) -> None:
    """Raise if an instance lacks what its kind needs, and release it as far as it can be."""
    protocol = COMPONENT_PROTOCOLS.get(kind)
    problems = [] if protocol is None else protocol_problems(protocol, instance)
    if protocol is not None and problems:
        with suppress(Exception):  # what is missing is the error, and close() may be missing too
            instance.close()  # type: ignore[attr-defined]
        raise ProtocolError(f"{type(instance).__name__} is no {protocol.__name__}: {'; '.join(problems)}")


def _has_no_parameters(target: Any) -> bool:
    """Return whether a target is a class that is made as ``object`` is, whose signature takes milliseconds to read."""
    return type(target) is type and all(getattr(target, name) is getattr(object, name) for name in _MAKERS)


def _check_options(kind: str, component: Component, target: Callable[..., object], options: Mapping[str, Any]) -> None:
    """Refuse options that the target does not take, before it runs: a TypeError from inside it would mean its fault."""
    if not options and _has_no_parameters(target):
        return
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return  # built in C, without a readable signature: the call itself will tell
    try:
        signature.bind(**options)
    except TypeError as error:
        names = [name for name, parameter in signature.parameters.items() if parameter.kind.name != "VAR_KEYWORD"]
        wrong = next((name for name in options if name not in names), "")
        hint = did_you_mean(wrong, names) or f"; it takes {', '.join(names) or 'none'}"
        raise ConfigurationError(
            f"options of {kind} {component.qualified_name!r}: {describe_error(error)}{hint}"
        ) from error
