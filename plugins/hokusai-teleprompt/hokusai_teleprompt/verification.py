"""Verify the file of an optimized signature: compute every figure of its comparison again, without a call."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from hokusai_core.cli_support.tables import aligned, printable
from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import Artifact, PluginManager, read_artifact
from hokusai_evaluate.evaluation_files import FOLDER, EvaluationFiles
from hokusai_evaluate.example_reader import example_key, keys_hash, read_examples
from hokusai_evaluate.scorecards import read_scorecards
from hokusai_teleprompt.certificate import certificate_versions, demos_digest
from hokusai_teleprompt.certificate_rows import with_rows
from hokusai_teleprompt.held_out_comparison import HeldOutResult, compare_held_out
from hokusai_teleprompt.pack_builder import SIGNATURES
from hokusai_teleprompt.recorded_answers import RecordedAnswers, read_answers
from hokusai_teleprompt.report import Report

__all__ = ["Check", "Verification", "verify"]

#: Figures that are no more different than this are the same: the last digits of a sum depend on the machine.
_SAME: Final = 1e-9
#: Figures that no recorded answer gives: they are as reported.
_AS_REPORTED: Final = "calls, tokens, cost, time, and the scores by which candidates were chosen"


@frozen
class Check:
    """One thing that was checked.

    Args:
        what: what it is.
        passed: whether it is right.
        reported: what the file says.
        found: what was found.
    """

    what: str
    passed: bool
    reported: str = ""
    found: str = ""


@frozen
class Verification:
    """The result of ``verify``.

    Args:
        signature: name and version of the signature.
        digest: digest of the content of the file.
        certified: whether the file has a certificate.
        checks: what was checked.
        rows: held-out rows.
        from_answers: recorded answers whose scores were computed again by the metric.
        from_scores: recorded scores that were taken as they are, because the metric or a value is not to be had.
        notes: why, and what was not checked.

    ``str(verification)`` is what the command prints.
    """

    signature: str
    digest: str
    certified: bool
    checks: tuple[Check, ...]
    rows: int = 0
    from_answers: int = 0
    from_scores: int = 0
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing that was checked is wrong."""
        return all(check.passed for check in self.checks)

    @property
    def complete(self) -> bool:
        """Whether every score was computed again. Scores that were taken as recorded prove less."""
        return self.certified and not self.from_scores

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able data."""
        return {"passed": self.passed, "complete": self.complete, **asdict(self)}

    def __str__(self) -> str:
        wrong = sum(not check.passed for check in self.checks)
        table = [
            (
                "ok" if check.passed else "WRONG",
                check.what,
                check.reported,
                "" if check.passed else f"found {check.found}",
            )
            for check in self.checks
        ]
        lines = [f"{self.signature}, digest {self.digest}", *aligned(table)]
        if self.certified:
            lines.append(
                f"{self.rows} held-out rows: {self.from_answers} scores computed again from recorded answers, "
                f"{self.from_scores} taken as recorded"
            )
        lines += [f"note: {note}" for note in self.notes]
        verdict = "verified" if self.complete else "nothing is wrong, but not every score could be computed again"
        if not self.certified:
            verdict = "no certificate: the figures of its report cannot be computed again"
        lines.append(f"{wrong} of {len(self.checks)} checks failed" if wrong else verdict)
        return "\n".join(map(printable, lines))


def verify(
    path: str | os.PathLike[str],
    *,
    digest: str | None = None,
    data: Sequence[str | os.PathLike[str]] = (),
    inputs: Mapping[str, Any] | None = None,
    mapping: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    metric: Any = None,
    plugins: PluginManager | None = None,
) -> Verification:
    """Compute every figure of the comparison in the file of an optimized signature again. No language model is called.

    Args:
        path: the file.
        digest: the digest that the file is to have, or the first 16 characters or more of it; None for that of its
            scorecard, if there is one.
        data: files with the examples of the optimization, which are then checked to be those of the certificate.
        inputs: inputs that all examples have alike, as for ``TelepromptFineTuner.compile``.
        mapping: column -> field, as there.
        delimiter: what separates the columns of CSV files, as there.
        metric: the metric, where it was given as an object or a function; None for the one that is named.
        plugins: where metrics are looked up by name; None for those that are installed.

    Raises:
        ArtifactError: the file cannot be used, or was changed without a new checksum.
        ConfigurationError: a file with data cannot be read.
        InputError: rows of the data do not fit the signature.

    Example::

        verification = verify("better.json", digest="1f3a5b...", data=["mail.jsonl"])
        assert verification.passed and verification.complete
    """
    artifact = read_artifact(path)
    found = artifact.digest
    checks = list(_digest_checks(artifact, Path(path), digest, found))
    signature = f"{artifact.spec.name} {artifact.spec.version}"
    if artifact.certificate is None:
        return Verification(signature, found, certified=False, checks=tuple(checks))
    certificate = with_rows(artifact, path).certificate or {}
    report = Report.from_dict(artifact.report)
    examples = _examples(artifact, data, mapping=mapping, constants=inputs, delimiter=delimiter)
    with nullcontext(plugins) if plugins is not None else PluginManager() as known:
        try:
            answers = read_answers(artifact.base, certificate, report, examples, metric, known)
            checks += _data_checks(artifact, certificate, report, answers)
            checks += _figures(report, answers, artifact)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: its certificate cannot be read: {type(error).__name__}: {error}") from error
    notes = [*answers.notes, f"not computed again: {_AS_REPORTED}", *_other_versions(certificate)]
    counts = (len(answers.examples), answers.from_answers, answers.from_scores)
    return Verification(signature, found, True, tuple(checks), *counts, tuple(notes))


def _digest_checks(artifact: Artifact, path: Path, given: str | None, found: str) -> Iterator[Check]:
    """Yield whether the content is that of the digest that was given, or else that of the scorecard."""
    if given is not None:
        wanted = given.strip().lower()
        yield Check("digest", len(wanted) >= 16 and found.startswith(wanted), wanted, found)
        return
    # Beside the file, or in the pack that it is part of.
    folders = [path.parent / FOLDER, *([path.parent.parent / FOLDER] if path.parent.name == SIGNATURES else [])]
    files = [file for folder in folders for file in EvaluationFiles(artifact.spec.name, folder).scorecards]
    for card in (card for file in files for card in read_scorecards(file) if card.artifact):
        yield Check(f"digest of the scorecard of {card.model}", card.artifact == found, card.artifact, found)


def _examples(artifact: Artifact, data: Sequence[str | os.PathLike[str]], **options: Any) -> dict[str, Any] | None:
    """Return the examples of files by their keys, None where there are no files."""
    if not data:
        return None
    read = [read_examples(artifact.base, path, str(path), **options) for path in data]
    return {example_key(example): example for examples in read for example in examples.items}


def _data_checks(
    artifact: Artifact, certificate: Mapping[str, Any], report: Report, answers: RecordedAnswers
) -> Iterator[Check]:
    held_by = {certificate["baseline"]: "baseline", certificate["candidate"]: "candidate"}
    mine = artifact.spec.fingerprint
    yield Check("fingerprint", mine in held_by, " or ".join(held_by), mine)
    if mine == certificate["candidate"]:
        yield Check(
            "demos", certificate["demos"] == demos_digest(artifact.spec), certificate["demos"][:16], "other demos"
        )
    if artifact.promoted:
        yield Check("what is promoted", mine == certificate["candidate"], "candidate", held_by.get(mine, "neither"))
    parts = certificate["data"]
    sizes = {name: report.sizes.get(name) for name in ("train", "dev", "test")}
    yield Check("held-out rows", sizes["test"] == len(answers.examples), str(sizes["test"]), str(len(answers.examples)))
    yield Check("digest of the data", report.dataset_hash == artifact.dataset_hash, report.dataset_hash, "two digests")
    if parts is None:
        return
    lists = [parts[name] for name in ("train", "dev", "test")]
    found = keys_hash(*lists)
    yield Check("digest of the examples", found == report.dataset_hash, report.dataset_hash, found)
    counts = {name: len(parts[name]) for name in sizes}
    yield Check("sizes of the sets", counts == sizes, str(sizes), str(counts))
    learned, held_out = {*lists[0], *lists[1]}, set(lists[2])
    twice = len(learned & held_out) + len(lists[2]) - len(held_out)
    yield Check("held-out rows apart from the others", twice == 0, "0 shared", f"{twice} shared")
    if answers.missing is not None:
        yield Check("examples in the data", not answers.missing, "all", f"{answers.missing} are not in it")
    if answers.other_outputs is not None:
        yield Check(
            "expected outputs as in the data", not answers.other_outputs, "all", f"{answers.other_outputs} others"
        )


def _figures(report: Report, answers: RecordedAnswers, artifact: Artifact) -> Iterator[Check]:
    yield Check("scores of the answers", not answers.wrong, f"{answers.from_answers} recorded", _rows(answers.wrong))
    result = compare_held_out(
        artifact.base,
        answers.metric,
        answers.examples,
        *answers.measured,
        rule=answers.rule,
        seed=answers.seed,
        refusals=answers.refusals,
        keys=answers.keys,
        lost_labels=answers.lost_labels,
    )
    yield Check("seed", report.seed == answers.seed, str(report.seed), str(answers.seed))
    yield from _comparison(report, result, answers)
    yield Check("answers that did not fit", report.invalid == result.invalid, str(report.invalid), str(result.invalid))
    yield Check("verdict", report.verdict == result.decision.text, report.verdict, result.decision.text)
    promoted = result.decision.promoted
    yield Check("promoted", report.promoted == artifact.promoted == promoted, str(artifact.promoted), str(promoted))
    yield Check("examples needed", report.examples_needed == result.decision.examples_needed)
    if answers.lost_labels is None:
        shown = tuple(label for label in result.labels if label.field not in artifact.base.sensitive)
        yield Check("labels", report.labels == shown, f"{len(report.labels)} labels", "other figures")


def _comparison(report: Report, result: HeldOutResult, answers: RecordedAnswers) -> Iterator[Check]:
    comparison = result.comparison
    if comparison is None:
        yield Check("comparison", report.improvement is None, str(report.improvement), "nothing to compare")
        return
    paired = comparison.paired
    yield Check(
        "metric", report.metric.get("name") == answers.metric_name, str(report.metric.get("name")), answers.metric_name
    )
    if not answers.aggregate_is_lost:
        yield _number("score of the baseline", report.baseline_score, comparison.baseline)
        yield _number("score of the candidate", report.candidate_score, comparison.candidate)
        yield _number("improvement", report.improvement, paired.difference)
        low, high = report.interval or (None, None)
        yield _number("interval, lower end", low, paired.low)
        yield _number("interval, upper end", high, paired.high)
        yield _number("confidence", report.confidence, paired.confidence)
        yield _number("p-value", report.p_value, paired.p_value)
        yield Check("test", report.test == paired.test, str(report.test), paired.test)
    wrong = [
        number
        for number, pair in enumerate(zip(report.examples, comparison.examples, strict=False), 1)
        if not _same_row(*pair)
    ]
    if len(report.examples) != len(comparison.examples):
        wrong.append(min(len(report.examples), len(comparison.examples)) + 1)
    yield Check("wins, losses, ties", not wrong, f"{report.wins}, {report.losses}, {report.ties}", _rows(wrong))


def _same_row(reported: Any, found: Any) -> bool:
    scores = ((reported.baseline, found.baseline), (reported.candidate, found.candidate))
    return (reported.key, reported.outcome) == (found.key, found.outcome) and all(_same(*pair) for pair in scores)


def _number(what: str, reported: float | None, found: float | None) -> Check:
    return Check(what, _same(reported, found), _shown(reported), _shown(found))


def _same(reported: float | None, found: float | None) -> bool:
    if reported is None or found is None:
        return reported is found
    return math.isclose(reported, found, rel_tol=_SAME, abs_tol=_SAME)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _rows(numbers: Sequence[int]) -> str:
    return f"another in row {', '.join(map(str, numbers[:10]))}" + (" and more" if len(numbers) > 10 else "")


def _other_versions(certificate: Mapping[str, Any]) -> Iterator[str]:
    made, here = certificate["versions"], certificate_versions()
    others = [f"{name} {made.get(name)}, here {version}" for name, version in here.items() if made.get(name) != version]
    if others:
        yield f"made with {'; '.join(others)}"
