"""Checks of one component: its target, its options, and the object that the target makes."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement

from hokusai.doctor_checks import Check
from hokusai_core.errors import HokusaiError, PluginLoadError
from hokusai_core.plugin_api import install_command, jsonable

if TYPE_CHECKING:
    from hokusai_core import Component
    from hokusai_core.plugin_api import PluginManager

__all__ = ["component_checks"]

#: Kinds whose targets take no options.
_WITHOUT_OPTIONS: Final = frozenset({"validator", "edition_source", "tool"})
#: Kinds whose targets are not called here: a command would run, and a source would load what is not there.
_NOT_CALLED: Final = frozenset({"command", "signature_source"})
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
#: Optional methods, and the arguments that they are given by name.
_OPTIONAL: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "tracker": {
        "anchor": (),
        "anchor_operation": ("operation_id", "kind", "name"),
        "begin_execution": ("execution_id", "signature"),
        "search": ("since", "signature"),
    },
    "feedback_store": {"search": ("since", "signature"), "add_outcome": ("outcome",)},
    "cache": {"entries": ("signature",), "remove": ("signature", "older_than"), "stats": ()},
    "metric": {"using": ("models", "task"), "aggregate": ("pairs",)},
}


def component_checks(manager: PluginManager, kind: str, component: Component) -> Iterator[Check]:
    """Yield what is found about a component.

    Args:
        manager: makes it.
        kind: its kind.
        component: what the plugin offers.
    """
    subject = f"{kind.replace('_', ' ')} {component.name}"
    findings = list(_findings(manager, kind, component))
    for state, text, remedy in findings:
        yield Check(state, subject, text, remedy)
    if not any(state == "fail" for state, _, _ in findings):
        yield Check("ok", subject, component.summary or str(component.target))


_Finding = tuple[Any, str, str]


def _findings(manager: PluginManager, kind: str, component: Component) -> Iterator[_Finding]:
    if not component.summary:
        yield "warn", "summary is empty", 'say in a line what it does: Component(..., summary="...")'
    for text in component.requires:
        need = Requirement(text)
        try:
            if not need.specifier.contains(metadata.version(need.name), prereleases=True):
                raise metadata.PackageNotFoundError
        except metadata.PackageNotFoundError:
            yield "fail", f"requires {text}, which is not installed", install_command(text)
            return
    if kind == "tool" and not _TOOL_NAME.fullmatch(component.name):
        yield "fail", f"name {component.name!r}: a language model calls it by that name", "use letters, digits and '_'"
    if kind == "signature_source" and not _SCHEME.fullmatch(component.name):
        yield "fail", f"name {component.name!r} is no scheme of an address", "use letters, digits, '+', '.' and '-'"
    try:
        target = pkgutil.resolve_name(component.target) if isinstance(component.target, str) else component.target
    except BaseException as error:  # a module may do anything while it is imported, also end the process
        if isinstance(error, KeyboardInterrupt):
            raise
        text = f"target {component.target!r} cannot be resolved: {type(error).__name__}: {error}"
        yield "fail", text, "correct the target, or install what its module imports"
        return
    if kind == "command":
        yield from _command_findings(target)
        return
    if not callable(target):
        yield "fail", f"target {component.target!r} is a {type(target).__name__}", "name a class or a function"
        return
    yield from _option_findings(kind, target)
    if kind not in _NOT_CALLED:
        yield from _object_findings(manager, kind, component)


def _option_findings(kind: str, target: Callable[..., Any]) -> Iterator[_Finding]:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return  # built in C, without a readable signature
    if kind == "signature_source" and "uri" not in parameters:
        yield "fail", "its target does not take 'uri'", "write def load(uri: str)"
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name == "uri":
            continue
        option = f"option {name!r}"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            yield "fail", f"{option} cannot be given by name", "make it a keyword argument"
        if parameter.annotation is parameter.empty:
            yield "fail", f"{option} has no type", f"annotate it, such as {name}: str"
        if parameter.default is parameter.empty:
            if kind in _WITHOUT_OPTIONS or kind != "strategy":
                yield "fail", f"{option} has no default, and it is made without options", "give it a default"
        elif not _is_plain(parameter.default):
            text = f"{option} has the default {parameter.default!r}, which has no JSON form"
            yield "fail", text, "settings are written as JSON and TOML: use a text, a number, a list or None"


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(jsonable(value))
    except (TypeError, ValueError):
        return False
    return True


def _command_findings(target: Any) -> Iterator[_Finding]:
    import click

    if not isinstance(target, click.Command):
        yield "fail", f"its target is a {type(target).__name__}, not a click.Command", "name the command itself"
        return
    if not target.get_short_help_str().strip():
        yield "fail", "it has no help", "write a docstring"
    for parameter in target.params:
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help:
            yield "fail", f"option {'/'.join(parameter.opts)} has no help", "give it help=..."


def _object_findings(manager: PluginManager, kind: str, component: Component) -> Iterator[_Finding]:
    try:
        made = manager.create(kind, component.qualified_name)
    except PluginLoadError as error:
        cause = error.__cause__ or error
        yield (
            "fail",
            f"it cannot be made: {type(cause).__name__}: {cause}",
            "see the contract of its kind in plugin_api",
        )
        return
    except HokusaiError as error:
        yield "warn", f"it cannot be made without options: {error}", "nothing, if it has to be configured"
        return
    try:
        try:
            yield from _attribute_findings(kind, made)
            yield from _method_findings(kind, made)
        finally:
            if hasattr(made, "close"):
                made.close()
                made.close()
    except Exception as error:
        yield "fail", f"it raised {type(error).__name__}: {error}", "mend it; closing twice must be harmless, too"


def _method_findings(kind: str, made: Any) -> Iterator[_Finding]:
    for name in [name for name in dir(type(made)) if name.startswith("a") and not name.startswith("_")]:
        blocking = name[1:]
        if callable(getattr(made, blocking, None)) and not inspect.iscoroutinefunction(getattr(made, name)):
            yield "fail", f"{name}() is no coroutine function", f"write {name} = async_twin({blocking})"
    for name, arguments in _OPTIONAL.get(kind, {}).items():
        method = getattr(made, name, None)
        if method is None:
            continue
        try:
            inspect.signature(method).bind(**dict.fromkeys(arguments))
        except (TypeError, ValueError):
            positional = _takes(method, len(arguments))
            if not positional:
                yield "fail", f"{name}() does not take ({', '.join(arguments)})", "see the contract of its kind"


def _takes(method: Any, count: int) -> bool:
    try:
        inspect.signature(method).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _attribute_findings(kind: str, made: Any) -> Iterator[_Finding]:
    if kind == "metric":
        low_high = made.range
        fits = (
            isinstance(low_high, tuple) and len(low_high) == 2 and all(isinstance(one, int | float) for one in low_high)
        )
        if not fits or not low_high[0] < low_high[1] or not all(map(math.isfinite, low_high)):
            yield "fail", f"range is {low_high!r}", "write the lowest and the highest score, such as range = (0.0, 1.0)"
        if not isinstance(made.higher_is_better, bool):
            yield "fail", f"higher_is_better is {made.higher_is_better!r}", "write True or False"
    if kind in ("strategy", "tool") and not (isinstance(made.version, str) and made.version):
        effect = "answers that use it are not cached" if kind == "tool" else "caches cannot tell its versions apart"
        yield ("warn" if kind == "tool" else "fail"), f"version is {made.version!r}; {effect}", 'write version = "1"'
    if kind == "tool":
        if not (isinstance(made.description, str) and made.description.strip()):
            yield "fail", f"description is {made.description!r}", "say for the language model what it does"
        if made.parameters.get("type") != "object":
            yield "fail", "parameters are not a JSON schema of type 'object'", "use FunctionTool, which makes one"
    if kind == "cache" and not (isinstance(made.tier, str) and made.tier):
        yield "fail", f"tier is {made.tier!r}", 'write the word that results show, such as tier = "disk"'
    if kind == "language_model":
        reason = made.available()
        if reason is not None and (not isinstance(reason, str) or "\n" in reason.strip() or not reason.strip()):
            yield (
                "fail",
                f"available() returns {reason!r}",
                "return None, or one line that says how to make it available",
            )
    if kind == "tracker":
        figures = made.status()
        missing = {"accepted", "delivered", "backlog", "last_error"} - set(figures)
        if missing:
            yield "warn", f"status() has no {', '.join(sorted(missing))}", "hokusai doctor shows them"
        if not _is_plain(dict(figures)):
            yield "fail", "status() has values without a JSON form", "return numbers and texts"
