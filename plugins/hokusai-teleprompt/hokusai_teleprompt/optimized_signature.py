"""Optimized signatures: signatures that know what they were made from and how they compare with it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hokusai_core import BaseSignature
from hokusai_core.errors import ArtifactError, OptimizationError, SignatureDefinitionError
from hokusai_core.plugin_api import Artifact, Candidate, SignatureSpec, read_artifact
from hokusai_teleprompt.report import Report

__all__ = ["OptimizedSignature", "candidate_spec", "load_optimized", "make_optimized"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(.*)", re.S)


class OptimizedSignature(BaseSignature):
    """What ``TelepromptFineTuner.compile`` returns: a signature like any other, and how it came about.

    Attributes:
        report: how it compares with what there was before.
        promoted: whether the gate was passed. Where it was not, this is the signature as it was before, unless nothing
            could be held out.
        candidate: the best candidate, also where it was not promoted; None where there was none.
        artifact: all that a file holds.
        demos: the few-shot examples that it shows.
        fingerprint: hash over its fields, types, instructions and demos.
        provenance: what it was made from, with what.
    """

    report: ClassVar[Report]
    promoted: ClassVar[bool]
    candidate: ClassVar[type[OptimizedSignature] | None]
    artifact: ClassVar[Artifact]
    demos: ClassVar[tuple[Mapping[str, Any], ...]]
    fingerprint: ClassVar[str]
    provenance: ClassVar[Mapping[str, Any]]

    @classmethod
    def save(cls, path: str | os.PathLike[str]) -> Path:
        """Write the signature with all that is known of it to one JSON file, and return its path.

        Raises:
            SignatureDefinitionError: something in it has no JSON form.
        """
        return cls.artifact.write(path)


def make_optimized(
    spec: SignatureSpec,
    report: Report,
    *,
    base: SignatureSpec,
    base_name: str,
    promoted: bool,
    candidate: type[OptimizedSignature] | None = None,
) -> type[OptimizedSignature]:
    """Return an optimized signature.

    Args:
        spec: the signature.
        report: its report.
        base: what it was made from.
        base_name: the name by which that is found.
        promoted: whether it passed its gate.
        candidate: the best candidate, where that is another one.
    """
    artifact = Artifact(
        spec=spec,
        base=base,
        base_name=base_name,
        report=report.to_dict(),
        promoted=promoted,
        dataset_hash=report.dataset_hash,
    )
    return _made(artifact, report, candidate)


def load_optimized(
    path: str | os.PathLike[str], *, base: type[BaseSignature] | SignatureSpec | None = None
) -> type[OptimizedSignature]:
    """Return the optimized signature in a file.

    Args:
        path: the file.
        base: the signature that it is meant for; the file is refused where it was made from another.

    Raises:
        ArtifactError: it cannot be used; says why, and how ``base`` differs.
    """
    artifact = read_artifact(path)
    if base is not None:
        artifact.check_base(base if isinstance(base, SignatureSpec) else base.spec)
    try:
        report = Report.from_dict(artifact.report)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return _made(artifact, report, None)


def _made(artifact: Artifact, report: Report, candidate: type[OptimizedSignature] | None) -> type[OptimizedSignature]:
    spec = artifact.spec
    attributes: dict[str, Any] = {
        "report": report,
        "promoted": artifact.promoted,
        "artifact": artifact,
        "demos": spec.demos,
        "fingerprint": spec.fingerprint,
        "provenance": spec.provenance,
    }
    made: Any = BaseSignature.from_spec(spec, base=OptimizedSignature, attributes=attributes)
    type.__setattr__(made, "candidate", candidate)
    return made  # type: ignore[no-any-return]


def candidate_spec(base: SignatureSpec, candidate: Candidate, provenance: Mapping[str, Any]) -> SignatureSpec:
    """Return the signature that a candidate makes: new instructions and demos, the next version, its provenance.

    Raises:
        OptimizationError: the candidate does not fit the signature.
    """
    unknown = sorted({str(name) for demo in candidate.demos for name in demo} - {item.name for item in base.fields})
    if unknown:
        raise OptimizationError(
            f"{candidate.label or 'a candidate'}: its demos have unknown fields {', '.join(unknown)}"
        )
    try:
        made = base.evolve(
            instructions=candidate.instructions,
            demos=candidate.demos,
            nearest_demos=candidate.nearest_demos,
            version=_next(base.version),
            provenance={**base.provenance, "optimized": dict(provenance)},
        ).check()
        # Written and read once, so that what is measured is what a file would give.
        return SignatureSpec.from_dict(made.to_dict()).evolve(fields=base.fields)
    except SignatureDefinitionError as error:
        raise OptimizationError(f"{candidate.label or 'a candidate'} makes no signature: {error}") from error


def _next(version: str) -> str:
    found = _VERSION.fullmatch(version)
    if found is None:
        return f"{version}.1"
    return f"{found[1]}.{found[2]}.{int(found[3]) + 1}{found[4]}"
