from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from click.testing import CliRunner

from hokusai_core import BaseSignature, Executor, FunctionTool, InputField, OutputField, read_artifact
from hokusai_core.errors import ArtifactError, ConfigurationError, OptimizationError, SignatureDefinitionError
from hokusai_core.plugin_api import Component, Problem, hookimpl
from hokusai_teleprompt import TelepromptFineTuner, load_optimized, promote, rollback
from hokusai_teleprompt.commands.diff_command import diff

EATING = {"text": "we eat pears"}


class Topics(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Note what a text is about, then tell its topic."""

    def __init__(self, second: str = "note -> topic", keyword: str = "judge") -> None:
        super().__init__()
        self.note = dspy.Predict("text -> note")
        setattr(self, keyword, dspy.ChainOfThought(second))

    def forward(self, text: str) -> Any:
        return self.judge(note=self.note(text=text).note)


def _note(system: str, shown: str, user: str) -> str:
    return "noted: EATING" if "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1] else "noted: RUNNING"


def _by_instruction(system: str, shown: str, user: str) -> str:
    note = user.rsplit("[[ ## note ## ]]", 1)[-1]
    return "food" if "EATING" in note and "MAGIC" in system else "sport"


def _by_demos(system: str, shown: str, user: str) -> str:
    note = user.rsplit("[[ ## note ## ]]", 1)[-1]
    known = "RUNNING" in shown  # the two other demos of a note
    number = sum(map(ord, user)) % 3
    return "food" if "EATING" in note and (known or number) else "sport"


@pytest.fixture
def instructed(thinking: Any) -> Any:
    """A language model whose second step is right once its instructions tell it how."""
    return thinking(note=_note, topic=_by_instruction, reasoning=lambda *_: "it says so")


@contextmanager
def registered(lm: Any, program: Any = None) -> Iterator[Executor]:
    with Executor(lm=lm, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topics", program or Topics())
        yield executor


def optimized(executor: Executor, examples: Any, optimizer: str = "copro", signature: Any = "Topics") -> Any:
    with TelepromptFineTuner(optimizer, workdir=False, executor=executor, workers=2) as finetuner:
        return finetuner.compile(signature, examples, "accuracy")


def test_every_predictor_of_a_program_gets_its_instructions(instructed: Any, topics: Any) -> None:
    with registered(instructed) as executor:
        better = optimized(executor, topics)
        assert better.promoted
        assert list(better.spec.predictors) == ["note", "judge.predict"]
        assert all("MAGIC" in state.instructions for state in better.spec.predictors.values())
        assert better.report.candidate_score == 1.0
        assert "judge.predict: " in better.report.trials[-1].instructions
        assert executor.execute_signature("Topics", EATING)["topic"] == "sport"
        assert executor.execute_signature(better, EATING)["topic"] == "food"


@pytest.mark.parametrize("optimizer", ["bootstrap_fewshot", "bootstrap_random_search", "auto"])
def test_every_predictor_of_a_program_gets_its_demos(optimizer: str, thinking: Any, topics: Any) -> None:
    lm = thinking(note=_note, topic=_by_demos, reasoning=lambda *_: "it says so")
    with registered(lm) as executor:
        better = optimized(executor, topics, optimizer)
    found = better if better.promoted else better.candidate
    demos = {name: state.demos for name, state in found.spec.predictors.items()}
    assert set(demos["note"][0]) == {"text", "note"}
    assert set(demos["judge.predict"][0]) == {"note", "reasoning", "topic"}


@pytest.mark.parametrize("optimizer", ["simba", "gepa", "mipro_v2", "better_together"])
def test_every_optimizer_of_dspy_works_on_programs(optimizer: str, instructed: Any, topics: Any) -> None:
    small: dict[str, Any] = {
        "simba": {"bsize": 6, "num_candidates": 2, "max_steps": 1},
        "gepa": {"max_metric_calls": 80},
        "mipro_v2": {"num_candidates": 3, "num_trials": 3},
        "better_together": {"num_candidate_programs": 1, "breadth": 2},
    }
    with (
        registered(instructed) as executor,
        TelepromptFineTuner(
            optimizer, workdir=False, executor=executor, workers=2, optimizer_options=small[optimizer]
        ) as finetuner,
    ):
        better = finetuner.compile("Topics", topics[:32], "accuracy")
    found = better if better.promoted else (better.candidate or better)
    assert set(found.spec.predictors) in ({"note", "judge.predict"}, set())
    assert better.report.calls > 0


def test_a_module_can_be_given_itself_and_stays_as_it_was(instructed: Any, topics: Any) -> None:
    module = Topics()
    before = module.dump_state()
    with Executor(lm=instructed, plugins=["teleprompt"]) as executor:
        better = optimized(executor, topics, signature=module)
        assert better.promoted
        assert executor.execute_signature(better, EATING)["topic"] == "food"
    assert module.dump_state() == before


def test_the_file_is_json_and_takes_its_program_from_the_caller_or_a_name(
    instructed: Any, topics: Any, tmp_path: Path
) -> None:
    path = tmp_path / "better.json"
    with registered(instructed) as executor:
        better = optimized(executor, topics)
        better.save(path)
        assert executor.execute_signature(path, EATING)["topic"] == "food"
    states = json.loads(path.read_text())["signature"]["predictors"]
    assert list(states) == ["note", "judge.predict"]
    assert set(states["note"]) == {"instructions", "demos", "fields"}
    assert read_artifact(path).spec.fingerprint == better.spec.fingerprint
    with Executor(lm=instructed, plugins=["teleprompt"]) as executor:
        with pytest.raises(ArtifactError, match=r"no program is registered as local/Topics; .*program=module"):
            executor.execute_signature(path, EATING)
        given = load_optimized(path, program=Topics())
        assert executor.execute_signature(given, EATING)["topic"] == "food"


def test_a_program_with_other_predictors_is_refused_by_name(instructed: Any, topics: Any, tmp_path: Path) -> None:
    path = tmp_path / "better.json"
    with registered(instructed) as executor:
        optimized(executor, topics).save(path)
    renamed = Topics(keyword="decide")
    with pytest.raises(ArtifactError, match=r"no predictor 'judge.predict'; predictor 'decide.predict' is new"):
        load_optimized(path, program=renamed)
    with pytest.raises(ArtifactError, match=r"predictor .judge.predict. has other fields: note, mood"):
        load_optimized(path, program=Topics("note, mood -> topic"))
    with registered(instructed, Topics("note -> topic, mood")) as executor, pytest.raises(ArtifactError):
        executor.execute_signature(path, EATING)


def test_loading_and_running_a_file_unpickles_and_imports_nothing_that_it_names(
    instructed: Any, topics: Any, tmp_path: Path
) -> None:
    path = tmp_path / "better.json"
    with registered(instructed) as executor:
        optimized(executor, topics).save(path)
        executor.execute_signature("Topics", EATING)  # what running a program imports
        seen: list[str] = []
        active = True

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if active and event in ("pickle.find_class", "import", "exec", "compile", "marshal.loads"):
                seen.append(f"{event} {arguments[0] if event in ('import', 'pickle.find_class') else ''}")

        sys.addaudithook(audit)
        assert executor.execute_signature(path, {"text": "we eat bread"})["topic"] == "food"
        active = False
    assert not [event for event in seen if "pickle" in event or "marshal" in event]
    assert not [event for event in seen if "test_programs" in event or "Topics" in event]


def test_a_program_can_be_promoted_and_rolled_back(instructed: Any, topics: Any) -> None:
    with registered(instructed) as executor:
        better = optimized(executor, topics)
        promote(executor, "Topics", better)
        assert executor.execute_signature("Topics", EATING)["topic"] == "food"
        again = optimized(executor, topics)  # what is in force is the baseline now
        assert again.report.baseline_score == 1.0
    with registered(instructed) as executor:  # as in another process
        assert executor.execute_signature("Topics", EATING)["topic"] == "food"
        rollback(executor, "Topics")
        assert executor.execute_signature("Topics", EATING)["topic"] == "sport"


def test_the_difference_of_two_programs_names_the_predictor(instructed: Any, topics: Any, tmp_path: Path) -> None:
    with registered(instructed) as executor:
        better = optimized(executor, topics)
        same = optimized(executor, topics[:8], "bootstrap_fewshot")
    old, new = better.save(tmp_path / "old.json"), (same.candidate or same).save(tmp_path / "new.json")
    output = CliRunner().invoke(diff, [str(old), str(new)], catch_exceptions=False).output
    assert "predictor 'judge.predict'" in output


@pytest.mark.parametrize(
    ("optimizer", "problem"),
    [
        ("labeled_fewshot", "no predictor of Topics has all their fields"),
        ("knn_fewshot", "works on signatures of one call"),
    ],
)
def test_optimizers_that_show_examples_refuse_programs_that_examples_do_not_fit(
    optimizer: str, problem: str, instructed: Any, topics: Any
) -> None:
    with registered(instructed) as executor, pytest.raises(OptimizationError, match=problem):
        optimized(executor, topics, optimizer)


def test_examples_are_demos_of_a_predictor_that_has_all_their_fields(thinking: Any, topics: Any) -> None:
    lm = thinking(topic=lambda system, shown, user: "food" if "eat" in user and "food" in shown else "sport",
                  reasoning=lambda *_: "it says so")  # fmt: skip
    with registered(lm, dspy.ChainOfThought("text -> topic")) as executor:
        better = optimized(executor, topics, "labeled_fewshot")
    assert better.promoted
    assert set(better.spec.predictors["predict"].demos[0]) == {"text", "topic"}


def test_no_demo_quotes_a_sensitive_field(instructed: Any, topics: Any, tmp_path: Path) -> None:
    with Executor(lm=instructed, plugins=["teleprompt"]) as executor:

        class Secret(BaseSignature):
            """Tell the topic."""

            text: str = InputField(sensitive=True)
            topic: str = OutputField()

        executor.register_signature("Topics", Topics(), signature=Secret)
        with pytest.raises(OptimizationError, match="may quote sensitive fields"):
            optimized(executor, topics, "bootstrap_fewshot")
        better = optimized(executor, topics, "auto")
    assert better.promoted
    assert "number" not in better.save(tmp_path / "better.json").read_text()


class Thoughtful(BaseSignature):
    """Tell the topic."""

    strategy = "chain_of_thought"

    text: str = InputField()
    topic: Literal["sport", "food"] = OutputField()


@pytest.fixture
def thoughtful(thinking: Any) -> Any:
    """A language model whose thoughts are right once its instructions tell it how."""

    def answer(system: str, shown: str, user: str) -> str:
        eats = "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1]
        return "food" if eats and ("MAGIC" in system or "food" in shown) else "sport"

    return thinking(topic=answer, reasoning=lambda *_: "it says so")


@pytest.mark.parametrize("optimizer", ["copro", "labeled_fewshot"])
def test_a_signature_with_a_strategy_is_optimized_as_it_is_answered(
    optimizer: str, thoughtful: Any, topics: Any, tmp_path: Path
) -> None:
    plugins = ["teleprompt", "strategies"]
    with Executor(lm=thoughtful, plugins=plugins) as executor:
        executor.register_signature("Topics", Thoughtful)
        better = optimized(executor, topics, optimizer)
        assert better.promoted
        assert list(better.spec.predictors) == ["predict"]
        path = better.save(tmp_path / "better.json")
        promote(executor, "Topics", better)
        assert executor.execute_signature("Topics", EATING)["topic"] == "food"
        plain = executor.execute_signature("Topics", EATING, strategy="predict")
        assert plain["topic"] == "sport"  # what was found for one strategy is nothing for another
    with Executor(lm=thoughtful, plugins=plugins) as executor:  # nothing is registered: the file says how
        assert executor.execute_signature(path, EATING)["topic"] == "food"


class Parts:
    """A plugin with a tool and a reward for strategies."""

    @hookimpl
    def provide_tools(self) -> list[Component]:
        return [Component(name="look", target=lambda: FunctionTool(_look, version="1"))]

    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component(name="anything", target=Anything)]


class Anything:
    """A validator that accepts everything."""

    def validate_inputs(self, signature: Any, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        return []

    def validate_outputs(
        self, signature: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        return []


def _look(text: str) -> str:
    """Look at a text."""
    return "EATING" if "eat" in text else "RUNNING"


STRATEGIES: dict[str, dict[str, Any]] = {
    "predict": {},
    "chain_of_thought": {},
    "react": {"tools": ["look"], "max_iters": 2},
    "best_of_n": {"reward": "anything", "n": 2},
    "refine": {"reward": "anything", "n": 2},
    "majority": {"n": 3},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_instructions_of_every_strategy_are_optimized(name: str, thinking: Any, topics: Any, tmp_path: Path) -> None:
    lm = thinking(
        topic=lambda system, shown, user: "food" if "eat" in user and "MAGIC" in system else "sport",
        reasoning=lambda *_: "it says so",
        next_thought=lambda *_: "I know",
        next_tool_name=lambda *_: "finish",
        next_tool_args=lambda *_: {},
    )
    with Executor(lm=lm, plugins=["teleprompt", "strategies"], extra_plugins=[Parts()]) as executor:
        executor.register_signature("Topics", "text -> topic", strategy={"name": name, **STRATEGIES[name]})
        better = optimized(executor, topics, "copro")
        assert better.promoted
        assert any("MAGIC" in state.instructions for state in better.spec.predictors.values())
        assert executor.execute_signature(better.save(tmp_path / "better.json"), EATING)["topic"] == "food"


def test_a_strategy_that_no_file_can_hold_is_refused_before_anything_is_paid_for(stubborn: Any, topics: Any) -> None:
    tool = FunctionTool(_look, version="1")
    with Executor(lm=stubborn, plugins=["teleprompt", "strategies"]) as executor:
        executor.register_signature("Topics", "text -> topic", strategy={"name": "react", "tools": [tool]})
        with pytest.raises(SignatureDefinitionError, match="offer the tool or reward as a component"):
            optimized(executor, topics)
    assert stubborn.engine.calls == 0


def test_a_strategy_can_be_asked_for_and_is_compared_with_the_signature_as_it_is(
    thoughtful: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    with (
        Executor(lm=thoughtful, plugins=["teleprompt", "strategies"]) as executor,
        TelepromptFineTuner("copro", workdir=False, executor=executor, workers=2) as finetuner,
    ):
        executor.register_signature("Topic", topic_signature)
        better = finetuner.compile("Topic", topics, "accuracy", strategy="chain_of_thought")
        assert better.promoted
        assert better.spec.strategy is not None
        assert list(better.spec.predictors) == ["predict"]
        assert better.artifact.base.strategy is None
        promote(executor, "Topic", better)
        assert executor.execute_signature("Topic", EATING).extras["reasoning"] == "it says so"
        with pytest.raises(ConfigurationError, match="is a DSPy program"):
            finetuner.compile(Topics(), topics, "accuracy", strategy="chain_of_thought")


def test_without_an_improvement_the_signature_keeps_its_strategy(
    stubborn: Any, topics: Any, topic_signature: Any
) -> None:
    with (
        Executor(lm=stubborn, plugins=["teleprompt", "strategies"]) as executor,
        TelepromptFineTuner("copro", workdir=False, executor=executor, workers=2) as finetuner,
    ):
        same = finetuner.compile(topic_signature, topics, "accuracy", strategy="chain_of_thought")
    assert not same.promoted
    assert same.spec == topic_signature.spec
