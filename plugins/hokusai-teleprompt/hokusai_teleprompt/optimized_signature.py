"""OptimizedSignature: a signature with the report of its optimization."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from attrs import evolve

from hokusai_core import BaseSignature
from hokusai_core.errors import ArtifactError, OptimizationError, SignatureDefinitionError
from hokusai_core.plugin_api import (
    Artifact,
    Candidate,
    PredictorState,
    SignatureSpec,
    read_artifact,
    with_predictor_states,
)
from hokusai_teleprompt.certificate_rows import rows_file, with_rows, write_artifact
from hokusai_teleprompt.chain_programs import with_programs
from hokusai_teleprompt.report import Report

__all__ = ["OptimizedSignature", "candidate_spec", "load_optimized", "make_optimized", "with_report"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(.*)", re.S)


class OptimizedSignature(BaseSignature):
    """What ``TelepromptFineTuner.compile`` returns: a signature like any other, with its report.

    Attributes:
        report: how it compares with the signature that it was made from.
        promoted: whether it was found to be better. If not, this is the signature as it was, unless there were too few
            examples to hold any out.
        candidate: the best candidate, where this is the signature as it was; None otherwise.
        artifact: the content of its file.
        program: the ``dspy.Module`` that it gives instructions and demos for, itself unchanged; None for one call, or
            where the program is found by its registered name.
        demos: the few-shot examples that it shows.
        fingerprint: hash over its fields, types, instructions and demos.
        provenance: what it was made from and how.
    """

    report: ClassVar[Report]
    promoted: ClassVar[bool]
    candidate: ClassVar[type[OptimizedSignature] | None]
    artifact: ClassVar[Artifact]
    program: ClassVar[Any]
    demos: ClassVar[tuple[Mapping[str, Any], ...]]
    fingerprint: ClassVar[str]
    provenance: ClassVar[Mapping[str, Any]]

    @classmethod
    def save(cls, path: str | os.PathLike[str]) -> Path:
        """Write the signature and its report to one JSON file, and return its path.

        Recorded answers of more than 200 kB go into ``NAME.answers.jsonl`` beside it.

        Raises:
            SignatureDefinitionError: a value in it has no JSON form.
        """
        return write_artifact(cls.artifact, path)


def make_optimized(
    spec: SignatureSpec,
    report: Report,
    *,
    base: SignatureSpec,
    base_name: str,
    program: Any = None,
    candidate: type[OptimizedSignature] | None = None,
    certificate: Mapping[str, Any] | None = None,
) -> type[OptimizedSignature]:
    """Return an optimized signature.

    Args:
        spec: the signature.
        report: its report.
        base: what it was made from.
        base_name: the name of ``base``.
        program: the ``dspy.Module`` that runs it; None for one call, or a strategy.
        candidate: the best candidate, where that is another signature.
        certificate: what the figures of the report can be computed from again; None where nothing was compared.
    """
    artifact = Artifact(
        spec=spec,
        base=base,
        base_name=base_name,
        report=_saved(report),
        promoted=report.promoted,
        dataset_hash=report.dataset_hash,
        certificate=certificate,
    )
    return _made(artifact, report, candidate, program)


def with_report(optimized: type[OptimizedSignature], report: Report) -> type[OptimizedSignature]:
    """Return an optimized signature, and its best candidate, with another report."""
    candidate = optimized.candidate
    changed = evolve(optimized.artifact, report=_saved(report))
    return _made(
        changed, report, None if candidate is None else with_report(candidate, report), vars(optimized)["program"]
    )


def _saved(report: Report) -> dict[str, Any]:
    """Return the part of a report that files hold: files are passed on, so texts of examples are not in it."""
    return evolve(report, differing=()).to_dict()


def load_optimized(
    path: str | os.PathLike[str], *, base: type[BaseSignature] | SignatureSpec | None = None, program: Any = None
) -> type[OptimizedSignature]:
    """Return the optimized signature in a file.

    Args:
        path: the file.
        base: the signature that it is meant for. A file that was made from another one is refused.
        program: the ``dspy.Module`` that the instructions and demos of a program are for; it is not changed. None for
            the program that is registered under the name. Of a chain, the module of its step, or a mapping of
            registered names to modules, if there are several. Nothing is ever imported because a file names it.

    Raises:
        ArtifactError: the file cannot be used; says why, and how ``base`` or the predictors of ``program`` differ.
    """
    artifact = read_artifact(path)
    answers = rows_file(artifact, path)
    if answers is not None and answers.is_file():  # so that it can be saved elsewhere with them
        artifact = with_rows(artifact, path)
    if base is not None:
        artifact.check_base(base if isinstance(base, SignatureSpec) else base.spec)
    try:
        report = Report.from_dict(artifact.report)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if program is not None and artifact.spec.strategy is not None:
        return _made(evolve(artifact, spec=with_programs(artifact.spec, program)), report, None, None)
    if program is not None:
        with_predictor_states(program, artifact.spec.predictors, artifact.spec.name)
    return _made(artifact, report, None, program)


def _made(
    artifact: Artifact, report: Report, candidate: type[OptimizedSignature] | None, program: Any
) -> type[OptimizedSignature]:
    spec = artifact.spec
    attributes: dict[str, Any] = {
        "report": report,
        "promoted": artifact.promoted,
        "artifact": artifact,
        "demos": spec.demos,
        "fingerprint": spec.fingerprint,
        "provenance": spec.provenance,
        "program": program,
    }
    made = cast(
        "type[OptimizedSignature]",
        BaseSignature.from_spec(spec, base=OptimizedSignature, attributes=attributes),
    )
    type.__setattr__(made, "candidate", candidate)
    return made


def instructions_of(candidate: Candidate) -> str:
    """Return the instructions of a candidate as one text, those of predictors under their names."""
    if not candidate.predictors:
        return candidate.instructions
    return "\n\n".join(f"{name}: {state.instructions}" for name, state in candidate.predictors.items())


def candidate_spec(
    base: SignatureSpec,
    candidate: Candidate,
    provenance: Mapping[str, Any],
    predictors: Mapping[str, PredictorState],
) -> SignatureSpec:
    """Return the signature of a candidate: new instructions and demos, the next version, its provenance.

    Args:
        base: the signature as it is.
        candidate: the candidate.
        provenance: how it came about.
        predictors: the present states of the predictors of a program; empty where no program runs the signature.

    Raises:
        OptimizationError: the candidate does not fit the signature, or the predictors of the program.
    """
    if candidate.predictors.keys() != predictors.keys():
        meant, there = (", ".join(names) or "a single call" for names in (candidate.predictors, predictors))
        raise OptimizationError(f"{candidate.label or 'a candidate'} is for {meant}, but {base.name} is {there}")
    unknown = sorted({str(name) for demo in candidate.demos for name in demo} - {item.name for item in base.fields})
    if unknown:
        raise OptimizationError(
            f"{candidate.label or 'a candidate'}: its demos have unknown fields {', '.join(unknown)}"
        )
    try:
        made = base.evolve(
            instructions=base.instructions if predictors else candidate.instructions,
            demos=base.demos if predictors else candidate.demos,
            nearest_demos=candidate.nearest_demos,
            predictors=candidate.predictors,
            version=_next(base.version),
            provenance={**base.provenance, "optimized": dict(provenance)},
        ).check()
        # Written and read once, so that the signature that is measured equals the one that a file gives.
        return SignatureSpec.from_dict(made.to_dict()).evolve(fields=base.fields)
    except SignatureDefinitionError as error:
        raise OptimizationError(f"{candidate.label or 'a candidate'} makes no signature: {error}") from error


def _next(version: str) -> str:
    found = _VERSION.fullmatch(version)
    if found is None:
        return f"{version}.1"
    return f"{found[1]}.{found[2]}.{int(found[3]) + 1}{found[4]}"
