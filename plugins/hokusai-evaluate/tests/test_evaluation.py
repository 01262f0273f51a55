"""Evaluations from Python: scores, comparisons, failures, the journal."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import RateLimitError

from hokusai_core import BaseSignature, Budget, Executor, InputField, ModelPolicy, OutputField, SignatureChain
from hokusai_core.errors import (
    BudgetExceeded,
    ConfigurationError,
    InputError,
    JournalError,
    LanguageModelError,
    OptimizationError,
)
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from hokusai_evaluate.measurement import _share
from hokusai_evaluate.metrics.quality_score import QualityScore
from tests.warm_python import WarmPython

MakeExecutor = Callable[..., Executor]


def test_scores_slices_and_worst_rows(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    found = evaluate(make_executor(router("login")), "Route", tickets, metric=["accuracy", "macro_f1"], by="language")
    assert (found.rows, found.score, found.complete, found.metrics) == (40, 0.75, True, ("accuracy", "macro_f1"))
    (system,) = found.systems
    accuracy = system.scores["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 0.75 < accuracy.high
    assert system.scores["macro_f1"].value == pytest.approx((2 * 20 / 50 + 2 * 10 / 30) / 2)
    assert {value: score.rows for value, score in system.slices.items()} == {"en": 20, "de": 20}
    assert (system.input_tokens, system.output_tokens, system.cost) == (10, 5, 0)
    assert system.latency_p50 is not None
    assert system.latency_p95 is not None
    assert system.latency_p50 <= system.latency_p95
    assert found.notes == ()
    worst = found.worst(3)
    assert [row.number for row in worst] == [4, 8, 12]
    assert worst[0].expected == {"team": "product"}
    assert worst[0].outputs == {"Route": {"team": "billing"}}
    assert len(list(found.each_row())) == 40


def test_where_every_row_is_wrong_all_are_among_the_worst(
    make_executor: MakeExecutor, router: Any, tickets: Path
) -> None:
    found = evaluate(make_executor(router("number")), "Route", tickets, metric="accuracy")
    assert (found.score, found.perfect, len(found.worst(99))) == (0.0, 1.0, 40)
    assert "worst rows" in str(found)


@pytest.mark.parametrize(("count", "half", "most"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (100, 50, 95)])
def test_latencies_are_those_that_a_share_of_the_answers_took_at_most(count: int, half: int, most: int) -> None:
    latencies = [float(number) for number in range(1, count + 1)]
    assert (_share(latencies, 0.5), _share(latencies, 0.95), _share([], 0.5)) == (half, most, None)


def test_a_column_may_hold_anything(make_executor: MakeExecutor, router: Any) -> None:
    values = [None, float("nan"), "de", ["x", 1], True]
    rows = [{"ticket": f"refund {number}", "team": "billing", "language": value} for number, value in enumerate(values)]
    found = evaluate(make_executor(router()), "Route", rows, metric="accuracy", by="language")
    slices = {value: score.rows for value, score in found.systems[0].slices.items()}
    assert slices == {"(none)": 2, "de": 1, "['x', 1]": 1, "True": 1}
    assert json.loads(found.to_json(rows=True))["rows"] == 5


def test_the_text_holds_every_part(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    models = [router("login", name="null/small"), router(name="null/large")]
    text = str(evaluate(make_executor(), "Route", tickets, metric="accuracy", lm=models, by="team", repeat=2))
    for part in (
        "SYSTEM",
        "+/- ROUND",
        "null/small",
        "null/large",
        "10 wins, 0 losses, 30 ties",
        "BY team",
        "worst rows",
    ):
        assert part in text


def test_several_models_are_compared_with_the_first(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    models = [router("login", name="null/small"), router("crash number 1", name="null/large")]
    found = evaluate(make_executor(), "Route", tickets, metric="accuracy", lm=models)
    assert [system.label for system in found.systems] == ["null/small", "null/large"]
    (pair,) = found.comparisons
    assert (pair.label, pair.against) == ("null/large", "null/small")
    assert (pair.before, pair.after, pair.wins, pair.losses, pair.ties) == (0.75, 0.975, 10, 1, 29)
    assert pair.difference == pytest.approx(0.225)
    assert pair.low > 0
    assert pair.test == "McNemar, exact"
    assert pair.p_value < 0.05


def test_another_signature_or_model_to_compare_with(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    executor = make_executor(router("login"))
    executor.register_signature("Other", "ticket -> team: str")
    found = evaluate(executor, "Route", tickets, metric="accuracy", against="Other")
    assert [(one.label, one.against) for one in found.systems] == [("Route", False), ("Other", True)]
    assert found.comparisons[0].difference == 0
    found = evaluate(executor, "Route", tickets, metric="accuracy", against={"lm": router(name="null/large")})
    assert found.comparisons[0].difference == pytest.approx(-0.25)
    passed = {gate.name: gate.passed for gate in found.check(min_score=0.7, max_regression=0.02)}
    assert passed == {"complete": True, "score": True, "regression": False}
    with pytest.raises(ConfigurationError, match="two of the systems are the same"):
        evaluate(executor, "Route", tickets, against="Route")
    executor.register_signature("Third", "message -> team")
    with pytest.raises(InputError, match="not local/Third"):
        evaluate(executor, "Route", tickets, against="Third")


def test_a_regression_is_decided_by_the_interval(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    def gate(*wrong: str, allowed: float, **options: Any) -> Any:
        lm, other = router(*wrong), router(name="null/other")
        found = evaluate(make_executor(lm), "Route", tickets, metric="accuracy", against={"lm": other})
        return found.check(max_regression=allowed, **options)[-1]

    one_row = gate("crash number 1", allowed=0.02)  # 1 of 40 is more than 0.02, and shows nothing
    assert (one_row.passed, one_row.decided) == (True, False)
    assert "40 rows do not show whether it is worse by more than the 0.02 allowed" in one_row.message
    assert not gate("crash number 1", allowed=0.02, undecided="fail").passed
    shown = gate("login", allowed=0.02)
    assert (shown.passed, shown.decided) == (False, True)
    assert "accuracy -0.250 [-0.4" in shown.message
    within = gate("crash number 1", allowed=0.3, undecided="fail")
    assert (within.passed, within.decided) == (True, True)
    with pytest.raises(ConfigurationError, match="expected 'pass' or 'fail'"):
        gate(allowed=0.1, undecided="maybe")


def test_the_verdict_says_how_many_rows_it_would_take(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    models = [router("crash number 1", "login number 2", name="null/small"), router(name="null/large")]
    found = evaluate(make_executor(), "Route", tickets, metric="accuracy", lm=models)
    (pair,) = found.comparisons
    assert (pair.verdict, pair.wins, pair.confidence) == ("not shown", 2, 0.95)
    assert pair.rows_needed is not None
    assert 100 < pair.rows_needed < 300
    assert "not shown; accuracy +0.050" in str(found)
    assert f"about {pair.rows_needed} rows would show such a difference" in str(found)


def test_a_judge_is_paid_out_of_the_same_budget(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    judge, budget = null_lm(answers={"grade": "5"}, model="null/judge"), Budget(calls=45)
    found = evaluate(
        make_executor(router()),
        "Route",
        tickets,
        metric="quality_score",
        metric_options={"judge": judge},
        budget=budget,
    )
    assert judge.engine.calls == 5
    assert budget.spent.calls == 45
    assert found.systems[0].unanswered == {"unscored": 35}
    assert not found.complete
    assert any("asked a language model 5 times" in note for note in found.notes)


def test_what_a_judge_costs_is_in_what_was_spent(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    judge = null_lm(answers={"grade": "5"}, model="null/judge")
    prices = {"null/judge": {"input": 0.0, "output": 1.0}}
    executor = make_executor(router(), prices=prices, parameters={"max_tokens": 10})
    options: dict[str, Any] = {"metric": "quality_score", "metric_options": {"judge": judge}, "max_workers": 1}
    whole = evaluate(executor, "Route", tickets, **options)
    assert whole.spent > 0
    bounded = evaluate(executor, "Route", tickets, **options, budget=Budget(cost=whole.spent / 4))
    assert bounded.spent <= whole.spent / 4
    assert 20 < bounded.systems[0].unanswered["unscored"] < 40


def test_what_has_no_price_or_no_bound_is_refused_before_any_call(
    make_executor: MakeExecutor, router: Any, tickets: Path
) -> None:
    lm, judge = router(), null_lm(model="odd/judge")
    judge.engine.free = False
    executor = make_executor(lm, prices={"null/odd": {"input": 1.0, "output": 1.0}})
    options: dict[str, Any] = {"metric": "quality_score", "budget": Budget(cost=1)}
    with pytest.raises(BudgetExceeded, match="no price of odd/judge is known"):
        evaluate(executor, "Route", tickets, **options, metric_options={"judge": judge})
    with pytest.raises(BudgetExceeded, match=r"null/odd: a ceiling on cost needs a bound.*max_tokens"):
        evaluate(executor, "Route", tickets, **options, metric_options={"judge": null_lm(model="null/odd")})
    with pytest.raises(BudgetExceeded, match="no price of odd/judge is known"):
        evaluate(executor, "Route", tickets, budget=Budget(cost=1), lm=[lm, judge])
    assert lm.engine.calls == judge.engine.calls == 0


def test_what_a_judge_has_answered_is_in_the_journal(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    lm, judge, journal = router(), null_lm(answers={"grade": "5"}, model="null/judge"), tmp_path / "kept"

    def run(*metrics: Any, **options: Any) -> Any:
        given = [QualityScore(judge) if name == "quality_score" else name for name in metrics]
        return evaluate(make_executor(lm), "Route", tickets, metric=given, journal=journal, **options)

    killed = run("quality_score", budget=Budget(calls=45))
    assert (judge.engine.calls, killed.complete) == (5, False)
    assert (run("quality_score").score, judge.engine.calls, lm.engine.calls) == (1.0, 40, 40)
    changed = run("accuracy", "quality_score")
    assert changed.systems[0].scores["quality_score"].value == 1.0
    assert (judge.engine.calls, lm.engine.calls) == (40, 40)
    assert b"grade" in journal.read_bytes()
    assert b"login" not in journal.read_bytes()  # what was asked cannot be read


def test_a_judge_that_is_busy_is_asked_again(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    failures = iter([True, False] * 40)

    def grade(user: str) -> str:
        if next(failures):
            raise RateLimitError("busy", status=429, retry_after=0.001)
        return "5"

    judge = null_lm(answers={"grade": grade}, model="null/judge")
    found = evaluate(
        make_executor(router()),
        "Route",
        tickets,
        metric="quality_score",
        metric_options={"judge": judge},
        max_workers=1,
        sample=5,
    )
    assert (found.score, found.complete) == (1.0, True)


def test_a_strategy_to_compare_with(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    executor = make_executor(router("login"), plugins=["evaluate", "strategies"])
    found = evaluate(executor, "Route", tickets, metric="accuracy", against="strategy=chain_of_thought", sample=8)
    assert [system.label for system in found.systems] == ["Route", "strategy=chain_of_thought"]
    (pair,) = found.comparisons
    assert pair.ties == 8


def test_an_answer_that_does_not_fit_counts_as_the_worst(make_executor: MakeExecutor, tickets: Path) -> None:
    lm = null_lm(answers={"team": lambda user: "unknown" if "login" in user else "billing"})
    found = evaluate(make_executor(lm), "Route", tickets, metric="accuracy")
    assert found.score == 0.5
    assert found.complete
    assert found.systems[0].failures == {"OutputError": 10}
    assert "counted as the worst score" in str(found)


def test_a_row_that_could_not_be_asked_is_in_no_score(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    def fail(ticket: str) -> None:
        if "login" in ticket:
            raise ConnectionError("the network is down")

    found = evaluate(make_executor(router(fail=fail)), "Route", tickets, metric="accuracy")
    assert found.score == 1.0
    assert not found.complete
    assert found.systems[0].scores["accuracy"].rows == 30
    assert sum(found.systems[0].unanswered.values()) == 10
    assert not found.check()[0].passed


def test_a_model_that_is_not_there_ends_it(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    def fail(ticket: str) -> None:
        raise ConnectionError("the network is down")

    lm = router(fail=fail)
    with pytest.raises(LanguageModelError, match="none of the first 10 rows could be asked"):
        evaluate(make_executor(lm, max_workers=2), "Route", tickets)
    assert lm.engine.calls < 40


def test_rows_that_do_not_fit_are_refused_before_any_call(make_executor: MakeExecutor, router: Any) -> None:
    lm = router()
    rows = [{"ticket": "refund 1", "team": "billing"}, {"ticket": "refund 2", "team": "unknown"}]
    with pytest.raises(InputError, match="row 2: team"):
        evaluate(make_executor(lm), "Route", rows)
    with pytest.raises(ConfigurationError, match="no such column; it has team, ticket"):
        evaluate(make_executor(lm), "Route", rows[:1], by="language")
    assert lm.engine.calls == 0


def test_columns_and_constants(make_executor: MakeExecutor, router: Any) -> None:
    executor = make_executor(router())
    executor.register_signature("Typed", "ticket, product -> team: str")
    rows = [{"text": "refund 1", "label": "billing"}]
    found = evaluate(
        executor, "Typed", rows, metric="accuracy", mapping={"text": "ticket", "label": "team"}, inputs={"product": "X"}
    )
    assert found.score == 1.0
    assert found.worst() == []


def test_repeated_rounds(make_executor: MakeExecutor, tickets: Path) -> None:
    turns = iter(range(10**6))
    lm = null_lm(answers={"team": lambda user: "billing" if next(turns) < 40 else "product"})
    executor = make_executor(lm, max_workers=1, cache_enabled=True)
    found = evaluate(executor, "Route", tickets, metric="accuracy", repeat=2)
    assert lm.engine.calls == 80
    assert found.score == 0.5
    assert found.systems[0].round_deviation == 0.0  # half is right in each round
    assert {row.scores["Route"] for row in found.each_row()} == {0.5}


def test_a_sample_is_the_same_for_the_same_seed(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    executor = make_executor(router())
    digests = [evaluate(executor, "Route", tickets, sample=10, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_function_as_metric_and_one_that_fails(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    def length(expected: Any, outputs: Any) -> float:
        return float(abs(len(outputs["team"]) - len(expected["team"])))

    length.higher_is_better = False  # type: ignore[attr-defined]
    found = evaluate(make_executor(router("login")), "Route", tickets, metric=length)
    assert (found.score, found.metrics) == (0.0, ("length",))

    def broken(expected: Any, outputs: Any) -> float:
        raise KeyError("price")

    with pytest.raises(OptimizationError, match="metric broken raised KeyError"):
        evaluate(make_executor(router()), "Route", tickets, metric=broken)


def test_a_chain(make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path) -> None:
    executor = make_executor(router("login"))
    chain = SignatureChain("triage", inputs=["ticket"]).add("Route", {"ticket": "ticket"})
    found = evaluate(executor, chain, tickets, metric="accuracy", journal=tmp_path / "answers.journal")
    assert (found.target, found.score, found.rows) == ("triage", 0.75, 40)
    again = evaluate(executor, chain, tickets, metric="accuracy", journal=tmp_path / "answers.journal")
    assert again.systems[0].reused == 40
    assert again.score == 0.75
    with pytest.raises(ConfigurationError, match="does not declare its inputs"):
        evaluate(executor, SignatureChain().add("Route", {"ticket": "ticket"}), tickets)


class Secret(BaseSignature):
    """Route a ticket."""

    ticket: str = InputField(sensitive=True)
    team: str = OutputField()


def test_sensitive_values_are_in_no_report_and_in_no_journal(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "answers.journal"
    found = evaluate(make_executor(router("login")), Secret, tickets, metric="accuracy", journal=journal)
    assert found.score == 0.75
    for text in (str(found), found.to_json(rows=True), journal.read_text()):
        assert " number 3" not in text


def test_a_changed_metric_scores_the_same_answers_without_a_call(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    journal, lm = tmp_path / "answers.journal", router("login")
    executor = make_executor(lm)
    first = evaluate(executor, "Route", tickets, metric="accuracy", journal=journal)
    second = evaluate(executor, "Route", tickets, metric="macro_f1", journal=journal)
    assert lm.engine.calls == 40
    assert second.systems[0].reused == 40
    assert second.systems[0].input_tokens == first.systems[0].input_tokens == 10
    assert second.systems[0].latency_p50 == first.systems[0].latency_p50
    assert second.spent == 0
    other = router(name="null/other")
    evaluate(executor, "Route", tickets, lm=other, journal=journal)
    assert other.engine.calls == 40  # answers of one model are not those of another
    journal.write_text("something else\n")
    with pytest.raises(JournalError, match="no journal of an evaluation"):
        evaluate(executor, "Route", tickets, journal=journal)


def test_only_rows_that_could_not_be_asked_are_asked_again(
    make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path
) -> None:
    down = True

    def fail(ticket: str) -> None:
        if down and "login" in ticket:
            raise ConnectionError("the network is down")

    lm = router("crash", fail=fail)
    executor = make_executor(lm)
    assert not evaluate(executor, "Route", tickets, journal=tmp_path / "a.journal").complete
    down = False
    found = evaluate(executor, "Route", tickets, metric="accuracy", journal=tmp_path / "a.journal")
    assert (found.complete, found.score, lm.engine.calls) == (True, 0.75, 50)


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    from hokusai_evaluate import evaluate

    def team(user):
        return "billing"

    def progress(done, total):
        if done == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

    lm = null_lm(answers={"team": team})
    with Executor(lm=lm, plugins=["evaluate"], cache_enabled=False, max_workers=2) as executor:
        executor.register_signature("Route", "ticket -> team: Literal['billing', 'product']")
        found = evaluate(executor, "Route", sys.argv[1], metric="accuracy", journal=sys.argv[2], progress=progress)
        print(lm.engine.calls, found.systems[0].reused, found.score)
    """
)


def test_a_killed_evaluation_goes_on(tickets: Path, tmp_path: Path, warm_python: WarmPython) -> None:
    def run(kill_at: int) -> subprocess.CompletedProcess[str]:
        return warm_python.run(KILLED, str(tickets), str(tmp_path / "a.journal"), str(kill_at))

    assert run(25).returncode == -signal.SIGKILL
    result = run(0)
    assert result.returncode == 0, result.stderr
    calls, reused, score = result.stdout.split()
    assert (int(reused), int(calls), float(score)) == (25, 15, 0.5)


def test_a_budget_that_is_spent_leaves_rows_unasked(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    found = evaluate(make_executor(router()), "Route", tickets, budget=Budget(calls=25))
    assert not found.complete
    assert found.systems[0].unanswered == {"BudgetExceeded": 15}
    assert found.score == 1.0


def test_the_report_as_json(make_executor: MakeExecutor, router: Any, tickets: Path, tmp_path: Path) -> None:
    found = evaluate(make_executor(router("login")), "Route", tickets, metric="accuracy")
    found.save(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["systems"][0]["scores"]["accuracy"]["value"] == 0.75
    assert (data["complete"], data["rows"], len(data["row_reports"])) == (True, 40, 40)
    assert len(found.to_dict()["row_reports"]) == 5
    assert repr(found) == "<Evaluation local/Route: 40 rows, accuracy 0.750>"


def test_answers_with_other_parameters_are_not_taken_from_a_journal(
    make_executor: MakeExecutor, tmp_path: Path
) -> None:
    rows = [{"ticket": "a", "team": "billing"}, {"ticket": "b", "team": "product"}]

    def reused(executor: Executor, **options: Any) -> int:
        found = evaluate(executor, "Route", rows, metric="accuracy", journal=tmp_path / "journal", **options)
        return found.systems[0].reused

    lm = null_lm(answers={"team": "billing"})
    plain, warm = make_executor(lm), make_executor(lm, parameters={"temperature": 1})
    assert [reused(plain), reused(plain)] == [0, 2]
    cold: dict[str, Any] = {"parameters": {"temperature": 0}}
    assert [reused(plain, **cold), reused(plain, **cold)] == [0, 2]
    assert [reused(warm), reused(warm)] == [0, 2]


def test_all_models_of_a_policy_are_named(make_executor: MakeExecutor) -> None:
    models = [null_lm(model="null/first", fail_first=9), null_lm(answers={"team": "billing"}, model="null/second")]
    found = evaluate(
        make_executor(), "Route", [{"ticket": "a", "team": "billing"}], metric="accuracy", lm=ModelPolicy(models)
    )
    assert found.score == 1.0
    assert found.systems[0].model == "null/first, null/second"


def test_reports_hold_no_picture(make_executor: MakeExecutor, tmp_path: Path) -> None:
    class Describe(BaseSignature):
        """Describe the picture."""

        picture: dspy.Image = InputField()
        caption: str = OutputField()

    uri = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    found = evaluate(make_executor(null_lm()), Describe, [{"picture": uri, "caption": "red"}], metric="accuracy")
    found.save(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text)["row_reports"][0]["inputs"]["picture"]["media"] == "image"
    assert base64.b64encode(PNG).decode() not in text + found.table()


PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")


def test_each_label_has_its_figures(make_executor: MakeExecutor, router: Any, tickets: Path) -> None:
    found = evaluate(make_executor(router("login")), "Route", tickets, metric="accuracy")
    billing, product = found.labels[found.systems[0].label]["team"]
    assert (billing.label, billing.expected, billing.given, billing.right) == ("billing", 20, 30, 20)
    assert (product.recall, product.precision) == (0.5, 1.0)
    table = str(found)
    assert "team=product" in table
    assert "0.50, 1.00, 0.67" in table
    assert "macro-F1" not in table  # as many rows of each
    assert json.loads(found.to_json())["labels"][found.systems[0].label]["team"][1]["right"] == 10
