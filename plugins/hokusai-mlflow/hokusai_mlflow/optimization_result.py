"""The winner of an optimization and its report, read from any of the supported forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from hokusai_core.plugin_api import Artifact, SignatureSpec, read_artifact

__all__ = ["SIGNATURE_FILE", "OptimizationResult", "Trial", "parameters_of", "result_of", "scores_of", "trials_of"]

#: Name of the artifact that holds a signature.
SIGNATURE_FILE: Final = "signature.json"
#: Key of a report -> name of a metric of the run.
_SCORES: Final = {
    "baseline_score": "baseline_score",
    "candidate_score": "winner_score",
    "improvement": "improvement",
    "p_value": "p_value",
    "calls": "calls",
    "cost": "cost",
    "seconds": "seconds",
}
_PARAMETERS: Final = ("optimizer", "model", "seed", "dataset_hash", "verdict")


@frozen
class Trial:
    """One candidate of an optimization.

    Args:
        label: how it came about.
        score: what it scored on the examples that it was chosen by, None where it was not measured.
        held_out_score: what it scored on examples that nothing was chosen by.
        instructions: its instructions.
        demos: its few-shot examples, or how many it has.
    """

    label: str
    score: float | None = None
    held_out_score: float | None = None
    instructions: str = ""
    demos: tuple[Mapping[str, Any], ...] | int = ()


@frozen
class OptimizationResult:
    """A signature that came out of an optimization.

    Args:
        spec: the signature.
        document: the document of an optimized signature, as it is saved; None where there is only the signature.
    """

    spec: SignatureSpec
    document: Mapping[str, Any] | None = field(default=None)

    @property
    def name(self) -> str:
        """The name of the signature that it is a better version of."""
        base = (self.document or {}).get("base_name")
        return base.rpartition("/")[2] if isinstance(base, str) else self.spec.name

    @property
    def promoted(self) -> bool:
        """Whether it was found to be better; True where its document does not say."""
        return bool((self.document or {}).get("promoted", True))

    @property
    def report(self) -> Mapping[str, Any]:
        """The report in its document, empty where there is none."""
        return (self.document or {}).get("report") or {}


def trials_of(report: Mapping[str, Any]) -> list[Trial]:
    """Return the candidates in a report, those that were compared in the end with their held-out scores."""
    found = []
    for number, item in enumerate(report.get("trials", ())):
        key = "candidate_score" if item.get("chosen") else None if number else "baseline_score"
        held_out = None if key is None else report.get(key)
        found.append(
            Trial(
                item.get("label", ""), item.get("score"), held_out, item.get("instructions", ""), item.get("demos", 0)
            )
        )
    return found


def scores_of(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures in a report, by the metrics that they become."""
    low, high = report.get("interval") or (None, None)
    return {name: report.get(key) for key, name in _SCORES.items()} | {"interval_low": low, "interval_high": high}


def parameters_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a report."""
    found = {name: report[name] for name in _PARAMETERS if report.get(name) is not None}
    sizes = {f"examples_{part}": count for part, count in report.get("sizes", {}).items()}
    metric = {"metric": report["metric"]["name"]} if "name" in report.get("metric", {}) else {}
    return {**found, **metric, **sizes}


def result_of(given: Any) -> OptimizationResult:
    """Return a winner.

    Args:
        given: what ``TelepromptFineTuner.compile`` returned, the path of the file that it was saved to or the document
            in it, a signature class or spec, or what ``to_dict`` returned of one.

    Raises:
        ArtifactError: the file cannot be used.
        SignatureDefinitionError: it is no valid signature.
    """
    if isinstance(given, SignatureSpec):
        return OptimizationResult(given)
    artifact = getattr(given, "artifact", None)
    if hasattr(given, "__fspath__") or isinstance(given, str):
        artifact = read_artifact(given)
    if isinstance(artifact, Artifact):
        return OptimizationResult(artifact.spec, artifact.to_dict())
    data = given if isinstance(given, Mapping) else given.to_dict()
    if "kind" in data and "signature" in data:
        return OptimizationResult(SignatureSpec.from_dict(data["signature"]), data)
    return OptimizationResult(SignatureSpec.from_dict(data))
