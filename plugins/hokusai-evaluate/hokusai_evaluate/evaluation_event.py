"""The event that tells trackers and hooks of an evaluation."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict

from hokusai_core.plugin_api import EvaluationFinished, jsonable
from hokusai_evaluate.evaluation_figures import RowReport
from hokusai_evaluate.evaluation_report import Evaluation

__all__ = ["event_of"]

#: Rows that an event carries: those that people look at.
_ROWS: Final = 500


def event_of(evaluation: Evaluation, target: str) -> EvaluationFinished:
    """Return the event of an evaluation.

    Args:
        evaluation: the report.
        target: qualified name of the signature, or name of the chain.
    """
    figures = evaluation.to_dict()
    figures.pop("row_reports")
    return EvaluationFinished(
        evaluation_id=uuid.uuid4().hex,
        target=target,
        digest=evaluation.digest,
        metric=evaluation.metrics[0],
        figures=jsonable(figures),
        rows=[_plain(row) for row in _chosen(evaluation)],
        cost=evaluation.spent or None,
        latency=evaluation.seconds,
        started_at=time.time() - evaluation.seconds,
    )


def _chosen(evaluation: Evaluation) -> Sequence[RowReport]:
    """Return the rows with the worst scores first; of more rows than fit the others are left out."""
    bad = evaluation.worst(_ROWS)
    seen = {row.number for row in bad}
    others = (row for row in evaluation.each_row() if row.number not in seen)
    return [*bad, *(row for row, _ in zip(others, range(_ROWS - len(bad)), strict=False))]


def _plain(row: RowReport) -> Mapping[str, Any]:
    found: Mapping[str, Any] = jsonable(asdict(row, recurse=False))
    return found
