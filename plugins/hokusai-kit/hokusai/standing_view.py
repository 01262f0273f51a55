"""How good a signature was measured to be, as ``hokusai show`` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from hokusai_core.cli_support.tables import print_table, printable, section

if TYPE_CHECKING:
    from hokusai_evaluate.evaluation_figures import ScoreReport
    from hokusai_evaluate.standing import CheckedCard, Standing

__all__ = ["print_standing", "standing_record"]


def print_standing(standing: Standing) -> None:
    """Print the evaluation set and the scorecards of a signature, nothing where there are none."""
    files = standing.files
    if not standing.cards and files.data is None and not standing.problems:
        return
    section("Scores")
    if standing.cards:
        columns = ("model", "metric", "score", "rows", "failed", "data", "date", "")
        print_table(columns, [_row(checked) for checked in standing.cards])
    for checked in standing.cards:
        for change in checked.changes:
            text = f"the score no longer applies: {change.message}" if change.ends_it else change.message
            click.echo(printable(f"{checked.card.model}: {text}"))
    if standing.rows is not None and files.data is not None:
        card = f"; data card: {files.data_card}" if files.data_card is not None else ""
        click.echo(f"set: {files.data.name}, {standing.rows} rows, digest {standing.digest[:8]}{card}")
        if not standing.cards:
            click.echo(f"no score yet: hokusai evaluate {files.name} --card")
    for problem in standing.problems:
        click.echo(printable(f"warning: {problem}"), err=True)


def standing_record(standing: Standing) -> dict[str, Any]:
    """Return the evaluation set and the scorecards of a signature for scripts."""
    files = standing.files
    found = None
    if standing.rows is not None:
        card = None if files.data_card is None else str(files.data_card)
        found = {"file": str(files.data), "rows": standing.rows, "digest": standing.digest, "data_card": card}
    return {
        "evaluation_set": found,
        "scorecards": [
            {
                **asdict(checked.card),
                "file": str(checked.path),
                "applies": checked.applies,
                "changes": [asdict(change) for change in checked.changes],
            }
            for checked in standing.cards
        ],
    }


def _row(checked: CheckedCard) -> tuple[str, ...]:
    card = checked.card
    changed = "other versions" if checked.changes else ""
    return (
        card.model + (f" {card.strategy}" if card.strategy else ""),
        card.metric,
        _interval(card.score),
        str(card.rows),
        str(sum(card.failures.values())),
        card.data,
        card.date,
        changed if checked.applies else "no longer applies",
    )


def _interval(score: ScoreReport) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
