"""ReportFolder: the reports of evaluations and optimizations in a folder.

Evaluations are files that ``hokusai evaluate --output`` or ``Evaluation.save`` has written; optimizations are files of
optimized signatures. Clients name a report by its id, never by a path.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from hokusai_core import read_artifact
from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import jsonable
from hokusai_serve.evaluation_plot import evaluation_svg
from hokusai_serve.problems import Problem
from hokusai_teleprompt import Report

__all__ = ["ReportFolder"]

#: Bytes of a report that are read at most.
_LARGEST: Final = 50_000_000
#: Rows of an evaluation that are shown.
_WORST: Final = 20


@frozen
class _Saved:
    """A report that was read.

    Args:
        stamp: time and size of its file, which tell whether it was written again.
        kind: ``evaluation`` or ``optimization``.
        summary: what a list tells of it.
        content: what is shown of it.
        plot: its plot as SVG.
    """

    stamp: tuple[int, int]
    kind: str
    summary: Mapping[str, Any]
    content: Mapping[str, Any]
    plot: str


class ReportFolder:
    """Reads the reports in a folder; its methods block.

    Args:
        folder: the folder, None for none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read: dict[str, _Saved] = {}

    def list(self) -> Sequence[dict[str, Any]]:
        """Return what there is, the latest first."""
        with self._lock:
            found = [
                {"id": report_id, "kind": saved.kind, "modified_at": saved.stamp[0] / 1e9, **saved.summary}
                for report_id, saved in self._saved()
            ]
        return sorted(found, key=lambda item: -item["modified_at"])

    def show(self, report_id: str) -> dict[str, Any]:
        """Return a report.

        Raises:
            Problem: there is none of that id.
        """
        saved = self._find(report_id)
        return {"id": report_id, "kind": saved.kind, **saved.summary, "report": saved.content}

    def plot(self, report_id: str) -> str:
        """Return the plot of a report as SVG.

        Raises:
            Problem: there is no report of that id.
        """
        return self._find(report_id).plot

    def _find(self, report_id: str) -> _Saved:
        with self._lock:
            found = dict(self._saved()).get(report_id)
        if found is None:
            raise Problem(404, "report-not-found", "there is no report of that id")
        return found

    def _saved(self) -> Iterator[tuple[str, _Saved]]:
        """Yield id and report of every file that holds one; each file is read once for each time that it is written."""
        for path in sorted(self._folder.glob("*.json")) if self._folder is not None else ():
            try:
                status = path.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                kept = self._read.get(path.name)
                if kept is None or kept.stamp != stamp:
                    if not path.is_file() or status.st_size > _LARGEST:
                        continue
                    self._read[path.name] = kept = _read(path, stamp)
            except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                continue  # a file of another kind, or of a newer version
            yield hashlib.sha256(path.name.encode()).hexdigest()[:16], kept


def _read(path: Path, stamp: tuple[int, int]) -> _Saved:
    data = json.loads(path.read_text(encoding="utf-8"))
    if "row_reports" in data:
        return _evaluation(path, data, stamp)
    try:
        return _optimization(path, stamp)
    except ArtifactError as error:
        raise ValueError(str(error)) from error


def _evaluation(path: Path, data: Mapping[str, Any], stamp: tuple[int, int]) -> _Saved:
    metric = data["metrics"][0]
    score = data["systems"][0]["scores"][metric]["value"]
    summary = {"title": data["target"], "file": path.name, "metric": metric, "score": score}
    shown = {name: value for name, value in data.items() if name != "row_reports"}
    label, sign = data["systems"][0]["label"], 1 if data["higher_is_better"] else -1
    scored = [row for row in data["row_reports"] if row["scores"].get(label) is not None]
    worst = sorted(scored, key=lambda row: sign * row["scores"][label])[:_WORST]
    return _Saved(stamp, "evaluation", summary, {**shown, "worst": worst}, evaluation_svg(data))


def _optimization(path: Path, stamp: tuple[int, int]) -> _Saved:
    artifact = read_artifact(path)
    report = Report.from_dict(artifact.report)
    summary = {
        "title": artifact.base_name,
        "file": path.name,
        "metric": str(report.metric.get("name", "score")),
        "score": report.candidate_score,
        "promoted": artifact.promoted,
    }
    content = {
        **jsonable(report.figures()),
        "table": report.table(),
        "instructions": {"before": artifact.base.instructions, "after": artifact.spec.instructions},
        "demos": len(artifact.spec.demos),
    }
    return _Saved(stamp, "optimization", summary, content, report.to_svg())
