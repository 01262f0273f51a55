"""The checks of ``hokusai doctor``. Versions are read from metadata: no library is imported for them."""

from __future__ import annotations

import difflib
import json
import os
import platform
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hokusai.cli_errors import describe
from hokusai_core.cli_support.model_list import KEY_VARIABLES
from hokusai_core.errors import HokusaiError, PluginError
from hokusai_core.plugin_api import install_command

if TYPE_CHECKING:
    from hokusai_core.cli_support.installed import Installed

__all__ = ["Check", "all_checks"]

#: Libraries whose version decides what works, so that they are named even where all is well.
_NAMED: Final = ("dspy", "litellm", "mlflow", "mlflow-skinny")
#: Variables of the core and the command that are no settings of an executor.
_OTHERS: Final = ("HOKUSAI_LM", "HOKUSAI_CONFIG", "HOKUSAI_DEBUG")


class Check(NamedTuple):
    """One finding.

    Args:
        state: ``ok``; ``warn``: works, but perhaps not as wanted; ``fail``: does not work.
        subject: what was looked at.
        text: what was found.
        remedy: what mends it; empty where nothing has to be.
    """

    state: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    remedy: str = ""


def all_checks(found: Installed) -> Iterator[Check]:
    """Yield every finding; a check that breaks is a finding too."""
    yield _python()
    try:
        _ = found.settings
    except HokusaiError as error:
        yield Check("fail", "settings", str(error), "correct or unset it; nothing else can be checked before")
        return
    checks: tuple[Callable[[Installed], Iterator[Check]], ...] = (
        _settings, _plugins, _requirements, _validators, _models, _cache, _trackers,
    )  # fmt: skip
    for check in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # failures of plugins are findings of their own
                yield from check(found)
        except Exception as error:
            yield Check("fail", check.__name__.strip("_"), describe(error))


def _python() -> Check:
    needed = SpecifierSet(", ".join(_header("hokusai-core").get("Requires-Python", ())))
    version = platform.python_version()
    text = f"{version} in {sys.prefix} (needs {needed})"
    if needed.contains(version, prereleases=True):
        return Check("ok", "python", text)
    return Check("fail", "python", text, f"create an environment with a Python {needed}")


def _settings(found: Installed) -> Iterator[Check]:
    settings = found.settings
    given = {name: value for name, value in settings.items() if value.source != "default"}
    for name, value in given.items():
        yield Check("ok", "settings", f"{name} = {value}")
    known = {f"HOKUSAI_{name.upper()}" for name in settings} | set(_OTHERS)
    for variable in sorted(name for name in os.environ if name.startswith("HOKUSAI_") and name not in known):
        # Plugins have their own variables, so only near misses of a setting are reported.
        for meant in difflib.get_close_matches(variable, known, n=1, cutoff=0.92):
            yield Check(
                "warn", "settings", f"{variable} is set, but there is no such setting", f"did you mean {meant}?"
            )
    if not given:
        yield Check("ok", "settings", "defaults; no HOKUSAI_ variable changes one")


def _plugins(found: Installed) -> Iterator[Check]:
    manager = found.plugins
    conflicts = manager.conflicts()
    records = manager.records()
    loaded = sum(record.state == "loaded" for record in records)
    disabled = [record.name for record in records if record.state == "disabled"]
    note = f"; disabled: {', '.join(disabled)}" if disabled else ""
    yield Check("ok", "plugins", f"{loaded} of {len(records)} loaded{note}")
    for failure in manager.failures():
        what = f" in {failure.subject}" if failure.subject else ""
        who = failure.plugin or failure.distribution or "a distribution"
        text = f"{who} failed at {failure.phase}{what}: {failure.reason}"
        yield Check("fail", "plugins", text, failure.remedy)
    for conflict in conflicts:
        yield Check("warn", "plugins", str(conflict), f"use the qualified name, such as {_qualified(conflict)}")


def _qualified(conflict: Any) -> str:
    return f"{conflict.owners[0].plugin}/{conflict.name}"


def _requirements(found: Installed) -> Iterator[Check]:
    names = {record.distribution for record in found.plugins.records() if record.distribution}
    needs = {name: _needs(name) for name in sorted(names | {"hokusai-core", "hokusai-kit"})}
    version_of = cache(_version)  # reading the metadata of a distribution takes time, and many need the same ones
    met = 0
    for name, requirements in needs.items():
        for requirement in requirements:
            version = version_of(requirement.name)
            if version is not None and requirement.specifier.contains(version, prereleases=True):
                met += 1
                continue
            state = f"{version} is installed" if version else "it is not installed"
            text = f"{name} needs {requirement}, but {state}"
            yield Check("fail", "versions", text, install_command(str(requirement)))
    for library in _NAMED:
        version = version_of(library)
        ranges = {str(need.specifier) for each in needs.values() for need in each if need.name == library}
        if version is not None:
            yield Check(
                "ok", "versions", f"{library} {version}" + (f" (needs {', '.join(sorted(ranges))})" if ranges else "")
            )
    yield _tested()
    yield Check("ok", "versions", f"{met} requirements of {len(needs)} distributions are met")


def _tested() -> Check:
    """Look whether this release was tested with the versions that are installed."""
    known: dict[str, list[str]] = json.loads(
        resources.files("hokusai").joinpath("tested_versions.json").read_text(encoding="utf-8")
    )
    here = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "dspy": _version("dspy"),
        "mlflow": _version("mlflow-skinny") or _version("mlflow"),
    }
    untested = [
        f"{name} {version} (tested: {', '.join(known[name])})"
        for name, version in here.items()
        if version is not None and version not in known[name]
    ]
    if untested:
        text = f"not tested with {'; '.join(untested)}"
        return Check("warn", "versions", text, "if something fails, try a version that is tested")
    return Check("ok", "versions", "Python, DSPy and MLflow are of versions that this release was tested with")


def _needs(distribution: str) -> list[Requirement]:
    try:
        texts = _header(distribution).get("Requires-Dist", ())
    except metadata.PackageNotFoundError:
        return []
    needs = [Requirement(text) for text in texts]
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def _version(distribution: str) -> str | None:
    try:
        return next(iter(_header(distribution).get("Version", ())), None)
    except metadata.PackageNotFoundError:
        return None


def _header(distribution: str) -> Mapping[str, Sequence[str]]:
    """Return the header of a distribution's metadata. The library parses the description, too, which takes far longer.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    found = metadata.distribution(distribution)
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    header: dict[str, list[str]] = defaultdict(list)
    for line in text.partition("\n\n")[0].splitlines():
        name, colon, value = line.partition(": ")
        if colon:
            header[name].append(value.strip())
    return header


def _validators(found: Installed) -> Iterator[Check]:
    """Look for validators that cannot be made: every execution asks all of them, and stops where one fails."""
    for component in found.plugins.components("validator"):
        name, owner = component.qualified_name, component.owner
        try:
            found.plugins.create("validator", name)
        except HokusaiError as error:
            yield Check(
                "fail", "plugins", f"validator {name} cannot be made, and executions fail without it", str(error)
            )
        else:
            yield Check("ok", "plugins", f"validator {name} of {owner} checks every execution")


def _models(found: Installed) -> Iterator[Check]:
    ready, embedded = [], []
    for component in found.plugins.components("language_model"):
        reason = _unavailable(found, component.qualified_name)
        if reason is None:
            ready.append(component.name)
            embedded += [component.name] if "embedded" in component.capabilities else []
            yield Check("ok", "models", f"{component.name} is ready: {component.summary}")
        else:
            yield Check("warn", "models", f"{component.name} cannot serve", reason)
    chosen = os.environ.get("HOKUSAI_LM", "").strip()
    provider = chosen.partition("/")[0]
    key = KEY_VARIABLES.get(provider)
    if key and not os.environ.get(key):
        yield Check("warn", "models", f"HOKUSAI_LM={chosen}, and {key} is not set", f"set {key}")
    elif chosen:
        yield Check("ok", "models", f"HOKUSAI_LM={chosen} answers where a call names no other")
    elif found.settings["lm"].value is not None:
        yield Check("ok", "models", f"{found.settings['lm']} answers where a call names no other")
    elif embedded:
        yield Check("ok", "models", f"{embedded[0]} answers where a call names no other")
    else:
        example = f", for example of {ready[0]}" if ready else ""
        hint = f" to a model{example}, or {_embedded_again(found)}"
        yield Check("warn", "models", "no model answers where a call names none", f"set HOKUSAI_LM{hint}")


def _embedded_again(found: Installed) -> str:
    """Return what brings the embedded model back: it may be missing, left out by a setting, or unable to serve."""
    states = {record.distribution: record.state for record in found.plugins.records()}
    state = states.get("hokusai-local")
    if state is None:
        return f"install the embedded one: {install_command('hokusai-local')}"
    if state == "disabled":
        return "enable the plugin local, which HOKUSAI_PLUGINS or HOKUSAI_DISABLE_PLUGINS leaves out"
    return "mend the embedded one"


def _unavailable(found: Installed, name: str) -> str | None:
    try:
        provider = found.plugins.create("language_model", name)
    except HokusaiError as error:
        return str(error)
    try:
        reason: str | None = provider.available()
        return reason
    finally:
        provider.close()


def _cache(found: Installed) -> Iterator[Check]:
    name = found.settings.value("cache") or "diskcache"
    if not found.settings.value("cache_enabled"):
        yield Check("ok", "cache", "switched off by HOKUSAI_CACHE_ENABLED")
        return
    try:
        cache = found.plugins.create("cache", name)
    except PluginError as error:
        yield Check("warn", "cache", "answers are kept in memory only", str(error))
        return
    try:
        figures = cache.stats() if hasattr(cache, "stats") else {}
    except HokusaiError as error:
        yield Check("fail", "cache", f"{name}: answers are kept in memory only", str(error))
        return
    finally:
        cache.close()
    where = figures.get("location", "")
    text = f"{name}: {figures.get('entries', '?')} answers in {where}"
    if where and os.path.isdir(where) and not os.access(where, os.W_OK):
        yield Check(
            "fail", "cache", f"{text}, which cannot be written", f"chown or chmod {where}, or set HOKUSAI_CACHE_DIR"
        )
    elif figures.get("last_error"):
        yield Check("warn", "cache", text, str(figures["last_error"]))
    else:
        yield Check("ok", "cache", text)


def _trackers(found: Installed) -> Iterator[Check]:
    chosen = found.settings.value("trackers")
    for component in found.plugins.components("tracker"):
        try:
            tracker = found.plugins.create("tracker", component.qualified_name)
        except HokusaiError as error:
            yield Check("fail" if component.name in chosen else "warn", "trackers", f"{component.name}", str(error))
            continue
        try:
            try:
                figures = dict(tracker.status())
            finally:
                tracker.close()
        except Exception as error:  # of this tracker, which the others are not to be left out for
            text = f"{component.qualified_name} of {component.owner} raised {type(error).__name__}: {error}"
            yield Check("warn", "trackers", text, "mend it, or leave it out of HOKUSAI_TRACKERS")
            continue
        yield _tracker_check(component.name, figures)
    missing = set(chosen) - {component.name for component in found.plugins.components("tracker")}
    for name in sorted(missing):
        yield Check(
            "fail", "trackers", f"HOKUSAI_TRACKERS names {name!r}, which no plugin offers", "correct the variable"
        )


def _tracker_check(name: str, figures: dict[str, Any]) -> Check:
    where = next((str(figures[key]) for key in ("uri", "tracking_uri", "location") if figures.get(key)), "")
    text = f"{name}{f': records go to {where}' if where else ''}; {figures.get('backlog', 0)} wait for delivery"
    error = figures.get("last_error")
    return Check("warn", "trackers", text, f"last error: {error}") if error else Check("ok", "trackers", text)
