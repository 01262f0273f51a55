"""Conditional pipelines: which branch is taken, and what it is fed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import ConditionalPipeline, Executor, SignatureChain, literal
from hokusai_core.errors import CompositionError, InputError, LanguageModelError

INPUTS = {"document": "D", "confidence": 0.6, "irrelevant": object()}


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what runs a pipeline, blocking and awaited."""
    if request.param == "sync":
        return lambda executor, pipeline, *given, **options: executor.execute_conditional(pipeline, *given, **options)
    return lambda executor, pipeline, *given, **options: asyncio.run(
        executor.aexecute_conditional(pipeline, *given, **options)
    )


def by_confidence() -> ConditionalPipeline:
    pipeline = ConditionalPipeline()
    pipeline.add_condition(name="unsure", condition=lambda given: given["confidence"] < 0.8)
    pipeline.when("unsure").execute("Extract", {"document": "document", "info_types": "doubts"})
    pipeline.otherwise().execute("Summarize")
    return pipeline


@pytest.mark.parametrize(("confidence", "output"), [(0.6, "facts"), (0.9, "summary"), (0.8, "summary")])
def test_the_branch_that_is_taken(executor: Executor, lm: Any, run: Any, confidence: float, output: str) -> None:
    result = run(executor, by_confidence(), {**INPUTS, "confidence": confidence})
    assert list(result) == [output]
    assert "[[ ## document ## ]] D" in result[output]
    assert lm.engine.calls == 1


def test_the_first_that_holds_wins_and_the_others_are_not_asked(executor: Executor, run: Any) -> None:
    asked: list[str] = []

    def condition(name: str, verdict: bool) -> Callable[[Any], bool]:
        def ask(_: Any) -> bool:
            asked.append(name)
            return verdict

        return ask

    pipeline = ConditionalPipeline()
    for name, verdict in (("c", True), ("a", False), ("b", True)):
        pipeline.add_condition(name, condition(name, verdict))
    pipeline.otherwise().execute("Rate")  # the last resort, wherever it stands
    pipeline.when("a").execute("Rate")
    pipeline.when("b").execute("Summarize")
    pipeline.when("c").execute("Rate")
    assert list(run(executor, pipeline, {"document": "D"})) == ["summary"]
    assert asked == ["a", "b"]


def test_an_alias_is_known_and_of_two_names_the_fields_own_is_taken(executor: Executor, run: Any) -> None:
    pipeline = ConditionalPipeline().otherwise().execute("Summarize")
    assert "] via alias [" in run(executor, pipeline, {"text": "via alias"})["summary"]
    both = run(executor, pipeline, {"text": "other", "document": "own"})["summary"]
    assert "] own [" in both


def test_a_mapping_chooses_what_is_passed(executor: Executor, run: Any) -> None:
    pipeline = ConditionalPipeline().otherwise().execute("Summarize", {"text": "body", "max_length": literal("body")})
    summary = run(executor, pipeline, {"body": "B", "document": "not this"})["summary"]
    assert "[[ ## document ## ]] B [[ ## max_length ## ]] body" in summary


def test_branches_may_be_chains_and_pipelines(executor: Executor, run: Any) -> None:
    chain = SignatureChain().add("Summarize", {"document": "document"}).add("Rate", {"text": "Summarize.summary"})
    inner = ConditionalPipeline().otherwise().execute(chain)
    pipeline = ConditionalPipeline().otherwise().execute(inner)
    result = run(executor, pipeline, {"document": "D"})
    assert result["stars"] == 3
    assert list(result.steps) == ["Summarize", "Rate"]


def test_conditions_may_be_coroutine_functions(executor: Executor) -> None:
    async def unsure(given: Any) -> bool:
        await asyncio.sleep(0)
        return bool(given["confidence"] < 0.8)

    pipeline = ConditionalPipeline().add_condition("unsure", unsure)
    pipeline.when("unsure").execute("Summarize")
    pipeline.otherwise().execute("Rate")
    assert list(asyncio.run(executor.aexecute_conditional(pipeline, INPUTS))) == ["summary"]
    with pytest.raises(CompositionError, match="asynchronous"):
        executor.execute_conditional(pipeline, INPUTS)


class TestProblems:
    @pytest.mark.parametrize(
        ("condition", "told"),
        [
            (lambda given: given["confidense"] > 1, "condition 'c' lacks input 'confidense'"),
            (lambda given: 1 / 0, "condition 'c' raised ZeroDivisionError"),
            (lambda given: given.update(document="other"), "condition 'c' raised AttributeError"),
        ],
    )
    def test_a_condition_that_raises(self, executor: Executor, lm: Any, run: Any, condition: Any, told: str) -> None:
        pipeline = ConditionalPipeline().add_condition("c", condition)
        pipeline.when("c").execute("Summarize")
        pipeline.otherwise().execute("Summarize")
        with pytest.raises(CompositionError, match=told) as caught:
            run(executor, pipeline, INPUTS)
        assert caught.value.__cause__ is not None
        assert lm.engine.calls == 0

    def test_none_holds(self, executor: Executor, lm: Any, run: Any) -> None:
        pipeline = ConditionalPipeline().add_condition("never", lambda _: False)
        pipeline.when("never").execute("Summarize")
        with pytest.raises(CompositionError, match=r"none of the conditions 'never' holds.*otherwise\(\)"):
            run(executor, pipeline, INPUTS)
        assert lm.engine.calls == 0

    def test_everything_is_checked_before_any_call(self, executor: Executor, lm: Any, run: Any) -> None:
        pipeline = ConditionalPipeline().add_condition("sure", lambda _: True)
        pipeline.when("shure").execute("Sumarize")
        pipeline.when("sure")
        pipeline.otherwise().execute("Rate", {"txt": "document"})
        with pytest.raises(CompositionError) as caught:
            run(executor, pipeline, INPUTS)
        for told in ("when('shure'): no such condition; did you mean 'sure'?", "when('sure') has nothing to run",
                     "did you mean 'Summarize'", "branch 'otherwise': txt: is no input"):  # fmt: skip
            assert told in str(caught.value)
        with pytest.raises(CompositionError, match="no branches"):
            run(executor, ConditionalPipeline(), INPUTS)
        assert lm.engine.calls == 0

    def test_what_the_chosen_signature_lacks_is_an_input_error(self, executor: Executor, lm: Any, run: Any) -> None:
        pipeline = by_confidence()
        with pytest.raises(InputError, match="document"):
            run(executor, pipeline, {"confidence": 0.9})
        assert lm.engine.calls == 0

    def test_errors_of_the_branch_are_its_own(self, executor: Executor, lm: Any, run: Any) -> None:
        lm.engine.fail_first = 1
        with pytest.raises(LanguageModelError):
            run(executor, by_confidence(), INPUTS)

    def test_while_it_is_built(self) -> None:
        pipeline = ConditionalPipeline().add_condition("c", lambda _: True)
        with pytest.raises(CompositionError, match="already"):
            pipeline.add_condition("c", lambda _: True)
        with pytest.raises(CompositionError, match="no function"):
            pipeline.add_condition("d", True)  # type: ignore[arg-type]
        with pytest.raises(CompositionError, match="name of a condition"):
            pipeline.add_condition("", lambda _: True)
        pipeline.when("c").execute("Rate")
        for again in (lambda: pipeline.when("c"), lambda: pipeline.when("c").execute("Rate")):
            with pytest.raises(CompositionError, match="already"):
                again()
        with pytest.raises(CompositionError, match="mapping"):
            pipeline.otherwise().execute("Rate", "text")  # type: ignore[arg-type]

    def test_what_is_no_pipeline(self, executor: Executor) -> None:
        with pytest.raises(CompositionError, match="ConditionalPipeline"):
            executor.execute_conditional(SignatureChain(), {})  # type: ignore[arg-type]
        with pytest.raises(CompositionError, match="inputs"):
            executor.execute_conditional(by_confidence(), [1])  # type: ignore[arg-type]
