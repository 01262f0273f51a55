"""Find the signature that an argument means: by name, from a file, from Python code, or written out."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from hokusai_core.cli_support.aliases import resolve_alias
from hokusai_core.cli_support.failures import CommandFailure
from hokusai_core.cli_support.inputs import read_object
from hokusai_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from hokusai_core.executor import Executor
    from hokusai_core.signature_registry import RegisteredSignature, SignatureRegistry

__all__ = ["registered", "signature_called"]

#: ``file.py:Name``, ``file.py`` and ``module:Name``.
_FILE: Final = re.compile(r"(?P<path>.+\.py)(?::(?P<name>[A-Za-z_]\w*))?")
_MODULE: Final = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_]\w*)")
#: ``scheme:/...``, which a plugin reads.
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*:/\S+")
_WRITTEN_OUT: Final = "Signature"


def signature_called(executor: Executor, text: str) -> Any:
    """Return what to execute for an argument.

    Args:
        executor: gets what has no name of its own under one.
        text: an alias, a name, the path of a JSON file with a signature, ``"question -> answer"``, ``file.py:Name``,
            ``file.py``, ``module:Name``, or an address such as ``models:/EmailDraft@champion``.

    Returns:
        A name, a signature class, the text of a signature, or the path of an optimized one.

    Raises:
        CommandFailure: it cannot be read; says why.
    """
    from hokusai_core.base_signature import BaseSignature

    name, found = _given(resolve_alias(text))
    if isinstance(found, str) and ("->" in found or not _ADDRESS.fullmatch(found)):
        return found
    if isinstance(found, type) and issubclass(found, BaseSignature):
        return found
    executor.register_signature(name, found, replace=True)
    return f"local/{name}"


def registered(registry: SignatureRegistry, text: str) -> RegisteredSignature:
    """Return the signature that an argument means as data; no executor is made, and a program of DSPy is not run.

    Args:
        registry: the signatures that are installed.
        text: as for ``signature_called``, without addresses.

    Raises:
        CommandFailure: it cannot be read; says why.
        SignatureNotFoundError: no such signature.
    """
    from hokusai_core.artifacts import read_artifact
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.execution.registration import signature_class

    name, found = _given(resolve_alias(text))
    if isinstance(found, str) and found.endswith(".json"):
        found = BaseSignature.from_spec(read_artifact(found).spec)
    elif isinstance(found, str) and "->" not in found:
        return registry.resolve(found)
    cls, program = signature_class(name, found)
    return registry.register(name, cls, replace=True, program=program)


def _given(text: str) -> tuple[str, Any]:
    """Return a name for what an argument means, and the name, class, text, path or object itself."""
    if "->" in text:
        return _WRITTEN_OUT, text
    if text.endswith(".json"):
        return _from_json(text)
    if _ADDRESS.fullmatch(text):
        return _WRITTEN_OUT, text
    file = _FILE.fullmatch(text)
    if file is not None:
        return _member(_load_file(file["path"]), file["name"], file["path"])
    module = _MODULE.fullmatch(text)
    if module is not None:
        return _member(_load_module(module["module"]), module["name"], module["module"])
    return text, text


def _from_json(path: str) -> tuple[str, Any]:
    data = read_object(path)
    if "fields" not in data:
        return _WRITTEN_OUT, path  # what an optimizer saved; it is checked against what it was made from
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.errors import SignatureError

    try:
        found = BaseSignature.from_dict(data)
    except SignatureError as error:
        raise CommandFailure(f"{Path(path).name} holds no signature that can be run: {error}") from error
    return found.__name__, found


def _load_file(name: str) -> ModuleType:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise CommandFailure(f"the file {name} was not found")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # for what the file itself imports from beside it
    module = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise CommandFailure(f"{name} is not a file that Python imports")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except (Exception, SystemExit) as error:
        del sys.modules[module]
        raise _not_imported(name, error) from error
    return loaded


def _load_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition(".")[0])
        if missing:
            where = "in this folder and among the installed packages"
            raise CommandFailure(f"there is no module {name!r} {where}; for a file write FILE.py:Name") from error
        raise _not_imported(name, error) from error


def _not_imported(name: str, error: BaseException) -> CommandFailure:
    message = " ".join(str(error).split())
    return CommandFailure(f"{name} cannot be imported: {type(error).__name__}: {message} (HOKUSAI_DEBUG=1 shows where)")


def _member(module: ModuleType, name: str | None, where: str) -> tuple[str, Any]:
    """Return the signature of that name in a module; without a name the only one that it defines."""
    own = {
        label: value
        for label, value in vars(module).items()
        if _is_signature(value) and value.__module__ == module.__name__
    }
    if name is None:
        if len(own) != 1:
            names = ", ".join(f"{where}:{label}" for label in own) or "none"
            raise CommandFailure(f"{where}: name one of its signatures, such as {where}:Name; it has {names}")
        return next(iter(own.items()))
    if not hasattr(module, name):
        raise CommandFailure(
            f"{where} has no {name!r}{did_you_mean(name, own)}; its signatures are {', '.join(own) or 'none'}"
        )
    return name, getattr(module, name)


def _is_signature(value: Any) -> bool:
    """Return whether a value is a class of fields, of Hokusai or of DSPy."""
    from hokusai_core.base_signature import BaseSignature

    if not isinstance(value, type):
        return False
    if issubclass(value, BaseSignature):
        return value is not BaseSignature
    return hasattr(value, "input_fields") and hasattr(value, "with_instructions")
