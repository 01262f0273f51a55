"""The conformance suite for optimizers: subclass ``OptimizerConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyOptimizer(OptimizerConformance):
        @pytest.fixture
        def make_optimizer(self):
            return lambda: MyOptimizer(steps=2)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hokusai_core.dspy_bridge import host_adapter, host_language_model
from hokusai_core.json_encoding import jsonable
from hokusai_core.model import LanguageModel
from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
from hokusai_core.protocols import Optimizer
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, refuse_coroutine

__all__ = ["OptimizerConformance", "StopEverything", "make_task"]

_SPEC = SignatureSpec(
    "Shout", "Say it louder.", (FieldSpec("text", "input"), FieldSpec("loud", "output", description="The loud text"))
)


class StopEverything(BaseException):
    """What a metered language model raises when no further call may be made."""


def make_task(lm: Any, **changes: Any) -> OptimizationTask:
    """Return a small task for a language model, except for what ``changes`` says."""
    from hokusai_core.dspy_bridge import FastChatAdapter

    examples = [OptimizationExample({"text": f"word {n}"}, {"loud": f"WORD {n}"}, "suite") for n in range(16)]
    values: dict[str, Any] = {
        "signature": _SPEC,
        "train": tuple(examples[:8]),
        "dev": tuple(examples[8:]),
        "metric": _exact,
        "model": LanguageModel(lm, FastChatAdapter()),
        "seed": 3,
    }
    return OptimizationTask(**values | changes)


def _exact(expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
    return float(expected == outputs)


class OptimizerConformance(Conformance):
    """Tests that every optimizer passes. The fixture ``make_optimizer`` returns a function that makes one."""

    @pytest.fixture
    def make_optimizer(self) -> Callable[[], Optimizer]:
        """Return what makes an optimizer; small options keep the tests quick."""
        raise NotImplementedError("define the fixture make_optimizer")

    @pytest.fixture
    def lm(self) -> Any:
        """Return the language model that is optimized for: it is right on every other example."""
        from hokusai_core.testing.lm import null_lm

        return null_lm(answers={"loud": _half_right})

    def test_satisfies_the_protocol(self, make_optimizer: Any) -> None:
        """It can check and propose."""
        assert isinstance(make_optimizer(), Optimizer)

    def test_a_task_that_it_can_do_has_no_problems(self, make_optimizer: Any, lm: Any) -> None:
        """A check gives reasons only where there are some."""
        found = make_optimizer().check(make_task(lm))
        assert not isinstance(found, str), "the problems are a sequence of texts"
        assert list(found) == []

    def test_nothing_to_learn_from_is_a_problem(self, make_optimizer: Any, lm: Any) -> None:
        """Without any example there is a reason, in words."""
        found = make_optimizer().check(make_task(lm, train=(), dev=()))
        assert not isinstance(found, str), "the problems are a sequence of texts"
        problems = list(found)
        assert problems
        assert all(isinstance(problem, str) and problem for problem in problems)

    def test_candidates_fit_the_signature(self, make_optimizer: Any, lm: Any) -> None:
        """Instructions are a text; demos have the signature's fields and a JSON form.

        Examples of ``dev`` are no demos: in the prompt they are the answers to their own questions, and the score says
        nothing.
        """
        told: list[Candidate] = []
        task = make_task(lm, found=told.append)
        proposed = make_optimizer().propose(task)
        refuse_coroutine(proposed)
        found = list(proposed)
        assert found
        scored_on = {example.inputs["text"] for example in task.dev}
        for candidate in (*found, *told):
            assert isinstance(candidate, Candidate)
            assert isinstance(candidate.instructions, str)
            assert candidate.instructions.strip()
            assert candidate.score is None or isinstance(candidate.score, float)
            assert candidate.score is None or 0.0 <= candidate.score <= 1.0, "a score outside of the metric's range"
            for demo in candidate.demos:
                assert isinstance(demo, Mapping), "a demo is a mapping, such as {**example.inputs, **example.outputs}"
                assert set(demo) <= {"text", "loud"}
                assert json.loads(json.dumps(jsonable(demo))) == jsonable(demo)
                assert demo.get("text") not in scored_on, "an example of dev is a demo"

    def test_scores_are_measured(self, make_optimizer: Any) -> None:
        """A model that is always wrong earns no score, and a better metric no better one than it gives."""
        from hokusai_core.testing.lm import null_lm

        told: list[Candidate] = []
        task = make_task(null_lm(answers={"loud": "always the same"}), found=told.append)
        scores = [candidate.score for candidate in (*make_optimizer().propose(task), *told)]
        assert not [score for score in scores if score], "a candidate that is never right has a score above 0"

    def test_the_seed_decides(self, make_optimizer: Any, lm: Any) -> None:
        """The same task gives the same candidates, and nothing of an earlier task is left in the object."""
        optimizer = make_optimizer()
        runs = [[evolve(item, label="") for item in optimizer.propose(make_task(lm))] for _ in range(2)]
        assert runs[0] == runs[1]

    def test_a_stop_gets_through(self, make_optimizer: Any) -> None:
        """What the language model raises when a budget is spent ends the search; nothing is paid after it."""
        calls = 0

        def answer(user: str) -> str:
            nonlocal calls
            calls += 1
            raise StopEverything

        from hokusai_core.testing.lm import null_lm

        lm = null_lm(answers={"loud": answer})
        try:
            list(make_optimizer().propose(make_task(lm)))
        except StopEverything:
            assert calls >= 1
        else:
            assert calls == 0  # it calls nothing, so nothing could stop it

    def test_an_error_of_the_metric_gets_out(self, make_optimizer: Any, lm: Any) -> None:
        """A metric that raises is neither a bad score nor swallowed: it is the cause of what is raised."""
        asked = 0

        def metric(*_: Any) -> float:
            nonlocal asked
            asked += 1
            raise ZeroDivisionError("metric bug")

        error = _raised(lambda: list(make_optimizer().propose(make_task(lm, metric=metric))))
        if asked == 0:
            assert error is None
            return
        while error is not None and not isinstance(error, ZeroDivisionError):
            error = error.__cause__
        assert error is not None, "the metric's error is not among the causes of what was raised"

    def test_the_host_stays_as_it_was(
        self,
        make_optimizer: Any,
        lm: Any,
        capfd: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Signature, examples and DSPy's settings are not changed, nothing is printed, and no file is written."""
        monkeypatch.chdir(tmp_path)
        task = make_task(lm)

        def state() -> Any:
            examples = [(dict(example.inputs), dict(example.outputs)) for example in (*task.train, *task.dev)]
            return _SPEC.to_dict(), host_language_model(), host_adapter(), examples

        before = state()
        list(make_optimizer().propose(task))
        assert state() == before
        printed = capfd.readouterr()
        assert (printed.out, printed.err) == ("", "")
        assert list(tmp_path.iterdir()) == []


def _raised(work: Callable[[], Any]) -> BaseException | None:
    try:
        work()
    except Exception as error:
        return error
    return None


def _half_right(user: str) -> str:
    text = user.rpartition("[[ ## text ## ]]")[2].partition("Respond with")[0].strip()
    digits = text.rpartition(" ")[2]
    return text.upper() if digits.isdigit() and int(digits) % 2 else text
