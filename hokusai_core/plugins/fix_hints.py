"""Hints that say how to fix a failed import: not installed, wrong version, broken, or out of a system resource."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hokusai_core.install_command import install_command

__all__ = ["mend_import", "missing_distributions", "normalize", "or_turn_off", "system_hint"]

_REQUIREMENT: Final = r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*([^;\s][^;]*)?"


def normalize(distribution: str) -> str:
    """Return the canonical form of a distribution's name: lower case, runs of ``-_.`` as one ``-``."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def or_turn_off(remedy: str, plugin: str) -> str:
    """Return a remedy, followed by how to go on without the plugin."""
    return f"{remedy.strip().rstrip('.')}; to go on without it: HOKUSAI_DISABLE_PLUGINS={plugin}"


def mend_import(error: BaseException, *, module: str, distribution: str, requires: Sequence[str] = ()) -> str:
    """Return the sentence that says what mends a failed import.

    Args:
        error: what the import raised.
        module: the module that was imported.
        distribution: the distribution that it belongs to; empty where unknown.
        requires: requirements that the distribution declares, as in its metadata.
    """
    hint = system_hint(error)
    if hint is not None:
        return hint
    missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if missing:
        top = missing.partition(".")[0]
        if top == "hokusai_core":
            both = install_command(*filter(None, ("hokusai-core", distribution)), options="--upgrade")
            return f"Wrong version: it needs another hokusai-core: {both}"
        if isinstance(error, ModuleNotFoundError):
            if top == module.partition(".")[0]:
                return _incomplete(missing, distribution)
            return _not_installed(top, requires)
        if top != module.partition(".")[0]:
            return _wrong_version(top, distribution, requires)
    if isinstance(error, SystemExit):
        return (
            "Failed to import: it ends the process at import, which is a fault of the plugin; report it to its author."
        )
    return "Failed to import" + (
        f": pip install --upgrade {distribution}, or report it to its author." if distribution else "."
    )


def system_hint(error: BaseException) -> str | None:
    """Return how to fix what the system refused, None if the error has another cause.

    Reinstalling a plugin does not help where the process has no file descriptor left.
    """
    for cause in _chain(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE):
            return "No file descriptor is left: close files and connections, or raise the limit (ulimit -n)"
        if number in (errno.EACCES, errno.EPERM):
            place = f" {cause.filename}" if isinstance(cause, OSError) and cause.filename else " it"
            return f"Not permitted: let this user read{place}, or install the plugin for this user"
        if number == errno.ENOMEM or isinstance(cause, MemoryError):
            return "No memory is left: free some, or raise the limit of this process"
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return "No thread is left: end some, or raise the limit (ulimit -u)"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def missing_distributions(requires: Iterable[str]) -> list[str]:
    """Return those requirements whose distribution is not installed at all."""
    from importlib.metadata import PackageNotFoundError, version

    missing = []
    for requirement in requires:
        try:
            version(_name_of(requirement))
        except PackageNotFoundError:
            missing.append(requirement)
    return missing


def _incomplete(missing: str, distribution: str) -> str:
    if not distribution:
        return f"Not installed: there is no module {missing!r}; check its name and sys.path."
    return (
        f"Not installed: {distribution} lacks its own module {missing!r}: "
        f"pip install --force-reinstall --no-deps {distribution}"
    )


def _not_installed(module: str, requires: Sequence[str]) -> str:
    requirement = _requirement_for(module, requires)
    if requirement:
        return f"Not installed: pip install {_quote(requirement)}"
    # The name of a module is not always the name of what to install, so this is a hint and says that it is one.
    return (
        f"Not installed: pip install {module.replace('_', '-')} (or whichever distribution has the module {module!r})"
    )


def _wrong_version(module: str, distribution: str, requires: Sequence[str]) -> str:
    from importlib.metadata import PackageNotFoundError, version

    name = _name_of(_requirement_for(module, requires) or module.replace("_", "-"))
    try:
        installed = f"{name} {version(name)} is installed and lacks what is imported from it"
    except PackageNotFoundError:
        installed = f"{module} lacks what is imported from it"
    return f"Wrong version: {installed}: pip install --upgrade {_join(name, distribution)}"


def _requirement_for(module: str, requires: Sequence[str]) -> str | None:
    """Return the declared requirement that most likely holds ``module``, without its markers."""
    wanted = normalize(module)
    likely = (wanted, f"py{wanted}", f"python-{wanted}", f"{wanted}-python", f"py-{wanted}")
    declared = {normalize(_name_of(requirement)): requirement.partition(";")[0].strip() for requirement in requires}
    return next((declared[name] for name in likely if name in declared), None)


def _name_of(requirement: str) -> str:
    match = re.match(_REQUIREMENT, requirement)
    return match[1] if match else requirement


def _quote(requirement: str) -> str:
    return requirement if re.fullmatch(r"[\w.-]+", requirement) else f"'{requirement}'"


def _join(*distributions: str) -> str:
    return " ".join(name for name in distributions if name)
