"""Discovery: the entry points of the group ``hokusai``, found without importing anything of a plugin.

``entry_points`` of ``importlib.metadata`` is not used, because it stops at the first distribution that is damaged; here
each is read by itself.

A distribution that is on ``sys.path`` twice counts once: the first copy shadows the others, as it does for
``importlib.metadata.entry_points`` and for imports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from hokusai_core.install_command import install_command
from hokusai_core.markers import PROJECT
from hokusai_core.plugins.distributions import Distribution, distributions
from hokusai_core.plugins.failures import PluginFailure, describe_error
from hokusai_core.plugins.fix_hints import normalize, system_hint
from hokusai_core.plugins.records import PluginRecord

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Discovery", "FoundPlugin", "discover", "from_entry_points"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TARGET = re.compile(r"(?P<target>[A-Za-z_][\w.]*(\s*:\s*[A-Za-z_][\w.]*)?)\s*(\[.*\])?")
#: A section header that was meant to be ours and is not one.
#: Blanks only, no line feeds: else many empty lines would take quadratic time.
_BROKEN_HEADER: Final = rf"(?mi)^[ \t]*\[?[ \t]*['\"]?{PROJECT}['\"]?[ \t]*\]?[ \t\r]*$"


class FoundPlugin(NamedTuple):
    """A plugin that was found.

    Args:
        record: what is known of it without importing it.
        requires: what its distribution declares to need, for the remedy of a failed import.
    """

    record: PluginRecord
    requires: tuple[str, ...] = ()


class Discovery(NamedTuple):
    """What a scan found.

    Args:
        plugins: sorted by distribution and name.
        failures: distributions and entry points that could not be read.
    """

    plugins: tuple[FoundPlugin, ...]
    failures: tuple[PluginFailure, ...]


class _Header(NamedTuple):
    name: str
    version: str
    requires: tuple[str, ...]

    def check(self) -> None:
        """Refuse what no package installer writes; nothing could be said of such a plugin's owner."""
        absent = [word for word, value in (("Name", self.name), ("Version", self.version)) if not value]
        if absent:
            raise _UnreadableError(f"METADATA has no {' and no '.join(absent)}")


class _UnreadableError(Exception):
    """Metadata of one distribution cannot be used; the message says why."""


def discover() -> Discovery:
    """Scan the installed distributions."""
    scan = _Scan()
    scan.check_system()
    try:
        for distribution in distributions():
            scan.visit(distribution)
    except Exception as error:
        # A path finder of another package failed; the plugins found before it stay.
        remedy = "A finder on sys.meta_path raised; plugins that it would have listed are missing."
        scan.failures.append(PluginFailure("", "", "", "discovery", error, remedy))
    return scan.result()


def from_entry_points(entry_points: Iterable[EntryPoint]) -> Discovery:
    """Take the given entry points in place of the installed ones; those of other groups are left out."""
    scan = _Scan()
    for entry_point in entry_points:
        if entry_point.group == PROJECT:
            distribution = getattr(entry_point, "dist", None)
            header = _header(distribution) if distribution else _Header("", "", ())
            origin = _origin(distribution) if distribution else "given entry points"
            scan.add(entry_point.name, entry_point.value, header, origin)
    return scan.result()


class _Scan:
    """One pass over the distributions."""

    def __init__(self) -> None:
        self.plugins: list[FoundPlugin] = []
        self.failures: list[PluginFailure] = []
        self._seen: set[str] = set()

    def check_system(self) -> None:
        """Record that no file can be opened: the standard library then finds no distribution, and says nothing."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            remedy = system_hint(error) or "The system refuses to open files"
            self.failures.append(PluginFailure("", "", "", "discovery", error, f"{remedy}; then make a new executor"))

    def visit(self, distribution: Distribution) -> None:
        """Add the plugins of one distribution, or the reason why they cannot be known."""
        header = _Header("", "", ())
        try:
            text = _entry_points_text(distribution)
            if PROJECT not in text:
                return
            header = _header(distribution)
            header.check()
            if normalize(header.name) in self._seen:
                return
            self._seen.add(normalize(header.name))
            if normalize(header.name) == PROJECT:
                self._report_namesake(header)
                return
            self._read(distribution, header, text)
        except Exception as error:
            self._fail(distribution, header, error)

    def _read(self, distribution: Distribution, header: _Header, text: str) -> None:
        ours = list(_entry_points(text))
        if not ours and re.search(_BROKEN_HEADER, text):
            raise _UnreadableError(f"entry_points.txt has a malformed header where [{PROJECT}] is meant")
        for name, value in ours:
            self.add(name, value, header, _origin(distribution))

    def add(self, name: str, value: str, header: _Header, origin: str) -> None:
        """Add one entry point, or the reason why it cannot be used."""
        match = _TARGET.fullmatch(value.strip())
        problem = ""
        if not _NAME.fullmatch(name):
            problem = f"the name {name!r} may hold letters, digits, '_', '.' and '-' only"
        elif match is None:
            problem = f"{value!r} is neither 'module' nor 'module:attribute'"
        target = re.sub(r"\s", "", match["target"]) if match else value
        record = PluginRecord(name, header.name, header.version, target, "failed" if problem else "found", origin)
        self.plugins.append(FoundPlugin(record, header.requires))
        if problem:
            remedy = f"Mend the section [{PROJECT}] of its entry points. {_reinstall(header.name)}"
            self.failures.append(
                PluginFailure(record.name, record.distribution, record.version, "discovery", problem, remedy)
            )

    def result(self) -> Discovery:
        """Return what was found, in an order that does not depend on the file system."""
        plugins = sorted(self.plugins, key=lambda found: (normalize(found.record.distribution), found.record.name))
        return Discovery(tuple(plugins), tuple(self.failures))

    def _report_namesake(self, header: _Header) -> None:
        """Report the distribution ``hokusai``, whose import package and command have the names of ours."""
        older = any(normalize(requirement).startswith("hokusai-core") for requirement in header.requires)
        whose = "an earlier name of hokusai-kit" if older else "another project"
        cause = f"it is {whose}; its package 'hokusai' and its command 'hokusai' take the place of hokusai-kit's"
        again = install_command("hokusai-kit", options="--force-reinstall --no-deps")
        remedy = f"Remove it, then restore what it replaced: pip uninstall {PROJECT}, and {again}"
        self.failures.append(PluginFailure("", header.name, header.version, "discovery", cause, remedy))

    def _fail(self, distribution: Distribution, header: _Header, error: Exception) -> None:
        if isinstance(error, UnicodeDecodeError) and PROJECT.encode() not in error.object:
            return  # not readable, and not ours either
        header = header if header.name else _readable(distribution)
        if isinstance(error, _UnreadableError):
            cause: Exception | str = str(error)
        else:
            cause = f"entry_points.txt or METADATA cannot be read: {describe_error(error)}"
        remedy = system_hint(error) or _reinstall(header.name)
        remedy = remedy or f"Remove or reinstall the damaged distribution in {_origin(distribution)}."
        self.failures.append(PluginFailure("", header.name, header.version, "discovery", cause, remedy))


def _entry_points_text(distribution: Distribution) -> str:
    return distribution.read_text("entry_points.txt") or ""


def _entry_points(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each of our entry points.

    ``Distribution.entry_points`` is not asked: the backport, once anything has imported it, refuses all entry points of
    a distribution for a value that is malformed, also one of another group.
    """
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == PROJECT and line and not line.startswith(("#", ";")):
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals:
                raise _UnreadableError(f"entry_points.txt has the line {line!r}, which is no 'name = module'")
            yield name, value


def _header(distribution: Distribution) -> _Header:
    """Read name, version and requirements, without the slow parse of the whole file that ``metadata`` does."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = list(_fields(text))
    name = next((value for key, value in fields if key == "name"), "")
    version = next((value for key, value in fields if key == "version"), "")
    return _Header(name, version, tuple(value for key, value in fields if key == "requires-dist"))


def _readable(distribution: Distribution) -> _Header:
    """Return whose entry points could not be read, as far as METADATA still says so."""
    try:
        return _header(distribution)
    except Exception:  # damaged as well; the damage to entry_points.txt is already reported
        return _Header("", "", ())


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.partition("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _origin(distribution: Distribution) -> str:
    try:
        return str(distribution.locate_file(""))
    except Exception:  # a finder of another package failed; the folder is only shown
        return "an unknown place"


def _reinstall(distribution: str) -> str:
    return f"Reinstall it: pip install --force-reinstall --no-deps {distribution}" if distribution else ""
