"""Creation: from a component to an instance of what its target makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.components import Component, Owner
from hokusai_core.errors import ConfigurationError, HokusaiError, PluginLoadError
from hokusai_core.plugins.records import PluginFailure, describe_error
from hokusai_core.plugins.remedies import mend_import, missing_distributions, or_turn_off
from hokusai_core.plugins.targets import resolve_target
from hokusai_core.suggestions import did_you_mean

__all__ = ["OBJECT_KINDS", "create_component", "target_failure"]

#: Kinds whose target is the object itself and is not called; calling a ``click.Command`` would run it.
OBJECT_KINDS = frozenset({"command"})


def create_component(kind: str, component: Component, options: Mapping[str, Any]) -> object:
    """Resolve the target and call it with ``options``; the caller owns what comes back.

    Raises:
        PluginLoadError: the target does not exist, or raises something that is no ``HokusaiError``.
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
        return target(**options)
    except (KeyboardInterrupt, HokusaiError):
        raise
    except BaseException as error:
        raise PluginLoadError(str(target_failure(kind, component, error))) from error


def target_failure(kind: str, component: Component, error: BaseException) -> PluginFailure:
    """Return the record of a target that failed."""
    owner = component.owner or Owner("")
    return PluginFailure(
        plugin=owner.plugin,
        distribution=owner.distribution,
        version=owner.version,
        phase="target",
        cause=error,
        remedy=or_turn_off(_mend(component, owner, error), owner.plugin),
        subject=f"{kind} {component.name}",
    )


def _mend(component: Component, owner: Owner, error: BaseException) -> str:
    missing = missing_distributions(component.requires) if isinstance(error, ImportError) else []
    if missing:
        return f"Not installed: pip install {' '.join(missing)}"
    module = component.target.partition(":")[0] if isinstance(component.target, str) else ""
    return mend_import(error, module=module, distribution=owner.distribution)


def _check_options(kind: str, component: Component, target: Callable[..., object], options: Mapping[str, Any]) -> None:
    """Refuse options that the target does not take, before it runs: a TypeError from inside it would mean its fault."""
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
