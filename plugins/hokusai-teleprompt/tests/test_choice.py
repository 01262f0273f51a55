from __future__ import annotations

import itertools
import random
import re
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Budget, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError, OptimizationError
from hokusai_teleprompt import Estimate, TelepromptFineTuner, build_pack, load_optimized, promote

#: Executions at once.
WORKERS = 2


def compile_(
    signature: Any, examples: Any, lm: Any, metric: Any = "accuracy", valset: Any = None, **options: Any
) -> Any:
    with TelepromptFineTuner(lm=lm, **{"workdir": False, "workers": WORKERS, **options}) as finetuner:
        return finetuner.compile(signature, examples, metric, valset=valset)


@pytest.fixture
def by_neighbours(thinking: Any) -> Any:
    """A language model that knows a word only from a demo with the same word."""

    def answer(system: str, shown: str, user: str) -> str:
        word = user.rsplit("[[ ## text ## ]]", 1)[-1].split()[1]
        known = re.findall(rf" {word} is number(?:(?!## text ##).)*?## topic ## \]\]\n(\w+)", shown, re.DOTALL)
        return known[-1] if known else "sport"

    return thinking(topic=answer)


def words(count: int, seed: int, vocabulary: int = 24) -> list[dict[str, Any]]:
    """Return examples in which one of some words decides about the topic."""
    rng = random.Random(seed)
    examples = []
    for number in range(count):
        word = rng.randrange(vocabulary)
        topic = "food" if word % 2 else "sport"
        examples.append({"inputs": {"text": f"it word{word} is number {number}"}, "outputs": {"topic": topic}})
    return examples


def test_auto_finds_that_nearest_demos_help(by_neighbours: Any, topic_signature: Any) -> None:
    optimized = compile_(topic_signature, words(160, 1), by_neighbours)
    assert optimized.promoted
    assert optimized.spec.nearest_demos in (4, 8)
    assert optimized.spec.provenance["optimized"]["optimizer"] == "knn_fewshot"
    tried = Counter(trial.label.partition(",")[0] for trial in optimized.report.trials)
    assert tried["labeled_fewshot"] == 3
    assert tried["knn_fewshot"] == 2


def test_examples_to_choose_by_become_demos_after_the_choice(by_neighbours: Any, topic_signature: Any) -> None:
    rows = words(60, 1)
    optimized = compile_(topic_signature, rows, by_neighbours, optimizer="knn_fewshot")
    found = optimized.candidate or optimized
    sizes = optimized.report.sizes
    assert len(found.spec.demos) == sizes["train"] + sizes["dev"] == len(rows) - sizes["test"]
    assert "became demos as well" in str(optimized.report)
    own = words(20, 7)
    chosen_by_own = compile_(topic_signature, rows, by_neighbours, optimizer="knn_fewshot", valset=own)
    shown = {demo["text"] for demo in (chosen_by_own.candidate or chosen_by_own).spec.demos}
    assert shown.isdisjoint(row["inputs"]["text"] for row in own)


def test_nearest_demos_are_saved_promoted_and_packed(by_neighbours: Any, topic_signature: Any, tmp_path: Path) -> None:
    optimized = compile_(topic_signature, words(160, 1), by_neighbours, optimizer="knn_fewshot")
    assert optimized.promoted
    (tmp_path / "pack").mkdir()
    path = optimized.save(tmp_path / "pack" / "Topic.json")
    loaded = load_optimized(path)
    assert (loaded.spec, loaded.promoted) == (optimized.spec, True)
    unseen = words(40, 99)
    with Executor(lm=by_neighbours, cache_enabled=False) as executor:
        executor.register_signature("Topic", topic_signature)
        answers = [executor.execute_signature(str(path), row["inputs"])["topic"] for row in unseen]
        right = sum(answer == row["outputs"]["topic"] for answer, row in zip(answers, unseen, strict=True))
        assert right >= 36
    assert "Topic" in build_pack(tmp_path / "pack", tmp_path / "dist", name="acme-topics").signatures


def test_nearest_demos_are_promoted_under_a_name(by_neighbours: Any, tmp_path: Path) -> None:
    rows = [
        {
            "inputs": {**row["inputs"], "categories": ["sport", "food"]},
            "outputs": {"classification": row["outputs"]["topic"]},
        }
        for row in words(160, 1)
    ]
    by_neighbours.engine.answers["classification"] = by_neighbours.engine.answers["topic"]
    with Executor(lm=by_neighbours, cache_enabled=False) as executor:
        optimized = compile_("ClassifyText", rows, by_neighbours, optimizer="knn_fewshot", executor=executor)
        found = optimized.candidate or optimized
        promote(executor, "ClassifyText", found, force=True)
    with Executor(lm=by_neighbours, cache_enabled=False) as later:
        assert later.signature("ClassifyText").spec.nearest_demos == found.spec.nearest_demos
        later.execute_signature("ClassifyText", rows[0]["inputs"])


def test_labelled_demos_show_each_label_as_often(stubborn: Any) -> None:
    class Kind(BaseSignature):
        """Tell the kind."""

        text: str = InputField()
        kind: str = OutputField()

    kinds = ["a"] * 60 + ["b"] * 20 + ["c"] * 15
    rows = [{"inputs": {"text": f"text {number}"}, "outputs": {"kind": kind}} for number, kind in enumerate(kinds)]
    shown = {}
    for k in (4, 8, 12):
        optimized = compile_(Kind, rows[:], stubborn, optimizer="labeled_fewshot", optimizer_options={"k": k})
        demos = (optimized.candidate or optimized).spec.demos
        counts = Counter(demo["kind"] for demo in demos)
        assert len(demos) == k
        assert max(counts.values()) - min(counts.values()) <= 1
        shown[k] = list(demos)
    assert shown[12][:8] == shown[8]
    assert shown[8][:4] == shown[4]


@pytest.mark.parametrize(
    "budget",
    [{"calls": 150}, {"tokens": 30_000}, {"cost": 0.03}, {"seconds": 1.5}],
    ids=["calls", "tokens", "cost", "seconds"],
)
def test_sizes_follow_every_ceiling_and_none_is_passed_by_more_than_a_call(
    budget: dict[str, Any], by_demos: Any, topic_signature: Any
) -> None:
    rows = [
        {"inputs": {"text": f"we {'eat' if n % 2 else 'run'} {n}"}, "outputs": {"topic": "food" if n % 2 else "sport"}}
        for n in range(400)
    ]
    largest = {"tokens": 0}
    begun: list[float] = []
    complete = by_demos.engine.complete

    def slow(request: Any) -> Any:
        begun.append(time.monotonic())
        time.sleep(0.01)
        response = complete(request)
        largest["tokens"] = max(largest["tokens"], response.usage.total_tokens)
        return response

    by_demos.engine.complete = slow
    by_demos.kwargs["max_tokens"] = 60  # a ceiling on cost needs it
    prices = {"scripted/thinking": {"input": 1.0, "output": 1.0}}
    with Executor(prices=prices, trackers=[], cache_enabled=False) as executor:
        report = compile_(topic_signature, rows, by_demos, budget=Budget(**budget), executor=executor).report
    if "seconds" not in budget:  # how much fits into that depends on the machine
        assert report.promoted, report
        assert len(report.examples) == report.sizes["test"]
    assert report.sizes["test"] < 160
    assert report.sizes["train"] + report.sizes["dev"] + report.sizes["test"] == 400
    assert any("the budget pays for" in note for note in report.notes)
    if "calls" in budget:
        assert report.calls <= 150
    if "tokens" in budget:
        assert report.usage.total_tokens <= 30_000 + largest["tokens"]
    if "cost" in budget:
        assert report.cost <= 0.03 + largest["tokens"] / 1e6
    if "seconds" in budget:  # a thread may be held up between its look at the clock and its call
        assert sum(moment > begun[0] + 1.5 for moment in begun) <= WORKERS


@pytest.mark.parametrize("optimizer", ["bootstrap_random_search", "copro", "gepa", "mipro_v2", "knn_fewshot", "auto"])
def test_a_token_ceiling_is_passed_by_less_than_a_call_with_many_workers(
    optimizer: str, by_instruction: Any, topics: Any, topic_signature: Any
) -> None:
    largest = [0]
    complete = by_instruction.engine.complete

    def watched(request: Any) -> Any:
        time.sleep(0.002)
        response = complete(request)
        largest[0] = max(largest[0], response.usage.total_tokens)
        return response

    by_instruction.engine.complete = watched
    report = compile_(
        topic_signature, topics, by_instruction, optimizer=optimizer, budget=Budget(tokens=12_000), workers=8
    ).report
    assert report.usage.total_tokens <= 12_000 + largest[0]


def test_a_wait_that_the_provider_asks_for_does_not_pass_the_end(
    by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    from dspy.lm15 import RateLimitError

    by_demos.engine.fail = lambda number: RateLimitError("slow down", retry_after=20.0) if number == 80 else None
    started = time.monotonic()
    report = compile_(topic_signature, topics, by_demos, budget=Budget(seconds=6), workers=1).report
    assert time.monotonic() - started < 20  # it did not wait as long as the provider asked
    assert report.stopped is None or "wait" in report.stopped or "seconds" in report.stopped


def test_the_baseline_is_measured_once_for_all_optimizers_and_seeds(
    stubborn: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    plain: list[str] = []
    lock = threading.Lock()
    complete = stubborn.engine.complete

    def watched(request: Any) -> Any:
        if len(request.messages) == 1:  # no demos
            with lock:
                plain.append(repr((request.system, request.messages[-1].text)))
        return complete(request)

    stubborn.engine.complete = watched
    for optimizer in ("labeled_fewshot", "knn_fewshot", "auto"):
        for seed in (0, 1, 2):
            compile_(topic_signature, topics, stubborn, optimizer=optimizer, seed=seed, workdir=tmp_path / "work")
    same = [text for text in plain if "Tell the topic." in text and "instruction" not in text]
    assert len(set(same)) == len(same) <= len(topics)


def test_one_finetuner_measures_the_baseline_once_without_files(
    stubborn: Any, topics: Any, topic_signature: Any
) -> None:
    with TelepromptFineTuner("labeled_fewshot", stubborn, workdir=False, workers=2) as finetuner:
        finetuner.compile(topic_signature, topics, "accuracy")
        before = stubborn.engine.calls
        report = finetuner.compile(topic_signature, topics, "f1").report
    assert stubborn.engine.calls - before == 0 or report.replayed >= report.sizes["test"]


def test_a_single_candidate_pays_for_the_examples_to_choose_by_once(
    by_demos: Any, topics: Any, topic_signature: Any
) -> None:
    report = compile_(topic_signature, topics, by_demos, optimizer="labeled_fewshot").report
    assert by_demos.engine.calls == 2 * report.sizes["test"] + report.sizes["dev"]


def test_an_estimate_is_there_before_the_first_call(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    seen: list[tuple[int, Estimate]] = []

    def confirm(estimate: Estimate) -> bool:
        seen.append((by_demos.engine.calls, estimate))
        return True

    report = compile_(topic_signature, topics, by_demos, confirm=confirm, budget=300).report
    ((calls, estimate),) = seen
    assert calls == 0
    assert report.calls / 3 <= estimate.calls <= 300
    assert estimate.tokens > 1000
    assert estimate.seconds > 0
    assert estimate.cost is None
    assert any(note.startswith("estimate before the first call: about") for note in report.notes)


def test_nothing_is_called_if_the_estimate_is_declined(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    with pytest.raises(OptimizationError, match=r"was not begun: about [\d,]+ calls"):
        compile_(topic_signature, topics, by_demos, confirm=lambda estimate: False)
    assert by_demos.engine.calls == 0


def test_the_estimate_knows_the_user_s_prices(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    seen: list[Estimate] = []

    def seen_and_confirmed(found: Estimate) -> bool:
        seen.append(found)
        return True

    prices = {"scripted/thinking": {"input": 2.0, "output": 10.0}}
    with Executor(prices=prices, trackers=[], cache_enabled=False) as executor:
        report = compile_(topic_signature, topics, by_demos, confirm=seen_and_confirmed, executor=executor).report
    assert seen[0].cost is not None
    assert report.cost is not None
    assert report.cost / 5 < seen[0].cost < report.cost * 5


def test_auto_takes_no_options_of_others(by_demos: Any, topics: Any, topic_signature: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'auto' has no options \(k\); name the optimizer"):
        compile_(topic_signature, topics, by_demos, optimizer_options={"k": 3})
    assert by_demos.engine.calls == 0


def test_auto_searches_instructions_with_what_is_left(by_instruction: Any, topics: Any, topic_signature: Any) -> None:
    optimized = compile_(topic_signature, topics, by_instruction, budget=600)
    assert optimized.promoted
    assert "MAGIC" in optimized.spec.instructions
    assert optimized.spec.provenance["optimized"]["optimizer"] == "copro"


def test_a_search_that_fails_costs_auto_nothing_but_itself(thinking: Any, topics: Any, topic_signature: Any) -> None:
    def answer(system: str, shown: str, user: str) -> str:
        return ("food" if "eat" in user.rsplit("## ]]", 1)[-1] else "sport") if shown and len(user) % 2 else "sport"

    writer = thinking()
    writer.engine.nonsense = "I will not do that."
    report = compile_(topic_signature, topics, thinking(topic=answer), prompt_lm=writer).report
    assert report.candidate_score is not None
    assert any(note.startswith("copro failed on Topic") for note in report.notes)


def accuracy_of(optimized: Any, lm: Any, rows: list[dict[str, Any]]) -> float:
    with Executor(lm=lm, cache_enabled=False, trackers=[], plugins=[]) as executor:
        executor.register_signature("Found", optimized)
        answers = [executor.execute_signature("Found", row["inputs"])["topic"] for row in rows]
    right = [answer == row["outputs"]["topic"] for answer, row in zip(answers, rows, strict=True)]
    return right.count(True) / len(rows)


def more_examples(by_neighbours: Any, topic_signature: Any, draws: int, counts: tuple[int, ...]) -> list[float]:
    unseen = words(100, 12345)
    medians = []
    for count in counts:
        found = [
            accuracy_of(
                compile_(topic_signature, words(count, seed), by_neighbours, budget=250, seed=seed),
                by_neighbours,
                unseen,
            )
            for seed in range(draws)
        ]
        medians.append(statistics.median(found))
    return medians


def test_more_examples_make_it_no_worse(by_neighbours: Any, topic_signature: Any) -> None:
    medians = more_examples(by_neighbours, topic_signature, 3, (40, 160, 400))
    assert medians[2] >= medians[1] - 0.02 >= medians[0] - 0.04
    assert medians[1] >= 0.9


@pytest.mark.soak
def test_more_examples_make_it_no_worse_in_the_median_of_ten_draws(by_neighbours: Any, topic_signature: Any) -> None:
    medians = more_examples(by_neighbours, topic_signature, 10, (20, 40, 80, 160, 320))
    assert all(later >= earlier - 0.02 for earlier, later in itertools.pairwise(medians)), medians
    assert medians[-1] >= 0.95
