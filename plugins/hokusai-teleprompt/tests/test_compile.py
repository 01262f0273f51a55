from __future__ import annotations

import io
import json
import random
import re
import time
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import dspy
import pandas as pd
import pytest
from attrs import evolve

from hokusai_core import (
    BaseSignature,
    Budget,
    Executor,
    InputField,
    ModelPolicy,
    OutputField,
    hookimpl,
    process_trackers,
)
from hokusai_core.errors import ConfigurationError, InputError, OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationTask
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import OptimizedSignature, Progress, ProgressBar, Report, TelepromptFineTuner
from hokusai_teleprompt.progress import ProgressReporter
from hokusai_teleprompt.score_plot import TriedPoint, draw
from hokusai_teleprompt.study.phase_budget import CallCounter

INSTRUCTION_SEARCHERS = ["mipro_v2", "copro", "gepa", "better_together"]
DEMO_SEARCHERS = ["labeled_fewshot", "bootstrap_fewshot", "bootstrap_random_search", "bootstrap_optuna", "knn_fewshot"]


def compile_(signature: Any, examples: Any, lm: Any, metric: Any = "accuracy", **options: Any) -> Any:
    data = {name: options.pop(name) for name in ("valset", "testset", "metric_options") if name in options}
    with TelepromptFineTuner(lm=lm, **{"workdir": False, "workers": 2, **options}) as finetuner:
        return finetuner.compile(signature, examples, metric, **data)


@pytest.mark.parametrize("optimizer", INSTRUCTION_SEARCHERS)
def test_searching_instructions_finds_the_one_that_helps(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any
) -> None:
    optimized = compile_(topic_signature, topics, by_instruction, optimizer=optimizer)
    assert optimized.promoted
    assert "MAGIC" in optimized.spec.instructions
    assert optimized.report.candidate_score == 1.0


@pytest.mark.parametrize("optimizer", INSTRUCTION_SEARCHERS)
def test_a_model_that_never_writes_json_can_write_instructions(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any
) -> None:
    by_instruction.engine.writes_json = False
    optimized = compile_(topic_signature, topics, by_instruction, optimizer=optimizer)
    assert "MAGIC" in optimized.spec.instructions


@pytest.mark.parametrize("optimizer", [*INSTRUCTION_SEARCHERS, "simba"])
def test_a_model_that_cannot_write_instructions_is_a_failure(
    optimizer: str, thinking: Any, topics: Any, topic_signature: Any
) -> None:
    rng = random.Random(1)
    model = thinking(topic=lambda *_: rng.choice(["food", "sport"]))
    writer = thinking()
    writer.engine.nonsense = "I will not do that."
    options = {"optimizer_options": {"max_demos": 0}} if optimizer == "simba" else {}
    with pytest.raises(OptimizationError, match=f"{optimizer} f(ailed on|ound nothing for) Topic: ") as caught:
        compile_(topic_signature, topics, model, optimizer=optimizer, prompt_lm=writer, workers=1, **options)
    assert "I will not do that." in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_simba_finds_the_rule_that_helps_where_answers_vary(thinking: Any, topics: Any, topic_signature: Any) -> None:
    """SIMBA compares good and bad answers to the same question, so a model that never varies teaches it nothing."""
    rng = random.Random(1)

    def answer(system: str, shown: str, user: str) -> str:
        truth = "food" if "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1] else "sport"
        return truth if "MAGIC" in system or rng.random() < 0.15 else "sport"

    optimized = compile_(
        topic_signature,
        topics,
        thinking(topic=answer),
        optimizer="simba",
        optimizer_options={"max_demos": 0},
        workers=1,
    )
    assert optimized.promoted
    assert "MAGIC" in optimized.spec.instructions


@pytest.mark.parametrize("optimizer", DEMO_SEARCHERS)
def test_searching_demos_finds_those_that_help(
    optimizer: str, by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    optimized = compile_(topic_signature, topics, by_demos, optimizer=optimizer)
    assert optimized.promoted
    assert optimized.spec.demos
    assert optimized.report.candidate_score == 1.0


def test_what_is_not_better_is_not_returned(stubborn: Any, topics: Any, topic_signature: Any) -> None:
    optimized = compile_(topic_signature, topics, stubborn)
    report = optimized.report
    assert not optimized.promoted
    assert optimized.spec == topic_signature.spec
    assert optimized.candidate is not None
    assert optimized.candidate.spec.demos
    assert (report.baseline_score, report.candidate_score, report.improvement) == (0.5, 0.5, 0.0)
    assert (report.wins, report.losses, report.ties) == (0, 0, 24)
    assert report.verdict.startswith("not promoted: not shown to be better, the 95% interval -0.1")


def test_the_result_is_a_signature_like_any_other(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    optimized = compile_(topic_signature, topics, by_demos)
    assert isinstance(optimized, type)
    assert issubclass(optimized, OptimizedSignature)
    assert optimized.spec.version == "1.0.1"
    assert optimized.spec.fingerprint != topic_signature.spec.fingerprint
    made = optimized.spec.provenance["optimized"]
    assert made["optimizer"] in {"labeled_fewshot", "knn_fewshot"}
    assert made["base"]["fingerprint"] == topic_signature.spec.fingerprint
    assert made["dataset_hash"] == optimized.report.dataset_hash
    assert (optimized.instructions, optimized.version) == ("Tell the topic.", "1.0.1")
    assert optimized.demos == optimized.spec.demos != ()
    assert (optimized.fingerprint, optimized.provenance) == (optimized.spec.fingerprint, optimized.spec.provenance)
    with Executor(lm=by_demos, plugins=[]) as executor:
        executor.register_signature("BetterTopic", optimized)
        assert executor.execute_signature("BetterTopic", {"text": "we eat pears"})["topic"] == "food"
        assert executor.execute_signature(topic_signature, {"text": "we eat pears"})["topic"] == "sport"
    with dspy.context(lm=by_demos):
        assert dspy.Predict(optimized)(text="we run").topic == "sport"


def test_one_example_makes_a_labeled_demo_and_says_that_nothing_was_held_out(
    stubborn: Any, topics: Any, topic_signature: Any
) -> None:
    optimized = compile_(topic_signature, topics[:1], stubborn)
    assert [dict(demo) for demo in optimized.spec.demos] == [{**topics[0]["inputs"], **topics[0]["outputs"]}]
    assert not optimized.promoted
    assert optimized.report.verdict.startswith("not verified")
    assert any("nothing could be held out" in note for note in optimized.report.notes)
    assert optimized.report.improvement is None
    assert stubborn.engine.calls == 0


def test_thousands_of_examples(by_demos: Any, topic_signature: Any) -> None:
    examples = [
        {"inputs": {"text": f"we {'eat' if n % 2 else 'run'} {n}"}, "outputs": {"topic": "food" if n % 2 else "sport"}}
        for n in range(3000)
    ]
    optimized = compile_(topic_signature, examples, by_demos, optimizer="labeled_fewshot", workers=4)
    assert optimized.promoted
    assert optimized.report.sizes == {"train": 2300, "dev": 200, "test": 500}


def test_the_sets_are_disjoint_stratified_and_chosen_by_the_seed(by_demos: Any, topic_signature: Any) -> None:
    examples = [
        {"inputs": {"text": f"we {'eat' if n % 4 == 0 else 'run'} {n}"},
         "outputs": {"topic": "food" if n % 4 == 0 else "sport"}}
        for n in range(80)
    ]  # fmt: skip
    reports = [
        compile_(topic_signature, examples, by_demos, optimizer="labeled_fewshot", seed=seed).report
        for seed in (1, 1, 2)
    ]
    assert reports[0].dataset_hash == reports[1].dataset_hash != reports[2].dataset_hash
    assert reports[0].stratified_by == "topic"
    assert sum(reports[0].sizes.values()) == 80
    keys = [[example.key for example in report.examples] for report in reports]
    assert keys[0] == keys[1] != keys[2]
    assert reports[0].baseline_score == pytest.approx(0.75)  # a quarter of every set is food


def test_the_given_sets_are_used_as_they_are(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    optimized = compile_(topic_signature, topics[:20], by_demos, valset=topics[20:30], testset=topics[30:50])
    assert optimized.report.sizes == {"train": 20, "dev": 10, "test": 20}
    leaky = compile_(topic_signature, topics[:20], by_demos, valset=topics[10:30], testset=topics[25:45])
    assert leaky.report.sizes == {"train": 10, "dev": 15, "test": 20}
    assert any("also in the other sets" in note for note in leaky.report.notes)


@pytest.mark.parametrize("form", ["records", "flat", "dspy", "frame", "jsonl", "json", "csv"])
def test_examples_in_every_form(form: str, topics: Any, topic_signature: Any, by_demos: Any, tmp_path: Path) -> None:
    flat = [{**item["inputs"], **item["outputs"]} for item in topics]
    sources: dict[str, Any] = {
        "records": topics,
        "flat": flat,
        "dspy": [dspy.Example(**item).with_inputs("text") for item in flat],
        "frame": pd.DataFrame(flat).assign(note="x"),
    }
    if form == "jsonl":
        sources[form] = tmp_path / "data.jsonl"
        sources[form].write_text("".join(json.dumps(item) + "\n" for item in topics))
    elif form == "json":
        sources[form] = str(tmp_path / "data.json")
        Path(sources[form]).write_text(json.dumps(flat))
    elif form == "csv":
        sources[form] = tmp_path / "data.csv"
        pd.DataFrame(flat).to_csv(sources[form], index=False)
    report = compile_(topic_signature, sources[form], by_demos, optimizer="labeled_fewshot").report
    assert report.promoted
    assert (
        report.dataset_hash
        == compile_(topic_signature, topics, by_demos, optimizer="labeled_fewshot").report.dataset_hash
    )
    assert any("note" in note for note in report.notes) == (form == "frame")


def test_every_bad_example_is_named_before_anything_is_called(topics: Any, topic_signature: Any, stubborn: Any) -> None:
    bad = [
        topics[0],
        {"inputs": {"txt": "x"}, "outputs": {"topic": "food"}},
        {"inputs": {"text": "x"}, "outputs": {"topic": "cars"}},
        {"inputs": {"text": "x"}, "outputs": {}},
        {"inputs": {"text": "x"}, "outputs": {"topics": "food"}},
        "nonsense",
        {"inputs": {"text": "half \ud83d"}, "outputs": {"topic": "food"}},
    ]
    with pytest.raises(InputError) as caught:
        compile_(topic_signature, bad, stubborn)
    rows = [problem.field.partition(":")[0] for problem in caught.value.problems]
    assert set(rows) == {"row 2", "row 3", "row 4", "row 5", "row 6", "row 7"}
    assert "did you mean 'text'" in str(caught.value)
    assert "did you mean 'topic'" in str(caught.value)
    assert stubborn.engine.calls == 0


def test_every_row_of_a_file_that_does_not_fit_is_named(
    topics: Any, topic_signature: Any, stubborn: Any, tmp_path: Path
) -> None:
    lines = [json.dumps(topics[0]), "{broken", "[1]", '{"text": "x", "topic": "cars"}']
    table = ["txt,topic,mood", "we eat,food,good", "we run,sport,bad,more"]
    message = ""
    for name, content, expected in (
        ("data.jsonl", lines, {"line 2: example": "not_json", "line 3: example": "wrong_type", "line 4: topic": ""}),
        ("data.csv", table, {"row 1: text": "missing", "row 2: example": "too_many_cells"}),
    ):
        (tmp_path / name).write_text("\n".join(content))
        with pytest.raises(InputError) as caught:
            compile_(topic_signature, tmp_path / name, stubborn)
        found = {problem.field: problem.code for problem in caught.value.problems}
        assert found.keys() == expected.keys()
        assert all(found[field] == code for field, code in expected.items() if code)
        message = str(caught.value)
    assert "column 'txt' is not a field of Topic; did you mean 'text'?" in message
    assert "column 'mood' is not a field of Topic" in message
    assert stubborn.engine.calls == 0


def test_repeated_examples_count_once_and_equal_inputs_stay_together(stubborn: Any, reply_signature: Any) -> None:
    examples = [{"inputs": {"message": f"m{n // 2}"}, "outputs": {"reply": f"r{n}"}} for n in range(40)]
    report = compile_(reply_signature, [*examples, *examples[:10]], stubborn, "f1", optimizer="labeled_fewshot").report
    assert any(note.startswith("10 of the examples repeated others") for note in report.notes)
    assert sum(report.sizes.values()) == 40
    assert all(size % 2 == 0 for size in report.sizes.values())


def test_labels_chosen_from_an_input(thinking: Any) -> None:
    class Sort(BaseSignature):
        """Sort the text."""

        text: str = InputField()
        categories: list[str] = InputField()
        category: str = OutputField(choices_from="categories")

    def answer(system: str, shown: str, user: str) -> str:
        return "food" if "eat" in user and "food" in shown else "sport"

    examples = [
        {
            "inputs": {"text": f"we {'eat' if n % 2 else 'run'} {n}", "categories": ["sport", "food"]},
            "outputs": {"category": "food" if n % 2 else "sport"},
        }
        for n in range(60)
    ]
    lm = thinking(category=answer)
    optimized = compile_(Sort, examples, lm, None)
    assert optimized.promoted
    assert optimized.report.metric["name"] == "classification_accuracy"
    # What DSPy evaluated and what was measured are the same prompts, so measuring again cost nothing.
    assert optimized.report.calls == lm.engine.calls
    assert optimized.report.replayed >= optimized.report.sizes["dev"]


def test_sensitive_values_enter_neither_demos_nor_files(by_demos: Any, tmp_path: Path) -> None:
    class Topic(BaseSignature):
        """Tell the topic."""

        text: str = InputField()
        owner: str = InputField(sensitive=True)
        topic: Literal["sport", "food"] = OutputField()

    examples = [
        {"inputs": {"text": f"we {'eat' if n % 2 else 'run'} {n}", "owner": f"SECRET-{n}"},
         "outputs": {"topic": "food" if n % 2 else "sport"}}
        for n in range(60)
    ]  # fmt: skip
    optimized = compile_(Topic, examples, by_demos, workdir=None)
    assert optimized.promoted
    path = optimized.save(tmp_path / "better.json")
    assert "SECRET" not in path.read_text()
    assert all("owner" not in demo for demo in optimized.spec.demos)
    assert any("no checkpoint is kept" in note for note in optimized.report.notes)
    assert "SECRET" not in str(optimized.report) + optimized.report.to_json()
    assert optimized.report.wins
    assert optimized.report.differing == ()


def test_auto_says_why(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    assert "no limit on calls" in compile_(topic_signature, topics, by_demos).report.reason
    few = compile_(topic_signature, topics[:5], by_demos).report
    assert (few.optimizer, "too few" in few.reason) == ("labeled_fewshot", True)
    tight = compile_(topic_signature, topics, by_demos, budget=60).report
    assert (tight.optimizer, "as much as 60 calls pay for" in tight.reason) == ("auto", True)


def test_the_report_as_table_json_and_plot(by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path) -> None:
    report = compile_(topic_signature, topics, by_demos).report
    table = str(report)
    for text in ("baseline", "best candidate", "95% interval", "wins, losses, ties", "calls", "tokens", "verdict"):
        assert text in table
    assert Report.from_dict(json.loads(report.to_json())) == report
    svg = ET.fromstring(report.save_svg(tmp_path / "plot.svg").read_text())
    circles = [element for element in svg.iter() if element.tag.endswith("circle") and len(element)]
    assert len(circles) == len([trial for trial in report.trials if trial.score is not None]) >= 2
    titles = [element.text or "" for element in svg.iter() if element.tag.endswith("title")]
    low, high = report.interval or (0.0, 0.0)
    shown = f"95% interval {report.baseline_score + low:.4g} to {report.baseline_score + high:.4g}"  # type: ignore[operator]
    assert f"chosen, held out: {report.candidate_score:.4g}, {shown}" in titles
    assert f"baseline, held out: {report.baseline_score:.4g}" in titles
    for trial in report.trials:  # each was scored on the examples to choose by
        assert trial.interval is not None
        assert trial.score is not None
        low, high = trial.interval
        assert low <= trial.score <= high
        assert f"{trial.label}: {trial.score:.4g} after {trial.calls} calls, interval {low:.4g} to {high:.4g}" in titles
    assert report.usage.calls == report.calls == by_demos.engine.calls
    assert report.usage.input_tokens > 0
    assert len(report.examples) == report.sizes["test"]
    assert report.wins == 12
    chosen = [trial for trial in report.trials if trial.chosen]
    assert len(chosen) == 1
    assert [trial.calls for trial in report.trials] == sorted(trial.calls for trial in report.trials)


@pytest.mark.parametrize(("better", "best"), [(True, [0.5, 0.5, 0.9]), (False, [0.5, 0.2, 0.2])])
def test_the_line_of_the_best_goes_where_the_metric_says(better: bool, best: list[float]) -> None:
    points = [TriedPoint(10.0, 0.5, "baseline"), TriedPoint(20.0, 0.2, "one"), TriedPoint(30.0, 0.9, "two")]
    svg = draw(points, title="t", y_label="y", more_is_better=better)
    heights = {point.score: re.search(rf'cy="([\d.]+)".*{point.label}: ', svg) for point in points}
    corners = re.findall(r"[\d.]+,([\d.]+)", svg.partition('points="')[2].partition('"')[0])
    wanted = [heights[score][1] for score in best]  # type: ignore[index]
    assert list(dict.fromkeys(corners)) == list(dict.fromkeys(wanted))


def test_the_held_out_interval_of_a_metric_where_less_is_better(
    by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    report = compile_(topic_signature, topics, by_demos).report
    less = evolve(
        report,
        metric={"name": "error", "higher_is_better": False},
        baseline_score=0.9,
        candidate_score=0.4,
        improvement=0.5,
        interval=(0.2, 0.8),
    )
    assert "chosen, held out: 0.4, 95% interval 0.1 to 0.7" in less.to_svg()
    assert "held out" not in evolve(report, interval=None).to_svg()


def test_the_time_left_is_that_of_the_pace_so_far() -> None:
    counter, told = CallCounter(None), list[Progress]()
    reporter = ProgressReporter(told.append, counter, max)
    reporter.begin("baseline", 4)
    time.sleep(0.05)
    for _ in range(4):
        reporter.step()
    reporter.begin("search")
    reporter.step()
    first, *_, last, search = told
    assert first.seconds_left == pytest.approx(first.seconds * 3, rel=0.5)
    assert (last.seconds_left, search.seconds_left) == (0.0, None)


def test_progress_is_told(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    told: list[Progress] = []
    compile_(topic_signature, topics, by_demos, progress=told.append)
    assert list(dict.fromkeys(item.phase for item in told)) == [
        "timing", "baseline", "search", "choice", "comparison"
    ]  # fmt: skip
    assert told[-1].best == 1.0
    assert told[-1].calls == by_demos.engine.calls
    assert any(item.candidate for item in told)
    # A candidate can take minutes: every call of the search is reported as well.
    assert sum(item.phase == "search" for item in told) > 10


def test_a_listener_that_fails_costs_nothing_but_itself(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    def told(progress: Progress) -> None:
        if progress.phase == "search":
            raise ZeroDivisionError("bad listener")

    with pytest.warns(RuntimeWarning, match="ZeroDivisionError: bad listener; it is not called again"):
        optimized = compile_(topic_signature, topics, by_demos, progress=told)
    assert optimized.report.candidate_score == 1.0


def test_the_bar_stays_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar(Progress("baseline", 3, 3, calls=3, cost=0.5))
    bar(Progress("search", 1, 1, "a candidate with a very long name", 0.5, 12345, 1.5, 3600))
    bar.close()
    lines = stream.getvalue().split("\r")
    assert lines[1].startswith("baseline    [####################] 3/3")
    assert max(map(len, lines)) <= 40
    assert stream.getvalue().endswith("\n")


def test_nothing_is_printed(by_demos: Any, topics: Any, topic_signature: Any, capfd: Any) -> None:
    compile_(topic_signature, topics, by_demos)
    assert capfd.readouterr() == ("", "")


def test_no_call_is_paid_twice_within_a_study(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    report = compile_(topic_signature, topics, by_demos, optimizer="bootstrap_optuna").report
    assert report.replayed > 0
    assert report.calls == by_demos.engine.calls


def test_a_grade_by_another_model_is_charged(thinking: Any, reply_signature: Any) -> None:
    judge = thinking(grade=lambda system, shown, user: "5" if "thank you" in user.partition("answer ## ]]")[2] else "2")
    writer = thinking(reply=lambda system, shown, user: "thank you" if "thank you" in shown else "go away")
    examples = [{"inputs": {"message": f"hello {n}"}, "outputs": {"reply": "thank you"}} for n in range(30)]
    optimized = compile_(
        reply_signature, examples, writer, "quality_score", metric_options={"judge": judge}, optimizer="labeled_fewshot"
    )
    assert optimized.promoted
    assert optimized.report.candidate_score == 1.0
    assert optimized.report.baseline_score == 0.25
    assert optimized.report.calls == writer.engine.calls + judge.engine.calls
    assert judge.engine.calls > 0


def test_weights_and_aggregates(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    weighted = compile_(topic_signature, topics, by_demos, {"accuracy": 3, "f1": 1}).report
    assert weighted.metric["name"] == "0.75 accuracy + 0.25 f1"
    macro = compile_(topic_signature, topics, by_demos, "macro_f1").report
    assert macro.candidate_score == 1.0
    assert macro.baseline_score == pytest.approx((2 / 3) / 2)  # everything is called sport: F1 2/3 of it, 0 of food
    assert macro.promoted
    assert macro.test == "paired permutation"


def test_a_metric_of_which_less_is_better(thinking: Any, reply_signature: Any) -> None:
    def too_long(expected: Any, outputs: Any) -> float:
        return float(abs(len(outputs["reply"]) - len(expected["reply"])))

    too_long.higher_is_better = False  # type: ignore[attr-defined]
    lm = thinking(reply=lambda system, shown, user: "short" if "short" in shown else "very very long")
    examples = [{"inputs": {"message": f"hello {n}"}, "outputs": {"reply": "short"}} for n in range(30)]
    report = compile_(reply_signature, examples, lm, too_long, optimizer="labeled_fewshot").report
    assert report.promoted
    assert (report.baseline_score, report.candidate_score) == (9.0, 0.0)
    assert report.improvement == pytest.approx(9.0)


def test_min_improvement_is_kept(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    assert compile_(topic_signature, topics, by_demos, min_improvement=0.15).promoted
    refused = compile_(topic_signature, topics, by_demos, min_improvement=0.4)
    assert not refused.promoted
    assert "does not lie above the 0.4 asked for" in refused.report.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"seed": "a"}, "seed='a'"),
        ({"workers": 0}, "workers=0"),
        ({"budget": -5}, "expected a number above zero"),
        ({"budget": "10"}, "budget='10': expected a whole number of calls"),
        ({"budget": 10.5}, "budget=10.5: expected a whole number of calls"),
        ({"optimizer_options": {"kk": 3}, "optimizer": "labeled_fewshot"}, "kk"),
    ],
)
def test_options_that_cannot_be_used(
    options: dict[str, Any], message: str, topics: Any, topic_signature: Any, stubborn: Any
) -> None:
    with pytest.raises((ConfigurationError, TypeError, OptimizationError), match=message):
        compile_(topic_signature, topics, stubborn, **options)
    assert stubborn.engine.calls == 0


def test_an_unknown_metric_or_optimizer_is_named(topics: Any, topic_signature: Any, stubborn: Any) -> None:
    with pytest.raises(LookupError, match="did you mean 'accuracy'"):
        compile_(topic_signature, topics, stubborn, "acuracy")
    with pytest.raises(LookupError, match="did you mean 'copro'"):
        compile_(topic_signature, topics, stubborn, optimizer="copr")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), None, "0.5", [1], 1j])
def test_a_metric_that_returns_no_finite_number_ends_it(
    score: Any, topics: Any, topic_signature: Any, stubborn: Any
) -> None:
    def odd(expected: Any, outputs: Any) -> Any:
        return score

    with pytest.raises(OptimizationError, match=r"optimizing local/Topic: metric odd returned .*; it must return a"):
        compile_(topic_signature, topics, stubborn, odd)
    assert stubborn.engine.calls <= 4


@pytest.mark.parametrize("weight", ["x", 0, -1, True, float("nan"), float("inf"), None])
def test_a_weight_that_is_no_number_above_zero_is_refused(
    weight: Any, topics: Any, topic_signature: Any, stubborn: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"weight .* of accuracy: expected a number above zero"):
        compile_(topic_signature, topics, stubborn, {"accuracy": weight, "f1": 1})


def test_anyones_optimizer_goes_through_the_same_study(by_instruction: Any, topics: Any, topic_signature: Any) -> None:
    class Guess:
        name = "guess"

        def check(self, task: OptimizationTask) -> list[str]:
            return []

        def propose(self, task: OptimizationTask) -> Any:
            yield Candidate("Tell it wrong.", label="bad")
            yield Candidate("MAGIC", label="good")

    optimized = compile_(topic_signature, topics, by_instruction, optimizer=Guess())
    assert optimized.promoted
    assert optimized.spec.instructions == "MAGIC"
    assert [trial.label for trial in optimized.report.trials] == ["baseline", "bad", "good"]


def test_an_optimizer_that_finds_nothing_or_nonsense_is_a_failure(
    stubborn: Any, topics: Any, topic_signature: Any
) -> None:
    class Nothing:
        def check(self, task: OptimizationTask) -> list[str]:
            return []

        def propose(self, task: OptimizationTask) -> Any:
            return iter(())

    class Nonsense(Nothing):
        def propose(self, task: OptimizationTask) -> Any:
            yield Candidate("x", ({"tpoic": "food"},))

    with pytest.raises(OptimizationError, match="without a candidate"):
        compile_(topic_signature, topics, stubborn, optimizer=Nothing())
    with pytest.raises(OptimizationError, match="unknown fields tpoic"):
        compile_(topic_signature, topics, stubborn, optimizer=Nonsense())


def test_too_few_examples_for_an_optimizer_that_was_asked_for(stubborn: Any, topics: Any, topic_signature: Any) -> None:
    with pytest.raises(OptimizationError, match="needs 1 examples to choose by; there are 0"):
        compile_(topic_signature, topics[:3], stubborn, optimizer="mipro_v2")


def test_optimizing_what_was_optimized_before(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    first = compile_(topic_signature, topics, by_demos)
    second = compile_(first, topics, by_demos)
    assert not second.promoted  # it is right on everything already
    assert second.spec == first.spec
    assert second.artifact.base_name == "local/Topic"


def test_the_budget_bounds_everything(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    budget = Budget(calls=100)
    report = compile_(topic_signature, topics, by_demos, budget=budget).report
    assert by_demos.engine.calls <= 100
    assert budget.spent.calls == by_demos.engine.calls == report.calls


def test_trackers_and_hooks_hear_of_an_optimization(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    heard: list[Any] = []

    class Plugin:
        @staticmethod
        @hookimpl
        def on_optimization_finished(event: Any) -> None:
            heard.append(event)

    listener = ListeningTracker()
    with Executor(trackers={"listener": listener}, extra_plugins=[Plugin()]) as executor:
        optimized = compile_(topic_signature, topics, by_demos, optimizer="bootstrap_fewshot", executor=executor)
    (event,) = listener.events
    assert heard == [event]
    assert event.promoted is optimized.promoted is True  # type: ignore[union-attr]
    assert event.signature.rpartition("/")[2] == "Topic"  # type: ignore[union-attr]
    assert event.fingerprint == topic_signature.spec.fingerprint != optimized.fingerprint  # type: ignore[union-attr]
    assert event.document == evolve(optimized.artifact, certificate=None).to_dict()  # type: ignore[union-attr]
    assert event.figures["candidate_score"] == optimized.report.candidate_score  # type: ignore[union-attr]
    assert event.usage == optimized.report.usage  # type: ignore[union-attr]
    json.dumps([event.figures, event.document])  # type: ignore[union-attr]


def test_a_tracker_for_the_process_hears_of_it(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    listener = ListeningTracker()
    process_trackers.add("listener", lambda: listener)
    try:
        compile_(topic_signature, topics, by_demos, optimizer="bootstrap_fewshot")
    finally:
        process_trackers.remove("listener")
    assert [type(event).__name__ for event in listener.events] == ["OptimizationFinished"]


def test_nothing_of_sensitive_examples_reaches_a_tracker(by_demos: Any, topics: Any) -> None:
    class Secret(BaseSignature):
        """Tell the topic."""

        text: str = InputField(sensitive=True)
        topic: Literal["sport", "food"] = OutputField()

    listener = ListeningTracker()
    with Executor(trackers={"listener": listener}) as executor:
        optimized = compile_(Secret, topics, by_demos, optimizer="bootstrap_fewshot", executor=executor)
    (event,) = listener.events
    assert optimized.candidate or optimized.promoted
    assert event.document is None  # type: ignore[union-attr]
    told = json.dumps(event.figures)  # type: ignore[union-attr]
    assert [item["inputs"]["text"] for item in topics if item["inputs"]["text"] in told] == []
    assert "candidate_score" in event.figures  # type: ignore[union-attr]
    assert all("instructions" not in trial for trial in event.figures["trials"])  # type: ignore[union-attr]


def test_candidates_are_measured_as_the_executor_is_set(topics: Any, topic_signature: Any) -> None:
    """With its parameters, those of the model of a policy, and its limits on media."""
    lm = null_lm(answers={"topic": "food"}, keep_requests=True)
    kept = lm.engine.requests
    lm.engine.__class__ = type("Shared", (type(lm.engine),), {"__deepcopy__": lambda self, memo: self})
    policy = ModelPolicy([{"lm": lm, "parameters": {"top_p": 0.4}}])
    options: dict[str, Any] = {"plugins": ["teleprompt", "evaluate"], "parameters": {"max_tokens": 77}, "environ": {}}
    with (
        Executor(lm=policy, **options) as executor,
        TelepromptFineTuner(executor=executor, workdir=False, optimizer="labeled_fewshot") as finetuner,
    ):
        finetuner.compile(topic_signature, topics, "accuracy")
    assert {(request.config.max_tokens, request.config.top_p) for request in kept} == {(77, 0.4)}
