from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from hokusai_teleprompt import TelepromptFineTuner

OPTIMIZERS = [
    "labeled_fewshot",
    "bootstrap_fewshot",
    "bootstrap_random_search",
    "bootstrap_optuna",
    "knn_fewshot",
    "mipro_v2",
    "copro",
    "simba",
    "gepa",
    "better_together",
]


def noise(system: str, shown: str, user: str) -> str:
    """Answer at random, but always the same to the same prompt."""
    return ("food", "sport")[hashlib.sha256((system + shown + user).encode()).digest()[0] % 2]


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "allowed"), [(4, 2), pytest.param(20, 3, marks=pytest.mark.soak)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_where_labels_are_random_nothing_is_promoted(
    optimizer: str, seeds: int, allowed: int, thinking: Any, topic_signature: Any
) -> None:
    promoted = 0
    for seed in range(seeds):
        rng = random.Random(seed)
        examples = [
            {"inputs": {"text": f"text {n} {rng.random()}"}, "outputs": {"topic": rng.choice(["food", "sport"])}}
            for n in range(80)
        ]
        options: dict[str, Any] = {"lm": thinking(topic=noise), "seed": seed, "workdir": False, "workers": 2}
        with TelepromptFineTuner(optimizer, **options) as finetuner:
            promoted += finetuner.compile(topic_signature, examples, "accuracy").promoted
    # At the stated rate of 2.5% more than two of four come about once in 16,000 times.
    # More than three of twenty come about once in 700 times.
    assert promoted <= allowed
