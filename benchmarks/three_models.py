"""Three language models in one table, on the rows that come with ClassifyText.

The embedded model, and two scripted ones whose quality is known: they answer 36 and 24 of the 40 rows rightly, so their
accuracy is 0.9 and 0.6. The intervals have to hold these numbers, and the verdicts have to follow.

    python benchmarks/three_models.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import Evaluation, evaluate
from hokusai_evaluate.example_reader import Examples, read_examples
from hokusai_evaluate.scorecard_making import find_files

#: Scripted language model -> of each ten rows the number that it answers rightly.
SCRIPTED = {"scripted/nine-of-ten": 9, "scripted/six-of-ten": 6}


def answers_of(examples: Examples, right: int) -> Callable[[str], str]:
    """Return what answers the first ``right`` of each ten rows rightly, and the others with another category."""
    known: dict[str, str] = {}
    for place, example in enumerate(examples.items):
        label = example.outputs["classification"]
        others = [category for category in example.inputs["categories"] if category != label]
        known[str(example.inputs["text"])] = label if place % 10 < right else others[0]

    def answer(user: str) -> str:
        return next(label for text, label in known.items() if text in user)

    return answer


def measure(embedded: Any = "local") -> Evaluation:
    """Return the evaluation of all three; the scripted ones are compared with the embedded one."""
    with Executor(trackers=[], cache_enabled=False, promotions=False) as executor:
        data = find_files(executor, "ClassifyText").set_needed()
        examples = read_examples(executor.signature("ClassifyText").spec, data)
        scripted = [
            null_lm(answers={"classification": answers_of(examples, right)}, model=name)
            for name, right in SCRIPTED.items()
        ]
        return evaluate(
            executor, "ClassifyText", metric=["accuracy", "macro_f1"], lm=[embedded, *scripted], timeout=900
        )


def main() -> None:
    """Measure and print."""
    evaluation = measure()
    print(evaluation.table(worst=0))
    for system in evaluation.systems:
        known = SCRIPTED.get(system.model)
        score = system.scores["accuracy"]
        if known is not None and not (score.low or 0.0) <= known / 10 <= (score.high or 0.0):
            raise SystemExit(f"{system.label}: {known / 10} is not in the interval")


if __name__ == "__main__":
    main()
