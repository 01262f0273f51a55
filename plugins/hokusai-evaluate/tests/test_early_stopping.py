"""``stop="early"``: false alarms, power, calls, kills, and what is refused."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from tests.warm_python import WarmPython

MakeExecutor = Callable[..., Executor]
ROWS = 200


def rows() -> list[dict[str, str]]:
    return [{"ticket": f"ticket {number:03}", "team": ("billing", "product")[number % 2]} for number in range(ROWS)]


def model(name: str, share: float, seed: int) -> Any:
    """Return a language model that answers a share of the rows rightly, each row always alike."""

    def team(user: str) -> str:
        number = int(user.rsplit("ticket ", 1)[1][:3])
        right = random.Random(f"{name} {seed} {number}").random() < share
        return ("billing", "product")[number % 2 if right else 1 - number % 2]

    return null_lm(answers={"team": team}, model=name)


def gate(
    make_executor: MakeExecutor, candidate: Any, baseline: Any, seed: int, **options: Any
) -> tuple[bool, int, Any]:
    """Return whether the gate fails, and how many calls it took."""
    found = evaluate(
        make_executor(candidate, max_workers=8),
        "Route",
        rows(),
        metric="accuracy",
        against={"lm": baseline},
        stop="early",
        seed=seed,
        **options,
    )
    failed = any(not result.passed for result in found.check())
    return failed, candidate.engine.calls + baseline.engine.calls, found


@pytest.mark.parametrize("seeds", [8, pytest.param(40, marks=pytest.mark.soak)])
def test_the_same_model_twice_is_seldom_taken_for_worse(make_executor: MakeExecutor, seeds: int) -> None:
    """It answers anew each time, as a model at temperature does: 10% of its answers are wrong, and each time others."""
    failed = 0
    for seed in range(seeds):
        failed += gate(make_executor, model("null/first", 0.9, seed), model("null/second", 0.9, seed), seed)[0]
    assert failed <= 2


@pytest.mark.parametrize("seeds", [8, pytest.param(40, marks=pytest.mark.soak)])
@pytest.mark.parametrize("good", [0.9, 0.8])
def test_a_model_that_is_worse_by_20_points_fails_with_fewer_calls(
    make_executor: MakeExecutor, seeds: int, good: float
) -> None:
    failed = calls = 0
    for seed in range(seeds):
        lost, made, _ = gate(make_executor, model("null/worse", good - 0.2, seed), model("null/good", good, seed), seed)
        failed, calls = failed + lost, calls + made
    assert failed >= seeds - 2
    assert calls <= 0.6 * seeds * 2 * ROWS


def test_the_report_says_that_it_was_stopped(make_executor: MakeExecutor) -> None:
    failed, calls, found = gate(make_executor, model("null/worse", 0.5, 0), model("null/good", 0.95, 0), 0)
    (pair,) = found.comparisons
    assert failed
    assert calls == 2 * found.rows < 2 * ROWS
    assert (found.planned, found.max_regression) == (ROWS, 0.0)
    assert pair.test == f"betting, stopped after {found.rows} of {ROWS}"
    assert pair.verdict == "worse"
    assert pair.high < 0
    assert f"{found.rows} of {ROWS} rows" in str(found)
    assert f"stopped after {found.rows} of {ROWS} rows, in random order" in str(found)
    assert "of a stopped test" in str(found)
    assert json.loads(found.to_json())["planned"] == ROWS


def test_a_system_that_is_not_worse_by_much_passes_early(make_executor: MakeExecutor) -> None:
    same = model("null/good", 0.9, 0)
    failed, _, found = gate(
        make_executor, model("null/good", 0.9, 0), same.copy(model="null/same"), 0, max_regression=0.1
    )
    assert not failed
    assert found.rows < ROWS
    assert found.check()[-1].decided


def test_the_order_is_that_of_the_seed(make_executor: MakeExecutor) -> None:
    found = [
        [row.number for row in gate(make_executor, model("null/a", 0.3, 0), model("null/b", 1, 0), seed)[2].each_row()]
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    assert found[0] == sorted(found[0]) != list(range(1, len(found[0]) + 1))


def test_against_an_earlier_report_only_one_system_is_asked(make_executor: MakeExecutor, tmp_path: Path) -> None:
    good, worse = model("null/good", 0.9, 0), model("null/worse", 0.6, 0)
    before = evaluate(make_executor(good), "Route", rows(), metric="accuracy")
    before.save(tmp_path / "before.json")
    path = tmp_path / "before.json"
    found = evaluate(make_executor(worse), "Route", rows(), metric="accuracy", against=path, stop="early")
    assert not found.check()[-1].passed
    assert good.engine.calls == ROWS
    assert worse.engine.calls == found.rows < ROWS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": "late"}, "expected 'early' or None"),
        ({"stop": "early"}, "there are 1"),
        ({"stop": "early", "metric": "macro_f1", "against": "Other"}, "macro_f1 scores the whole set"),
        ({"stop": "early", "metric": lambda expected, outputs: 1.0, "against": "Other"}, "closed range"),
        ({"stop": "early", "max_regression": 1, "against": "Other"}, "no system can be worse by more"),
        ({"max_regression": -1, "against": "Other"}, "expected a number of at least 0"),
        ({"max_regression": 0.1}, "needs something to compare with"),
    ],
)
def test_what_cannot_be_decided_early_is_refused_before_a_call(
    make_executor: MakeExecutor, options: dict[str, Any], message: str
) -> None:
    lm = model("null/a", 1, 0)
    executor = make_executor(lm)
    executor.register_signature("Other", "ticket -> team: str")
    with pytest.raises(ConfigurationError, match=message):
        evaluate(executor, "Route", rows(), **options)
    assert lm.engine.calls == 0


KILLED = textwrap.dedent(
    """
    import json, os, random, signal, sys
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    from hokusai_evaluate import evaluate

    data, journal, calls, kill_after = sys.argv[1:]

    def model(name, share):
        def team(user):
            ticket = user.rsplit("ticket ", 1)[1][:3]
            with open(calls, "a") as file:
                file.write(f"{name} {ticket}\\n")
            right = random.Random(f"{name} {ticket}").random() < share
            return ("billing", "product")[int(ticket) % 2 if right else 1 - int(ticket) % 2]
        return null_lm(answers={"team": team}, model=name)

    done_before = None

    def progress(done, total):
        global done_before
        done_before = done if done_before is None else done_before
        if done - done_before == int(kill_after):
            os.kill(os.getpid(), signal.SIGKILL)

    with Executor(lm=model("null/worse", 0.65), plugins=["evaluate"], cache_enabled=False, max_workers=1) as executor:
        executor.register_signature("Route", "ticket -> team: Literal['billing', 'product']")
        found = evaluate(
            executor, "Route", data, metric="accuracy", against={"lm": model("null/good", 0.85)}, stop="early",
            journal=journal, progress=progress, max_workers=1,
        )
        print(json.dumps([found.rows, found.comparisons[0].verdict, found.comparisons[0].p_value]))
    """
)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_a_killed_test_goes_on_without_repeating_a_call(tmp_path: Path, warm_python: WarmPython, kills: int) -> None:
    data, calls = tmp_path / "data.jsonl", tmp_path / "calls"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()))

    def run(journal: str, kill_after: int) -> subprocess.CompletedProcess[str]:
        return warm_python.run(KILLED, str(data), str(tmp_path / journal), str(calls), str(kill_after))

    for _ in range(kills):
        assert run("a.journal", 5).returncode == -signal.SIGKILL
    last = run("a.journal", -1)
    assert last.returncode == 0, last.stderr
    made = calls.read_text().splitlines()
    assert len(made) == len(set(made))
    calls.unlink()
    assert json.loads(run("b.journal", -1).stdout) == json.loads(last.stdout)
    assert sorted(calls.read_text().splitlines()) == sorted(made)
