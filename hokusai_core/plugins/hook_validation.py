"""The checks on a plugin before its hooks are registered. They find mistakes that pluggy does not report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from hokusai_core.errors import PluginError
from hokusai_core.hookspecs import HokusaiSpecs
from hokusai_core.markers import HOOK_API, PROJECT
from hokusai_core.suggestions import did_you_mean

__all__ = ["HOOK_NAMES", "NewerHookApiError", "check_api", "check_hooks"]

#: Names of all hooks.
HOOK_NAMES = frozenset(name for name, value in vars(HokusaiSpecs).items() if hasattr(value, f"{PROJECT}_spec"))

ReadOptions = Callable[[object, str], Mapping[str, Any] | None]


class NewerHookApiError(PluginError):
    """A plugin was written for a newer hook contract than this core has."""


def check_api(plugin: object) -> None:
    """Check ``HOKUSAI_HOOK_API`` of a plugin.

    Raises:
        NewerHookApiError: the plugin was written for a newer hook contract.
        PluginError: the attribute is no whole number.
    """
    wanted = getattr(plugin, "HOKUSAI_HOOK_API", HOOK_API)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise PluginError(f"HOKUSAI_HOOK_API must be a whole number from 1, not {wanted!r}")
    if wanted > HOOK_API:
        raise NewerHookApiError(f"it needs hook API {wanted}, and this hokusai-core has {HOOK_API}")


def check_hooks(plugin: object, read_options: ReadOptions) -> None:
    """Check the names, kinds and markers of a plugin's hooks; pluggy checks their arguments afterwards.

    Args:
        plugin: module or object.
        read_options: returns the options of a hook implementation, None for anything else (pluggy's own reading).

    Raises:
        PluginError: everything that is wrong, in one message.
    """
    problems = list(_problems(plugin, read_options))
    if problems:
        raise PluginError("; ".join(problems))


def _problems(plugin: object, read_options: ReadOptions) -> Iterator[str]:
    for attribute in dir(plugin):
        options = read_options(plugin, attribute)
        if options is None:
            yield from _unmarked(plugin, attribute)
            continue
        hook = options.get("specname") or attribute
        if hook not in HOOK_NAMES:
            if not options.get("optionalhook"):
                yield f"there is no hook {hook!r}{did_you_mean(hook, HOOK_NAMES)}"
        elif options.get("wrapper") or options.get("hookwrapper"):
            # A wrapper sees and changes what other plugins offer, and may swallow another one's refusal.
            yield f"{hook} is a hook wrapper; Hokusai asks each plugin by itself and takes no wrappers"
        elif _is_async(inspect.getattr_static(plugin, attribute)):
            yield f"{hook} is asynchronous; hooks are plain functions"


def _unmarked(plugin: object, attribute: str) -> Iterator[str]:
    """Find a function that has the name of a hook and lacks the marker: it would never be called."""
    if attribute not in HOOK_NAMES:
        return
    value = inspect.getattr_static(plugin, attribute)
    inherited = hasattr(value, f"{PROJECT}_spec")  # from HokusaiSpecs, and not overridden
    if inspect.isfunction(value) and not inherited:
        where = "the module" if isinstance(plugin, ModuleType) else "the plugin"
        yield f"{attribute} of {where} lacks the marker @hookimpl"


def _is_async(value: object) -> bool:
    function = getattr(value, "__func__", value)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
