"""Build a wheel from a folder of optimized signatures: a signature pack that pip installs.

The wheel follows the binary distribution format of the PyPA specifications (PEP 427): a zip archive of a package with
the files, a plugin module that reads them, and the metadata. It needs no build tool and no network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import keyword
import os
import re
import sys
import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from attrs import frozen

from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_core.plugin_api import Artifact, PluginManager, did_you_mean, read_artifact
from hokusai_evaluate.evaluation_files import FOLDER
from hokusai_teleprompt.certificate_rows import rows_file, with_rows
from hokusai_teleprompt.chain_programs import missing_code
from hokusai_teleprompt.pack_evaluation import evaluation_parts

__all__ = ["GENERATOR", "PLUGIN", "SIGNATURES", "Pack", "build_pack", "checked_names", "renamed_file", "write_wheel"]

#: Folder of the signatures in the package of a pack.
SIGNATURES: Final = "signatures"

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_VERSION = re.compile(r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?")
#: Line in the metadata of a wheel by which a pack that was built here is known.
GENERATOR: Final = "Generator: hokusai"
#: The earliest date that a zip archive can hold. With a fixed date the same files always give the same wheel.
_EPOCH = (1980, 1, 1, 0, 0, 0)

#: The plugin module of every pack.
PLUGIN: Final = '''"""The signatures of this pack."""

from __future__ import annotations

from importlib.resources import as_file, files

from attrs import evolve

from hokusai_core import BaseSignature
from hokusai_core.plugin_api import hookimpl, read_artifact

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the optimized signatures that lie beside this module, each under the name of its file."""
    found = []
    for item in sorted((files(__package__) / "signatures").iterdir(), key=lambda item: item.name):
        if item.name.endswith(".json"):
            with as_file(item) as path:
                artifact = read_artifact(path)
            name = item.name.removesuffix(".json")
            found.append(evolve(artifact, spec=artifact.spec.evolve(name=name)).signature)
    return found
'''


@frozen
class Pack:
    """A wheel that was built.

    Args:
        path: the wheel.
        name: name of the distribution and of its plugin.
        version: its version.
        signatures: names of its signatures.
    """

    path: Path
    name: str
    version: str
    signatures: tuple[str, ...]


def build_pack(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] = "dist",
    *,
    name: str | None = None,
    version: str = "1.0.0",
    summary: str = "",
    rename: Mapping[str, str] = MappingProxyType({}),
) -> Pack:
    """Build an installable wheel from a folder of saved optimized signatures.

    Args:
        folder: the folder; its ``*.json`` files are the signatures. Evaluation sets, data cards and scorecards in its
            folder ``evaluation`` become part of the pack.
        out: folder for the wheel; made if it is missing.
        name: name of the distribution, such as ``acme-support``; None for the name of the folder.
        version: version of the distribution.
        summary: one line for package indexes.
        rename: name of a signature -> the name that it has in the pack.

    Raises:
        ConfigurationError: name, version or a new name of a signature cannot be used.
        ArtifactError: a file cannot be used, there are no files, or two have a signature of the same name.
        InputError: rows of an evaluation set do not fit their signature.
    """
    source = Path(folder)
    chosen = name or re.sub(r"[^a-z0-9]+", "-", source.resolve().name.lower()).strip("-")
    if not _NAME.fullmatch(chosen):
        raise ConfigurationError(f"name {chosen!r}: use lower-case letters, digits and single hyphens, a letter first")
    _check_free(chosen)
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(f"version {version!r}: expected one such as 1.0.0 or 1.2.0rc1")
    found = _artifacts(source)
    names = checked_names(rename, found)
    artifacts = {names.get(label, label): item for label, item in found.items()}
    module = chosen.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f'"""Signature pack {chosen}."""\n'.encode(),
        f"{module}/plugin.py": PLUGIN.encode(),
        **{f"{module}/{SIGNATURES}/{label}.json": path.read_bytes() for label, (path, _) in artifacts.items()},
        **_recorded_answers(module, artifacts),
        **{
            f"{module}/{FOLDER}/{renamed_file(path.name, names)}": path.read_bytes()
            for path in evaluation_parts(source, found)
        },
        f"{info}/METADATA": _metadata(chosen, version, summary, artifacts).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\n{GENERATOR}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode(),
        f"{info}/entry_points.txt": f"[hokusai]\n{chosen} = {module}.plugin\n".encode(),
    }
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    wheel = target / f"{module}-{version}-py3-none-any.whl"
    write_wheel(wheel, files, f"{info}/RECORD")
    return Pack(wheel, chosen, version, tuple(artifacts))


def checked_names(rename: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Return new names of signatures by their old ones.

    Args:
        rename: name of a signature -> its new name.
        known: names of the signatures.

    Raises:
        ConfigurationError: there is no signature of an old name, or a new one cannot be used.
    """
    for old, new in rename.items():
        if old not in known:
            raise ConfigurationError(f"rename {old}={new}: the pack has no signature {old!r}{did_you_mean(old, known)}")
        if not new.isidentifier() or keyword.iskeyword(new):
            raise ConfigurationError(f"rename {old}={new}: use letters, digits and '_', and no digit first")
    names = [rename.get(name, name) for name in known]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"rename: two signatures would be called {', '.join(twice)}")
    return dict(rename)


def renamed_file(name: str, names: Mapping[str, str]) -> str:
    """Return the name of a file that begins with the name of a signature, when signatures are renamed.

    Example:
        >>> renamed_file("ClassifyText.cards.json", {"ClassifyText": "SortMail"})
        'SortMail.cards.json'
    """
    label, dot, rest = name.partition(".")
    return f"{names.get(label, label)}{dot}{rest}"


def _check_free(name: str) -> None:
    """Refuse a name whose wheel would hide, or replace when installed, something that is not a pack."""
    module, taken = name.replace("-", "_"), ""
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        taken = f"Python has its own {module!r}"
    with PluginManager() as manager:
        for record in manager.records():
            if record.name == name and record.distribution != name:
                taken = f"{record.distribution} {record.version} has a plugin of that name"
    with suppress(importlib.metadata.PackageNotFoundError):
        installed = importlib.metadata.distribution(name)
        if GENERATOR not in (installed.read_text("WHEEL") or ""):
            taken = f"{name} {installed.version} is installed, and is not a pack"
    if taken:
        raise ConfigurationError(f"name {name!r}: {taken}; choose another with --name, or name=")


def _artifacts(folder: Path) -> dict[str, tuple[Path, Artifact]]:
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: is not a folder")
    found: dict[str, tuple[Path, Artifact]] = {}
    for path in sorted(folder.glob("*.json")):
        artifact = read_artifact(path)
        label = artifact.spec.name
        if artifact.spec.predictors and artifact.spec.strategy is None:
            raise ArtifactError(f"{path}: is of the program {artifact.base_name}, whose code no pack holds")
        for part in missing_code(artifact.spec):
            raise ArtifactError(f"{path}: {part} no pack holds")
        if label in found:
            raise ArtifactError(
                f"{path} and {found[label][0]} both have a signature called {label!r}; keep one of them"
            )
        found[label] = path, artifact
    if not found:
        raise ArtifactError(
            f"{folder}: has no optimized signature; save some with optimized.save('{folder}/Name.json')"
        )
    return found


def _recorded_answers(module: str, artifacts: Mapping[str, tuple[Path, Artifact]]) -> dict[str, bytes]:
    """Return the files with recorded answers that lie beside the artifacts."""
    found: dict[str, bytes] = {}
    for path, artifact in artifacts.values():
        answers = rows_file(artifact, path)
        if answers is not None:
            with_rows(artifact, path)  # raises if it is missing or was changed
            found[f"{module}/{SIGNATURES}/{answers.name}"] = answers.read_bytes()
    return found


def _metadata(name: str, version: str, summary: str, artifacts: Mapping[str, tuple[Path, Artifact]]) -> str:
    one_line = " ".join((summary or f"Optimized signatures: {', '.join(artifacts)}").split())
    listing = "".join(
        f"\n- {label} {artifact.spec.version}, made from {artifact.base_name} {artifact.base.version}"
        for label, (_, artifact) in artifacts.items()
    )
    return (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {one_line}\n"
        f"Requires-Python: >=3.11\nRequires-Dist: hokusai-core>=0.1\n{_requirements(artifacts)}"
        f"Description-Content-Type: text/markdown\n\nSignatures of this pack:\n{listing}\n"
    )


def _requirements(artifacts: Mapping[str, tuple[Path, Artifact]]) -> str:
    """Return the distributions whose strategies and tools the signatures are answered with, as lines of metadata."""
    needed: set[str] = set()
    with PluginManager() as manager:
        for _, artifact in artifacts.values():
            choice = artifact.spec.strategy
            labels = [] if choice is None else [f"strategy {choice.name}", *(label for label, _ in choice.parts)]
            for label in labels:
                kind, _, name = label.removeprefix("reward ").partition(" ")
                owner = manager.component(kind, name).owner
                if owner is not None and owner.distribution not in (None, "hokusai-core"):
                    needed.add(f"Requires-Dist: {owner.distribution}>={owner.version}\n")
    return "".join(sorted(needed))


def write_wheel(wheel: Path, files: Mapping[str, bytes], record: str) -> None:
    """Write a wheel; the same files always give the same one.

    Args:
        wheel: its path.
        files: path in the wheel -> content.
        record: path in the wheel of the list of all files, which is made here.
    """
    lines = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items()]
    content = {**files, record: "".join([*lines, f"{record},,\n"]).encode()}
    draft = wheel.with_suffix(".part")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in content.items():
                entry = zipfile.ZipInfo(path, _EPOCH)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, data)
        os.replace(draft, wheel)
    finally:
        draft.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
