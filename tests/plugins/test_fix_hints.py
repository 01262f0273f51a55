"""The remedy of a failure names its true cause, and reinstalling where that helps only."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from hokusai_core.plugins.fix_hints import mend_import, system_hint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "No file descriptor is left"),
        (OSError(errno.ENFILE, "Too many open files in system"), "No file descriptor is left"),
        (PermissionError(errno.EACCES, "Permission denied", "/opt/acme"), "let this user read /opt/acme"),
        (MemoryError(), "No memory is left"),
        (RuntimeError("can't start new thread"), "No thread is left"),
    ],
)
def test_what_the_system_refused_is_named_wherever_it_is_in_the_chain(error: Exception, words: str) -> None:
    assert words in mend_import(error, module="acme", distribution="acme-plugin")
    wrapped = ImportError("cannot load acme")
    wrapped.__cause__ = error
    assert words in mend_import(wrapped, module="acme", distribution="acme-plugin")
    assert "pip" not in mend_import(wrapped, module="acme", distribution="acme-plugin")


def test_other_errors_have_no_such_hint() -> None:
    assert system_hint(ValueError("no")) is None
    assert system_hint(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert "pip install" in mend_import(ValueError("no"), module="acme", distribution="acme-plugin")


def test_without_file_descriptors_it_is_said_why_no_plugin_is_found() -> None:
    program = """
import resource, sys, warnings
warnings.simplefilter("ignore")
import importlib.metadata
from hokusai_core.plugin_api import PluginManager
from hokusai_core.errors import ComponentNotFoundError
PluginManager(entry_points=()).components("cache")  # imports what it needs while it still can
manager = PluginManager()
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
try:
    manager.component("cache", "diskcache")
    message = "found"
except ComponentNotFoundError as error:
    message = str(error)
del held
sys.stdout.write(message)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert "No file descriptor is left" in done.stdout
    assert done.stderr == ""
