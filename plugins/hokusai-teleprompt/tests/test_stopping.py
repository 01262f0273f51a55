from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import AuthError, RateLimitError

from hokusai_core import Budget, Executor, InputField
from hokusai_core.errors import BudgetExceeded, OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationTask
from hokusai_teleprompt import TelepromptFineTuner
from hokusai_teleprompt.study.phase_budget import ResourceLimit
from tests.warm_python import WarmPython

OPTIMIZERS = [
    "bootstrap_fewshot",
    "bootstrap_random_search",
    "bootstrap_optuna",
    "mipro_v2",
    "copro",
    "simba",
    "gepa",
    "better_together",
]
HERE = Path(__file__).parent


def compile_(signature: Any, examples: Any, lm: Any, metric: Any = "accuracy", **options: Any) -> Any:
    with TelepromptFineTuner(lm=lm, **{"workdir": False, "workers": 2, **options}) as finetuner:
        return finetuner.compile(signature, examples, metric)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_spent_budget_returns_the_best_so_far(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any, capfd: Any
) -> None:
    optimized = compile_(topic_signature, topics, by_instruction, optimizer=optimizer, budget=Budget(calls=90))
    assert by_instruction.engine.calls <= 90
    report = optimized.report
    assert report.calls == by_instruction.engine.calls
    assert report.baseline_score is not None
    if report.candidate_score is not None:  # what was found is compared, out of the part that was kept for it
        assert len(report.examples) == report.sizes["test"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ctrl_c_in_the_search_goes_on_to_the_comparison(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any, capfd: Any
) -> None:
    by_instruction.engine.fail = lambda number: KeyboardInterrupt() if number == 72 else None
    optimized = compile_(topic_signature, topics, by_instruction, optimizer=optimizer, workers=1)
    report = optimized.report
    if report.stopped is None:
        assert optimizer in {"bootstrap_fewshot", "copro"}  # it was over before the 72nd call
    else:
        assert report.stopped == "interrupted"
    assert optimized.promoted == (report.candidate_score == 1.0 and len(report.examples) == 24)
    assert capfd.readouterr() == ("", "")


def test_a_comparison_that_is_cut_short_favors_no_label(thinking: Any, topics: Any, topic_signature: Any) -> None:
    """Always the other label is no improvement, whichever part of the held-out examples was compared."""
    lm = thinking(topic=lambda system, shown, user: "food" if "Eating" in system else "sport")

    class Other:
        def check(self, task: OptimizationTask) -> list[str]:
            return []

        def propose(self, task: OptimizationTask) -> Any:
            yield Candidate("Eating or not?")

    for stop in (54, 57, 60):  # 24 and 15 for the baseline, nothing to choose from, then up to 24 to compare
        lm.engine.calls = 0
        lm.engine.fail = lambda number, stop=stop: KeyboardInterrupt() if number == stop else None
        report = compile_(topic_signature, topics, lm, optimizer=Other(), workers=1).report
        assert report.stopped == "interrupted"
        assert 10 <= len(report.examples) < 24
        assert not report.promoted
        assert report.p_value is not None
        assert report.p_value > 0.05


@pytest.mark.parametrize("budget", [Budget(tokens=12_000), Budget(calls=70), Budget(seconds=0.05)])
def test_every_ceiling_holds_and_is_named(budget: Budget, by_demos: Any, topics: Any, topic_signature: Any) -> None:
    report = compile_(topic_signature, topics, by_demos, optimizer="bootstrap_optuna", budget=budget).report
    assert report.stopped
    word = "tokens" if budget.tokens else "calls" if budget.calls else "seconds"
    assert word in report.stopped


def test_what_the_comparison_will_take_is_kept_of_every_ceiling() -> None:
    ceiling = ResourceLimit(total=600.0, begun=100.0, kept=60.0)
    # Nothing is known of the prompts of the search yet: what the baseline took is kept.
    assert not ceiling.reached(539.0, calls=5, later=120)
    assert ceiling.reached(540.0, calls=5, later=120)
    # A call takes one second, so 120 calls and a quarter more are kept.
    assert not ceiling.reached(449.0, calls=349, later=120)
    assert ceiling.reached(451.0, calls=351, later=120)
    # The search has half of what there was at least, however slow it is.
    assert not ceiling.reached(349.0, calls=20, later=120)
    assert ceiling.reached(351.0, calls=20, later=120)


def test_one_budget_bounds_several_optimizations(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    budget = Budget(calls=120)
    first = compile_(topic_signature, topics, by_demos, budget=budget, seed=1).report
    second = compile_(topic_signature, topics, by_demos, budget=budget, seed=2).report
    assert first.calls + second.calls == budget.spent.calls <= 120
    assert second.sizes["test"] < first.sizes["test"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_dead_language_model_is_a_failure_with_its_first_error(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any, capfd: Any
) -> None:
    by_instruction.engine.fail = lambda number: RuntimeError(f"dead since call {number}") if number > 45 else None
    with pytest.raises(OptimizationError) as caught:
        compile_(topic_signature, topics, by_instruction, optimizer=optimizer)
    chain = [caught.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)  # type: ignore[arg-type]
    assert any("dead since call" in str(error) for error in chain)
    assert chain[-1].__traceback__ is not None
    assert by_instruction.engine.calls < 130
    assert capfd.readouterr() == ("", "")


def test_a_dead_language_model_says_what_is_wrong_with_it(thinking: Any, topics: Any, topic_signature: Any) -> None:
    class Private(topic_signature):  # type: ignore[misc]
        text: str = InputField(sensitive=True)

    for signature, quoted in ((topic_signature, True), (Private, False)):
        lm = thinking(topic=lambda *_: "sport")
        lm.engine.fail = lambda number: AuthError("this key has expired; we eat number 1")
        with pytest.raises(OptimizationError, match="the provider refused the credentials") as caught:
            compile_(signature, topics, lm)
        assert ("this key has expired" in str(caught.value)) is quoted
        error: Any = caught.value
        while error is not None:  # what a traceback would show
            assert quoted or "number 1" not in str(error)
            error = error.__cause__


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_metric_that_raises_is_a_failure_with_its_traceback(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any
) -> None:
    asked = 0

    def metric(expected: Any, outputs: Any) -> bool:
        nonlocal asked
        asked += 1
        if asked > 50:
            raise ZeroDivisionError("late bug of the metric")
        return bool(expected == outputs)

    with pytest.raises(OptimizationError, match="late bug of the metric") as caught:
        compile_(topic_signature, topics, by_instruction, metric, optimizer=optimizer)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    frame = caught.value.__cause__.__traceback__
    while frame.tb_next is not None:  # type: ignore[union-attr]
        frame = frame.tb_next  # type: ignore[union-attr]
    assert frame.tb_frame.f_code.co_name == "metric"  # type: ignore[union-attr]


def test_a_failure_now_and_then_is_tried_again(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    by_demos.engine.fail = lambda number: RateLimitError("slow down", retry_after=0.0) if number % 7 == 0 else None
    optimized = compile_(topic_signature, topics, by_demos, optimizer="labeled_fewshot")
    assert optimized.promoted
    assert optimized.report.failed_calls == by_demos.engine.calls // 7
    assert optimized.report.invalid == (0, 0)


SCRIPT = textwrap.dedent(
    """
    import importlib.util, json, sys, time
    spec = importlib.util.spec_from_file_location("scripted", sys.argv[1])
    sys.modules["scripted"] = scripted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scripted)
    from hokusai_teleprompt import TelepromptFineTuner

    engine = scripted.ThinkingEngine({"topic": scripted._knows_by_instruction})
    log, answer = open(sys.argv[2], "ab", buffering=0), engine.complete

    def complete(request):
        time.sleep(0.005)
        response = answer(request)
        log.write(b".")
        return response

    engine.complete = complete
    with TelepromptFineTuner("bootstrap_random_search", scripted.make_lm(engine), workers=2) as finetuner:
        report = finetuner.compile(scripted.Topic, scripted.make_topics(60), "accuracy").report
    print(report.to_json())
    """
)


def test_a_killed_optimization_continues_and_pays_for_no_finished_call_again(
    tmp_path: Path, own_folder: Path, warm_python: WarmPython
) -> None:
    import json

    script, log = tmp_path / "run.py", tmp_path / "calls"
    script.write_text(SCRIPT)
    log.touch()
    command = [sys.executable, str(script), str(HERE / "conftest.py"), str(log)]
    environment = {**os.environ, "HOKUSAI_DATA_DIR": str(own_folder)}
    for wanted in (40, 130):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        end = time.monotonic() + 120
        while log.stat().st_size < wanted and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    finished = warm_python.run(SCRIPT, *command[2:], env=environment)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    alone = warm_python.run(SCRIPT, *command[2:], env={**environment, "HOKUSAI_DATA_DIR": str(tmp_path / "other")})
    assert alone.returncode == 0, alone.stderr
    whole = json.loads(alone.stdout)
    paid = log.stat().st_size - whole["calls"]
    # Two workers, killed twice: at most four calls were under way, paid for, and not yet noted.
    assert whole["calls"] <= paid <= whole["calls"] + 4
    assert whole["calls"] >= 200
    same = ("baseline_score", "candidate_score", "p_value", "dataset_hash", "promoted")
    assert {name: report[name] for name in same} == {name: whole[name] for name in same}
    assert any("were not paid for again" in note for note in report["notes"])
    assert not list((own_folder / "studies").iterdir()), "the checkpoint has served its purpose"


def test_a_study_that_another_process_works_on_is_refused(
    by_demos: Any, topics: Any, topic_signature: Any, own_folder: Path
) -> None:
    refused: list[OptimizationError] = []

    def interfere(progress: Any) -> None:
        if not refused:
            with pytest.raises(OptimizationError, match="another process runs the same study") as caught:
                compile_(topic_signature, topics, by_demos, workdir=None)
            refused.append(caught.value)

    assert compile_(topic_signature, topics, by_demos, workdir=None, progress=interfere).promoted
    assert refused


def test_a_larger_budget_goes_on_with_the_same_study(
    by_instruction: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    first = compile_(topic_signature, topics, by_instruction, budget=60, workdir=tmp_path / "work").report
    assert first.calls <= 60
    second = compile_(topic_signature, topics, by_instruction, budget=600, workdir=tmp_path / "work").report
    assert first.sizes["test"] < second.sizes["test"]
    assert second.replayed >= first.sizes["test"]
    assert any("answers of the signature as it is were there from earlier" in note for note in second.notes)


def test_a_damaged_checkpoint_costs_its_damaged_lines_only(
    by_instruction: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"workdir": tmp_path / "work", "optimizer": "bootstrap_random_search"}
    stopped = compile_(topic_signature, topics, by_instruction, budget=Budget(calls=80), **options)
    assert stopped.report.stopped
    assert any("run the same again to continue" in note for note in stopped.report.notes)
    (journal,) = (tmp_path / "work").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"[", b"{", 1)
    journal.write_bytes(b"".join(lines) + b'01234567 ["half a li')
    again = compile_(topic_signature, topics, by_instruction, budget=Budget(calls=300), **options)
    assert any(f"continued: {len(lines) - 1} calls" in note for note in again.report.notes)
    assert again.report.stopped is None
    whole = compile_(
        topic_signature, topics, by_instruction, budget=Budget(calls=300), optimizer="bootstrap_random_search"
    ).report
    assert again.report.calls < whole.calls - 20
    assert not list((tmp_path / "work").glob("*.jsonl"))


def test_a_checkpoint_that_cannot_be_written_ends_nothing(
    by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = os.write, 0

    def full(handle: int, data: bytes) -> int:
        nonlocal written
        written += data[8:10] == b" ["  # a line of the checkpoint
        if data[8:10] == b" [" and written > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.warns(RuntimeWarning, match=r"checkpoint .* cannot be written .*No space left on device"):
        optimized = compile_(topic_signature, topics, by_demos, workdir=tmp_path / "work")
    assert optimized.promoted
    assert optimized.report.failed_calls == 0
    assert written == 32  # once for the answers of the baseline, and once for the others


def test_a_folder_that_others_can_write_to_is_refused(
    by_instruction: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ValueError, match="others can write"):
        compile_(topic_signature, topics, by_instruction, workdir=folder)
    assert by_instruction.engine.calls == 0


def test_a_ceiling_in_dollars_holds_for_the_whole_study(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    prices = {by_demos.model: {"input": 0.0, "output": 1_000.0}}
    given: Any = {"prices": prices, "plugins": ["evaluate", "teleprompt"], "cache_enabled": False}
    with Executor(lm=by_demos, parameters={"max_tokens": 10}, **given) as executor:
        options: dict[str, Any] = {"lm": by_demos, "optimizer": "bootstrap_optuna", "executor": executor}
        budget = Budget(cost=0.5)
        report = compile_(topic_signature, topics, budget=budget, **options).report
        assert report.cost == pytest.approx(budget.spent_cost)
        assert 0.2 < budget.spent_cost <= 0.5
        assert report.stopped
        assert "$" in report.stopped
    calls = by_demos.engine.calls
    with Executor(lm=by_demos, **given) as executor, pytest.raises(BudgetExceeded, match="max_tokens"):
        compile_(topic_signature, topics, **{**options, "executor": executor}, budget=Budget(cost=0.5))
    given["prices"] = {}
    by_demos.engine.free = False
    with Executor(lm=by_demos, **given) as executor, pytest.raises(BudgetExceeded, match="no price of"):
        compile_(topic_signature, topics, **{**options, "executor": executor}, budget=Budget(cost=0.5))
    assert by_demos.engine.calls == calls
