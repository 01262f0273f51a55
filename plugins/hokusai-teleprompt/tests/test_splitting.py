from __future__ import annotations

from collections import Counter
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from hokusai_core import SignatureSpec
from hokusai_core.plugin_api import FieldSpec, OptimizationExample
from hokusai_evaluate.example_reader import example_key, input_key
from hokusai_teleprompt.data_split import FEWEST, split_examples
from hokusai_teleprompt.study.study_sizes import StudySizes, resized

SPEC = SignatureSpec(
    "Topic", "Tell.", (FieldSpec("text", "input"), FieldSpec("topic", "output", Literal["a", "b", "c"]))
)


def example(number: int, label: str) -> OptimizationExample:
    return OptimizationExample({"text": f"text {number}"}, {"topic": label})


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=120), st.integers(0, 5))
def test_the_sets_are_a_partition_that_the_seed_decides(labels: list[str], seed: int) -> None:
    examples = [example(number, label) for number, label in enumerate(labels)]
    split = split_examples(SPEC, examples, seed=seed)
    parts = (split.train, split.dev, split.test)
    assert Counter(example_key(item) for part in parts for item in part) == Counter(map(example_key, examples))
    assert split == split_examples(SPEC, examples, seed=seed)
    if len(examples) < FEWEST:
        assert split.train == tuple(examples)
    else:
        assert split.train
        assert split.dev
        assert split.test


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 3))
def test_labels_are_spread_by_their_shares(first: int, second: int, seed: int) -> None:
    examples = [example(n, "a") for n in range(2 * first)] + [example(100 + n, "b") for n in range(2 * second)]
    split = split_examples(SPEC, examples, seed=seed)
    share = first / (first + second)
    for part in (split.train, split.dev, split.test):
        if len(examples) >= FEWEST:
            count = Counter(item.outputs["topic"] for item in part)["a"]
            assert abs(count - share * len(part)) <= 2


@given(st.lists(st.integers(0, 30), min_size=20, max_size=80), st.integers(0, 3))
def test_equal_inputs_are_never_split_up(numbers: list[int], seed: int) -> None:
    examples = [OptimizationExample({"text": f"text {n}"}, {"topic": "abc"[i % 3]}) for i, n in enumerate(numbers)]
    split = split_examples(SPEC, examples, seed=seed)
    seen = [{input_key(item) for item in part} for part in (split.train, split.dev, split.test)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_what_a_budget_does_not_pay_for_is_learned_from() -> None:
    examples = [example(n, "ab"[n % 2]) for n in range(200)]
    whole = split_examples(SPEC, examples, seed=0)
    assert (len(whole.test), len(whole.dev)) == (80, 50)
    smaller = resized(whole, StudySizes(20, 8, 5), given_test=False, given_dev=False)
    assert (smaller.test, smaller.dev, len(smaller.train)) == (whole.test[:20], whole.dev[:8], 172)
    apart = resized(whole, StudySizes(20, 8, 5), given_test=True, given_dev=True)
    assert (apart.test, apart.dev, apart.train) == (smaller.test, smaller.dev, whole.train)


def test_the_first_half_of_a_set_stands_for_all_of_it() -> None:
    """Where a comparison ends early, what was compared must not be the examples of one label."""
    examples = [example(n, "ab"[n >= 200]) for n in range(400)]
    given = [example(1000 + n, "ab"[n >= 50]) for n in range(100)]
    for split in (
        split_examples(SPEC, examples, seed=0),
        split_examples(SPEC, examples, seed=0, dev=given, test=[example(2000 + n, "ab"[n >= 50]) for n in range(100)]),
    ):
        for part in (split.dev, split.test):
            labels = [item.outputs["topic"] for item in part]
            share = labels[: len(labels) // 2].count("a") / (len(labels) // 2)
            assert 0.3 < share < 0.7
