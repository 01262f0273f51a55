"""Install a signature pack, under other names where these are taken, and tell what its signatures are called."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hokusai_core import Settings
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import PluginManager, SignatureRegistry
from hokusai_evaluate.evaluation_files import FOLDER
from hokusai_teleprompt.pack_builder import GENERATOR, PLUGIN, SIGNATURES, checked_names, renamed_file, write_wheel

__all__ = ["install_pack", "pip_install", "renamed_wheel"]


def install_pack(source: str, rename: Mapping[str, str], install: Callable[[str, bool], None]) -> list[str]:
    """Install a pack into this environment, and return lines that tell what its signatures are called.

    Args:
        source: path of a wheel, or a requirement such as ``acme-support``.
        rename: name of a signature -> the name that it gets. The wheel has to be a file, and one that ``hokusai pack
            build`` made.
        install: installs a wheel or a requirement, told whether it takes the place of the same version.

    Raises:
        ConfigurationError: signatures cannot be renamed, or the pack cannot be installed.
    """
    before = _signatures()  # notes which packs are there, so that their names keep their meaning
    with _prepared(source, rename) as prepared:
        install(prepared, bool(rename))
    importlib.invalidate_caches()
    after = _signatures()
    known = {(entry.qualified_name, entry.owner.version) for entry in before.list()}
    new = [entry for entry in after.list() if (entry.qualified_name, entry.owner.version) not in known]
    lines = []
    for entry in new:
        meant, name = after.meaning(entry.name), entry.qualified_name
        if meant is entry:
            lines.append(entry.name)
        elif meant is None:
            lines.append(f"{name}; several packs have {entry.name}: choose with HOKUSAI_PREFER={entry.name}={name}")
        else:
            lines.append(f"{name}; {entry.name} still means {meant.qualified_name}")
    return lines or ["no signature is new"]


def pip_install(target: str, again: bool) -> None:
    """Install a wheel or a requirement with pip, or with uv if there is no pip. Both read their usual variables.

    Args:
        target: the wheel or requirement.
        again: whether to install it also where the same version is installed, as when its signatures are renamed.

    Raises:
        ConfigurationError: it cannot be installed.
    """
    command, force = [sys.executable, "-m", "pip", "install"], "--force-reinstall"
    if importlib.util.find_spec("pip") is None:
        uv = shutil.which("uv")
        if uv is None:
            raise ConfigurationError(f"{target}: neither pip nor uv is installed; install one: python -m ensurepip")
        command, force = [uv, "pip", "install", "--python", sys.executable], "--reinstall"
    for options in ([], ["--no-deps", force])[: 1 + again]:
        done = subprocess.run([*command, *options, target], check=False)  # noqa: S603  # what the user asks to install
        if done.returncode:
            raise ConfigurationError(f"{target} was not installed; what went wrong is above")


def renamed_wheel(wheel: Path, out: Path, rename: Mapping[str, str]) -> Path:
    """Write a copy of a pack whose signatures have other names, and return its path.

    Args:
        wheel: a pack that ``hokusai pack build`` made.
        out: folder for the copy, which has the same name.
        rename: name of a signature -> its new name.

    Raises:
        ConfigurationError: the file is no such pack, or a name cannot be used.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{wheel}: cannot be read as a wheel: {error}") from error
    info = next((name for name in files if name.endswith(".dist-info/WHEEL")), "")
    if GENERATOR.encode() not in files.get(info, b""):
        raise ConfigurationError(
            f"{wheel} was not made by `hokusai pack build`, and its signatures cannot be renamed in it; install it, "
            "and set HOKUSAI_PREFER=NEW=pack/OLD, which makes NEW another name for a signature"
        )
    folders = {SIGNATURES: ".json", FOLDER: ""}
    parts = {name: PurePosixPath(name) for name in files}
    known = {path.stem for path in parts.values() if path.parent.name == SIGNATURES and path.suffix == ".json"}
    names = checked_names(rename, known)
    record = str(PurePosixPath(info).parent / "RECORD")
    copied = {}
    for name, path in parts.items():
        ending = folders.get(path.parent.name)
        moved = ending is not None and path.name.endswith(ending)
        copied[str(path.with_name(renamed_file(path.name, names))) if moved else name] = files[name]
        if path.name == "plugin.py" and len(path.parts) == 2:
            copied[name] = PLUGIN.encode()
    copied.pop(record, None)
    write_wheel(out / wheel.name, copied, record)
    return out / wheel.name


@contextmanager
def _prepared(source: str, rename: Mapping[str, str]) -> Iterator[str]:
    if not rename:
        yield source
        return
    if not Path(source).is_file():
        raise ConfigurationError(
            f"{source}: only a wheel can be renamed; get it with `pip download --no-deps {source}`, and give that file"
        )
    with tempfile.TemporaryDirectory() as folder:
        yield str(renamed_wheel(Path(source), Path(folder), rename))


def _signatures() -> SignatureRegistry:
    settings = Settings.from_environment()
    with PluginManager(only=settings.value("plugins"), disable=settings.value("disable_plugins")) as manager:
        registry = SignatureRegistry(manager.signature_packs, settings.value("prefer"))
        registry.list()
    return registry
