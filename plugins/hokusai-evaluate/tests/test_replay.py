"""Kept executions on another language model, compared row by row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import FeedbackGiven, KeptExecution, Usage
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import replay
from hokusai_evaluate.commands.replay_command import replay as command
from hokusai_evaluate.junit import replay_junit_xml
from hokusai_evaluate.kept_executions import find_kept, kept_sources
from hokusai_jsonl import JsonlTracker

RIGHT = {"refund": "billing", "crash": "product"}


def router(wrong: str = "never", name: str = "null/new", **options: Any) -> Any:
    """A language model that routes tickets rightly, but for those with a word in them."""

    def team(user: str) -> str:
        ticket = user.rsplit("[[ ## ticket ## ]]", 1)[1].strip().split("\n")[0]
        right = RIGHT[ticket.split()[0]]
        return ("product" if right == "billing" else "billing") if wrong in ticket else right

    return null_lm(answers={"team": team}, model=name, **options)


class Source:
    """A store that can be searched."""

    def __init__(self, *kept: KeptExecution) -> None:
        self.kept, self.closed, self.asked = kept, False, (0.0, "")

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        self.asked = since or 0.0, signature or ""
        return iter(self.kept)

    def close(self) -> None:
        self.closed = True


def kept(number: int, ticket: str, team: str = "billing", **facts: Any) -> KeptExecution:
    values: dict[str, Any] = {
        "execution_id": f"{number:032x}",
        "signature": "local/Route",
        "signature_version": "1",
        "fingerprint": "x",
        "inputs": {"ticket": ticket},
        "outputs": {"team": team},
        "model": "null/old",
        "started_at": 1000.0 + number,
        "latency": 0.5,
        "cost": 0.002,
        "usage": Usage(100, 10, 1),
    }
    return KeptExecution(**values | facts)


def correction(number: int, team: str) -> tuple[FeedbackGiven, ...]:
    return (FeedbackGiven(f"{number:032x}", "local/Route", 1, {"team": team}, None, "ada", 1.0),)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(plugins=["evaluate", "teleprompt", "jsonl"], cache_enabled=False, environ={}) as executor:
        executor.register_signature("Route", "ticket -> team: Literal['billing', 'product']")
        yield executor


def test_agreement_cost_and_latency(executor: Executor) -> None:
    rows = [kept(number, f"{'refund' if number % 2 else 'crash'} {number}") for number in range(20)]
    source = Source(*rows)
    result = replay(executor, lm=router(), since=900.0, signature="Route", sources={"source": source})
    assert source.asked == (900.0, "Route")
    assert not source.closed  # it is the caller's
    (part,) = result.signatures
    assert (part.kept, part.left_out, part.corrected) == (20, {}, None)
    assert part.agreement is not None
    assert part.agreement.score == 0.5  # the crashes were routed wrongly
    (pair,) = part.agreement.comparisons
    assert (pair.label, pair.against, pair.wins, pair.losses, pair.ties) == ("null/new", "null/old (kept)", 0, 10, 10)
    assert part.cost is not None
    assert (part.cost.before, part.cost.after, part.cost.rows) == pytest.approx((0.002, 0.0, 20))
    assert part.cost.low <= part.cost.difference <= part.cost.high < 0
    assert part.latency is not None
    assert part.latency.before == pytest.approx(0.5)
    assert part.latency.high < 0
    assert "10 losses" in str(result)
    assert "cost: kept $0.002000, now $0.000000, difference -$0.002000" in str(result)
    assert json.loads(result.to_json(rows=True))["signatures"][0]["agreement"]["row_reports"]


def test_corrections_are_the_gold(executor: Executor) -> None:
    rows = [kept(number, f"crash {number}", feedback=correction(number, "product")) for number in range(10)]
    others = [kept(number, f"refund {number}") for number in range(10, 14)]
    result = replay(executor, lm=router(wrong="crash 3"), sources={"source": Source(*rows, *others)})
    (part,) = result.signatures
    assert part.corrected is not None
    assert part.agreement is not None
    (pair,) = part.corrected.comparisons
    assert (pair.before, pair.after, pair.wins, pair.losses) == (0.0, 0.9, 9, 0)
    assert pair.low > 0
    assert pair.verdict == "better"
    assert (part.agreement.rows, part.agreement.score) == (4, 1.0)


class Secret(BaseSignature):
    """Answer."""

    name: str = InputField(sensitive=True)
    answer: str = OutputField()


def test_what_cannot_be_run_again_is_counted_by_its_reason(executor: Executor) -> None:
    executor.register_signature("Secret", Secret)
    rows = [
        kept(1, "refund 1"),
        kept(2, "refund 1"),
        kept(3, "[redacted]"),
        kept(4, "refund", status="failed", outputs={}),
        kept(5, "refund [cut", cut=("inputs.ticket",)),
        kept(6, "refund 6", inputs={}),
        kept(7, "refund 7", inputs={"other": "x"}),
        kept(8, "refund 8", team="nothing of the kind"),
        kept(9, "refund 9", outputs={"team": "[redacted]"}),
        kept(10, "refund 10", cut=("outputs.team",)),
        kept(11, "refund 11", outputs={"gone": "x"}),
        kept(12, "x", signature="other/Gone"),
        kept(13, "x", signature="local/Secret", inputs={"name": "[redacted]"}, outputs={"answer": "x"}),
    ]
    route, secret, gone = find_kept(executor, {"source": Source(*rows)}, since=None, signature=None)
    assert (gone.signature, gone.left_out) == ("other/Gone", {"the signature is not installed here": 1})
    assert secret.left_out == {"an input is sensitive and was not kept": 1}
    assert [row.execution.execution_id for row in route.rows] == [f"{2:032x}"]
    assert route.left_out == {
        "the same inputs again": 1,
        "an input is sensitive and was not kept": 1,
        "it failed": 1,
        "an input was shortened or left out where it is kept": 1,
        "its inputs were not kept": 1,
        "its inputs do not fit the signature as it is now": 1,
        "its outputs do not fit the signature as it is now": 2,
        "its outputs are sensitive and were not kept": 1,
        "its outputs were not kept as a whole": 1,
    }
    result = replay(executor, lm=router(), sources={"source": Source(*rows)})
    assert "1 left out: it failed" in str(result)
    assert [part.kept for part in result.signatures] == [11, 1, 1]


def test_rows_that_could_not_be_asked(executor: Executor) -> None:
    rows = [kept(number, f"refund {number}") for number in range(20)]
    result = replay(executor, lm=router(fail_first=3), sources={"source": Source(*rows)}, max_workers=1)
    assert not result.complete
    assert result.signatures[0].agreement is not None
    assert result.signatures[0].agreement.systems[0].unanswered == {"LanguageModelError": 3}


def test_figures_that_are_zero_or_one_are_not_read_as_wrong_and_right(executor: Executor) -> None:
    rows = [kept(number, f"refund {number}", cost=0.0, latency=1.0) for number in range(6)]
    (part,) = replay(executor, lm=router(), sources={"source": Source(*rows)}).signatures
    assert part.cost is not None
    assert (part.cost.difference, part.cost.low, part.cost.high) == (0.0, 0.0, 0.0)


def test_sources_that_know_the_same_execution(executor: Executor) -> None:
    tracked, rated = (
        kept(1, "refund 1"),
        kept(1, "refund 1", latency=None, cost=None, feedback=correction(1, "product")),
    )
    (found,) = find_kept(executor, {"a": Source(rated), "b": Source(tracked)}, since=None, signature=None)
    (row,) = found.rows
    assert row.corrected
    assert (row.execution.latency, row.execution.cost) == (0.5, 0.002)


def test_gates(executor: Executor) -> None:
    rows = [kept(number, f"crash {number}", feedback=correction(number, "product")) for number in range(10)]
    others = [kept(number, f"refund {number}") for number in range(10, 14)]

    def gates(lm: Any, *executions: KeptExecution, **asked: Any) -> dict[tuple[str, str], bool]:
        result = replay(executor, lm=lm, sources={"source": Source(*executions)})
        xml = ElementTree.fromstring(replay_junit_xml(result, found := result.check(**asked)))
        assert xml.get("failures") == str(sum(not gate.passed for gate in found))
        return {(gate.label, gate.name): gate.passed for gate in found}

    name, agreement = "local/Route", "local/Route (agreement)"
    passed = {(name, "complete"): True, (agreement, "complete"): True}
    assert gates(router(), *rows, *others) == passed
    found = gates(router(wrong="crash 3"), *rows, *others, min_score=0.95, max_regression=0.0)
    assert found == passed | {(name, "score"): False, (agreement, "score"): True, (name, "regression"): True}
    right = [kept(number, f"crash {number}", "product", feedback=correction(number, "product")) for number in range(10)]
    assert gates(router(wrong="crash"), *right, max_regression=0.1)[name, "regression"] is False
    for undecided in ("pass", "fail"):  # no output was corrected
        verdict = gates(router(), *others, max_regression=0.1, undecided=undecided)[name, "regression"]
        assert verdict is (undecided == "pass")
    gone = kept(1, "refund", signature="other/Gone")
    assert gates(router(), gone) == {("other/Gone", "complete"): True}
    assert gates(router(), gone, min_score=0.5) == {("other/Gone", "complete"): False}


def test_a_killed_replay_goes_on(executor: Executor, tmp_path: Path) -> None:
    rows = [kept(number, f"{'refund' if number % 2 else 'crash'} {number}") for number in range(30)]

    def run(lm: Any, **options: Any) -> Any:
        journal = tmp_path / "replay.journal"
        return replay(executor, lm=lm, sources={"source": Source(*rows)}, journal=journal, max_workers=1, **options)

    def stop(what: str, done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    first, second, third = router(), router(), router()
    with pytest.raises(KeyboardInterrupt):
        run(first, progress=stop)
    report = run(second)
    assert 0 < second.engine.calls == len(rows) - 12
    assert report.signatures[0].agreement.systems[0].reused == 12
    assert report.signatures[0].agreement.score == run(third, metric="f1").signatures[0].agreement.score
    assert third.engine.calls == 0


def test_the_latest_ones(executor: Executor) -> None:
    rows = [kept(number, f"refund {number}") for number in range(9)]
    lm = router()
    result = replay(executor, lm=lm, sources={"source": Source(*rows)}, sample=4)
    assert lm.engine.calls == 4
    assert result.signatures[0].left_out == {"more than were asked for": 5}
    with pytest.raises(ConfigurationError, match="sample"):
        replay(executor, lm=lm, sources={"source": Source(*rows)}, sample=0)


def test_where_nothing_is_kept(executor: Executor) -> None:
    with pytest.raises(ConfigurationError, match=r"HOKUSAI_TRACKERS=mlflow.*collect_feedback"):
        replay(executor, lm=router(), sources={"source": Source()})
    with (
        Executor(plugins=["evaluate"], environ={}) as bare,
        pytest.raises(ConfigurationError, match="keeps executions"),
    ):
        kept_sources(bare)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes executions which a file and a feedback store keep."""
    monkeypatch.setenv("HOKUSAI_JSONL_PATH", str(tmp_path / "executions.jsonl"))
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOKUSAI_PLUGINS", "evaluate, jsonl, teleprompt")
    monkeypatch.setenv("HOKUSAI_PROMOTIONS", "false")

    def record(**options: Any) -> None:
        lm = router(wrong="crash", name="null/old")
        with Executor(lm=lm, trackers=["jsonl"], cache_enabled=False) as executor:
            executor.register_signature("Route", "ticket -> team: Literal['billing', 'product']")
            for number in range(6):
                ticket = f"{'refund' if number % 2 else 'crash'} {number}"
                executor.execute_signature("Route", {"ticket": ticket}, **options)

    return record


def test_trackers_and_feedback_stores_are_searched(executor: Executor, recorded: Any) -> None:
    began = time.time()
    recorded(collect_feedback=True)
    for names in (("jsonl",), ("feedback",), ("jsonl", "feedback"), ()):
        sources = kept_sources(executor, names)
        assert set(sources) == set(names or ("jsonl", "feedback"))
        result = replay(executor, lm=router(), sources=sources, since=began, signature="Route")
        (part,) = result.signatures
        assert part.kept == 6
        assert part.agreement is not None
        assert part.agreement.score == 0.5
        assert (part.latency is None) == (names == ("feedback",))
        with pytest.raises(ConfigurationError, match="no execution"):
            replay(executor, lm=router(), sources=sources, since=time.time() + 60)
        for source in sources.values():
            source.close()


def test_feedback_in_a_file_of_executions(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "executions.jsonl")
    with Executor(lm=router(), plugins=["teleprompt"], trackers={"jsonl": tracker}, environ={}) as executor:
        executor.register_signature("Route", "ticket -> team")
        result = executor.execute_signature("Route", {"ticket": "refund 1"})
        executor.feedback_given(
            FeedbackGiven(result.execution_id, "local/Route", 2, {"team": "product"}, None, "ada", time.time())
        )
    (one,) = tracker.search(signature="local/Route")
    assert one.current[0].corrections == {"team": "product"}
    assert one.usage is not None
    assert (one.status, one.usage.input_tokens) == ("ok", 10)
    assert list(tracker.search(signature="Other")) == []
    assert list(JsonlTracker(tmp_path / "none.jsonl").search()) == []


def test_exit_codes_of_the_command(recorded: Any, tmp_path: Path) -> None:
    recorded()
    arguments = ["--since", "1h", "--lm", "openai/not-asked", "--from", "jsonl"]
    junit = tmp_path / "gates.xml"
    result = CliRunner().invoke(command, [*arguments, "--min", "0.5", "--junit", str(junit)])
    assert result.exit_code == 3
    assert "none of its 6 executions could be run again" in result.stderr
    assert ElementTree.parse(junit).getroot().get("failures") == "1"
    assert CliRunner().invoke(command, [*arguments, "--junit", str(tmp_path / "no" / "x.xml")]).exit_code == 1


def test_the_command(recorded: Any, tmp_path: Path) -> None:
    recorded()
    output = tmp_path / "report.json"
    arguments = ["--since", "1h", "--lm", "openai/not-asked", "--from", "jsonl", "-o", str(output), "--json"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    (part,) = json.loads(result.stdout)["signatures"]
    assert part["left_out"] == {"the signature is not installed here": 6}  # it was registered in another process
    assert json.loads(output.read_text())["model"] == "openai/not-asked"
    wrong = CliRunner().invoke(command, ["--since", "soon", "--lm", "x"])
    assert wrong.exit_code == 2
    assert "7d" in wrong.output
