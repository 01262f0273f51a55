"""Comparisons with the report of an earlier evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError
from hokusai_evaluate import evaluate

MakeExecutor = Callable[..., Executor]


@pytest.fixture
def before(make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path) -> Path:
    """The report of a model that is wrong about every login."""
    path = tmp_path / "before.json"
    evaluate(make_executor(router("login")), "Route", tickets, metric=["accuracy", "macro_f1"]).save(path)
    return path


def test_rows_are_paired_without_a_call_of_the_earlier_system(
    make_executor: MakeExecutor, router: Any, tickets: Path, before: Path
) -> None:
    found = evaluate(make_executor(router("crash number 1")), "Route", tickets, metric="accuracy", against=str(before))
    (pair,) = found.comparisons
    assert (pair.label, pair.against) == ("Route", "before.json")
    assert (pair.before, pair.after, pair.wins, pair.losses, pair.ties) == (0.75, 0.975, 10, 1, 29)
    assert pair.verdict == "better"
    assert [(one.label, one.against) for one in found.systems] == [("Route", False), ("before.json", True)]
    assert "before.json (against)" in str(found)
    asked_twice = evaluate(
        make_executor(router("crash number 1", name="null/new")),
        "Route",
        tickets,
        metric="accuracy",
        against={"lm": router("login")},
    ).comparisons[0]
    assert (pair.low, pair.high, pair.p_value) == (asked_twice.low, asked_twice.high, asked_twice.p_value)


def test_other_rows_are_paired_by_what_they_hold(
    make_executor: MakeExecutor, router: Any, tickets: Path, before: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    lines = tickets.read_text().splitlines(keepends=True)
    other.write_text("".join([*reversed(lines[:20]), '{"ticket": "refund number 99", "team": "billing"}\n']))
    found = evaluate(make_executor(router()), "Route", other, metric="accuracy", against=before)
    (pair,) = found.comparisons
    assert (pair.wins, pair.losses, pair.ties) == (5, 0, 15)
    lone = tmp_path / "lone.jsonl"
    lone.write_text('{"ticket": "refund number 99", "team": "billing"}\n')
    with pytest.raises(ConfigurationError, match="has none of these rows"):
        evaluate(make_executor(router()), "Route", lone, metric="accuracy", against=before)


def test_a_score_of_the_whole_set_is_made_of_the_kept_answers(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "macro.json"
    first = evaluate(make_executor(router("login")), "Route", tickets, metric="macro_f1")
    first.save(path)
    (pair,) = evaluate(make_executor(router()), "Route", tickets, metric="macro_f1", against=path).comparisons
    assert (pair.before, pair.after) == (first.score, 1.0)


def test_what_cannot_be_compared_with_is_refused(
    make_executor: MakeExecutor, router: Any, tickets: Path, before: Path, tmp_path: Path
) -> None:
    executor = make_executor(router())
    with pytest.raises(ConfigurationError, match="scored by accuracy and not by f1"):
        evaluate(executor, "Route", tickets, metric="f1", against=before)
    short = tmp_path / "short.json"
    short.write_text(evaluate(executor, "Route", tickets, metric="accuracy").to_json())
    with pytest.raises(ConfigurationError, match="holds only its worst rows"):
        evaluate(executor, "Route", tickets, metric="accuracy", against=short)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({**json.loads(before.read_text()), "systems": []}))
    with pytest.raises(ConfigurationError, match="no report that this version can read"):
        evaluate(executor, "Route", tickets, metric="accuracy", against=broken)


class Private(BaseSignature):
    """Route a ticket."""

    ticket: str = InputField(sensitive=True)
    team: str = OutputField()


def test_rows_with_sensitive_values_have_no_digest_and_are_paired_by_number(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "private.json"
    evaluate(make_executor(router("login")), Private, tickets, metric="accuracy").save(path)
    assert {row["key"] for row in json.loads(path.read_text())["row_reports"]} == {""}
    (pair,) = evaluate(make_executor(router()), Private, tickets, metric="accuracy", against=path).comparisons
    assert (pair.wins, pair.losses, pair.ties) == (10, 0, 30)
