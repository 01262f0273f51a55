"""The recorded answers of a certificate in a file of their own, beside the artifact, where they are many."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import Artifact, atomic_write

__all__ = ["rows_file", "with_rows", "write_artifact"]

#: Bytes of rows that are kept in the artifact itself, where they can be read in a review.
_INLINE: Final = 200_000
_MOST_BYTES: Final = 60_000_000


def write_artifact(artifact: Artifact, path: str | os.PathLike[str]) -> Path:
    """Write an artifact; where its recorded answers are large, they go into ``NAME.answers.jsonl`` beside it.

    Args:
        artifact: the artifact.
        path: its file.

    Returns:
        The path of the artifact.
    """
    target, certificate = Path(path), artifact.certificate
    rows = [] if certificate is None else certificate.get("rows", [])
    content = _lines(rows)
    if certificate is None or len(content) <= _INLINE:
        return artifact.write(target)
    beside = target.with_suffix(".answers.jsonl")
    atomic_write(beside, [content])
    kept = {name: value for name, value in certificate.items() if name != "rows"}
    named = {**kept, "rows_file": beside.name, "rows_digest": hashlib.sha256(content).hexdigest()}
    return evolve(artifact, certificate=named).write(target)


def rows_file(artifact: Artifact, path: str | os.PathLike[str]) -> Path | None:
    """Return the file with the recorded answers of an artifact, None where they are in the artifact.

    Args:
        artifact: the artifact.
        path: its file.

    Raises:
        ArtifactError: the name leads out of the folder.
    """
    name = (artifact.certificate or {}).get("rows_file")
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".jsonl"):
        raise ArtifactError(f"{path}: its certificate names {name!r}, which is not the name of a file beside it")
    return Path(path).parent / name


def with_rows(artifact: Artifact, path: str | os.PathLike[str]) -> Artifact:
    """Return an artifact with its recorded answers, read from the file beside it where they are there.

    Args:
        artifact: the artifact.
        path: its file.

    Raises:
        ArtifactError: the file is missing, or was changed after it was written.
    """
    beside, certificate = rows_file(artifact, path), artifact.certificate
    if beside is None or certificate is None:
        return artifact
    try:
        with beside.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{beside}: the recorded answers cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != certificate.get("rows_digest"):
        raise ArtifactError(f"{beside}: was changed after it was written (its digest is not that of the certificate)")
    try:
        rows = [json.loads(line) for line in content.splitlines()]
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{beside}: is not JSON: {error}") from error
    kept = {name: value for name, value in certificate.items() if name not in ("rows_file", "rows_digest")}
    return evolve(artifact, certificate={**kept, "rows": rows})


def _lines(rows: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in rows)
