"""Chains with branches and programs are optimized like others; what nothing reaches stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import pytest
from click.testing import CliRunner

from hokusai_core import ConditionalPipeline, Executor, SignatureChain
from hokusai_core.errors import ArtifactError
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import TelepromptFineTuner, build_pack, load_optimized, promote, rollback, verify
from hokusai_teleprompt.commands.optimize_command import optimize

PLUGINS = ["teleprompt", "strategies"]
LONG, SHORT = {"report": "we eat pears and more pears"}, {"report": "they run"}
#: Conditions as data, of which the first holds for no report.
NEVER, FOOD = {"report": "no such report"}, {"note": {"contains": "EATING"}}


def _note(system: str, shown: str, user: str) -> str:
    return "noted: EATING" if "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1] else "noted: RUNNING"


def _topic(system: str, shown: str, user: str) -> str:
    return "food" if "EATING" in user.rsplit("[[ ## note ## ]]", 1)[-1] and "MAGIC" in system else "sport"


@pytest.fixture
def lm(thinking: Any) -> Any:
    """A language model that knows food once its instructions tell it how."""
    return thinking(note=_note, topic=_topic, reasoning=lambda *_: "it says so")


@pytest.fixture
def reports(topics: Any) -> list[dict[str, Any]]:
    return [{"inputs": {"report": row["inputs"]["text"]}, "outputs": row["outputs"]} for row in topics]


class Judge(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """Tells the topic of a note."""

    def __init__(self, signature: str = "note -> topic") -> None:
        super().__init__()
        self.judge = dspy.Predict(signature)

    def forward(self, note: str) -> Any:
        return self.judge(note=note)


def branching(condition: Any) -> SignatureChain:
    """Return a chain that notes, and then judges in one of two branches."""
    pipeline = ConditionalPipeline().add_condition("odd", condition)
    pipeline.when("odd").execute("Rare", {"note": "note"})
    pipeline.otherwise().execute("Judge")
    chain = SignatureChain("Topics", inputs=["report"])
    chain.add("Note", {"text": "report"})
    return chain.add(pipeline, {"note": "Note.note", "report": "report"}, name="choose")


@contextmanager
def executor_of(lm: Any, program: Any = None) -> Iterator[Executor]:
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        executor.register_signature("Note", "text -> note")
        executor.register_signature("Rare", "note -> topic")
        executor.register_signature("Judge", program or "note -> topic")
        yield executor


def optimized(executor: Executor, target: Any, examples: Any, optimizer: str = "copro", **options: Any) -> Any:
    with TelepromptFineTuner(optimizer, workdir=False, executor=executor, workers=2, **options) as finetuner:
        return finetuner.compile(target, examples, "accuracy")


@pytest.mark.parametrize("condition", [FOOD, lambda inputs: "EATING" in inputs["note"]], ids=["data", "function"])
@pytest.mark.filterwarnings("ignore:strategy chain. condition")
def test_a_branch_runs_as_in_the_chain(condition: Any, lm: Any) -> None:
    with executor_of(lm) as executor:
        chain = branching(condition)
        executor.register_signature("Topics", chain)
        for inputs, branch in ((LONG, "choose.odd"), (SHORT, "choose.otherwise")):
            result = executor.execute_signature("Topics", inputs)
            assert result["topic"] == executor.execute_chain(chain, inputs)["topic"] == "sport"
            assert list(result.extras["steps"]) == ["Note", branch, "choose"]


def test_branches_are_optimized_and_the_report_counts_what_reached_them(lm: Any, reports: Any, tmp_path: Path) -> None:
    path = tmp_path / "better.json"
    with executor_of(lm) as executor:
        better = optimized(executor, branching(FOOD), reports)
        better.save(path)
    assert better.promoted
    assert list(better.spec.predictors) == ["steps['Note']", "steps['choose.odd']", "steps['choose.otherwise']"]
    reached = better.report.steps
    assert reached["Note"] == reached["choose"]
    assert reached["choose.odd"][0] + reached["choose.otherwise"][0] == reached["Note"][0] == reached["Note"][1]
    assert f"choose.odd: {reached['choose.odd'][0]} of" in better.report.table()
    loaded = load_optimized(path)
    assert loaded.spec.fingerprint == better.spec.fingerprint
    assert loaded.report.steps == reached
    assert verify(path).passed
    assert build_pack(tmp_path, tmp_path / "dist", name="branching-pack").signatures == ("Topics",)
    with Executor(lm=lm, plugins=PLUGINS) as executor:  # knows none of the signatures
        assert executor.execute_signature(path, LONG)["topic"] == "food"


@pytest.mark.parametrize("optimizer", ["copro", "bootstrap_fewshot"])
def test_a_branch_that_nothing_reaches_keeps_its_state(optimizer: str, lm: Any, reports: Any) -> None:
    with executor_of(lm) as executor:
        better = optimized(executor, branching(NEVER), reports, optimizer)
        found = better.candidate or better
        rare = executor.signature("Rare").spec.instructions
    states = found.spec.predictors
    assert states["steps['choose.odd']"].instructions == rare
    assert not states["steps['choose.odd']"].demos
    changed = states["steps['choose.otherwise']"]
    assert "MAGIC" in changed.instructions or changed.demos
    assert better.report.steps["choose.odd"][0] == 0
    assert "no example reached steps['choose.odd'], which keeps its instructions and demos" in better.report.notes


@pytest.mark.filterwarnings("ignore:strategy chain. condition")
def test_a_function_comes_from_the_chain_that_is_registered(lm: Any, reports: Any, tmp_path: Path) -> None:
    path = tmp_path / "better.json"
    chain = branching(lambda inputs: "EATING" in inputs["note"])
    with executor_of(lm) as executor:
        executor.register_signature("Topics", chain)
        better = optimized(executor, "Topics", reports)
        better.save(path)
        promote(executor, "Topics", better)
        assert executor.execute_signature("Topics", LONG)["topic"] == "food"
    assert "EATING" not in json.dumps(json.loads(path.read_text())["signature"]["strategy"])
    with executor_of(lm) as executor:
        with pytest.raises(ArtifactError, match=r"register the chain that has it: executor.register_signature\('Top"):
            executor.execute_signature(path, LONG)
        executor.register_signature("Topics", chain)
        assert executor.execute_signature("Topics", LONG)["topic"] == "food"  # the promotion
        rollback(executor, "Topics")
        assert executor.execute_signature("Topics", LONG)["topic"] == "sport"
        assert executor.execute_signature(path, LONG)["topic"] == "food"
    with pytest.raises(
        ArtifactError, match=r"its branch 'choose.odd' has a function as its condition, whose code no pack"
    ):
        build_pack(tmp_path, tmp_path / "dist", name="branching-pack")


def with_program() -> SignatureChain:
    chain = SignatureChain("Topics", inputs=["report"])
    return chain.add("Note", {"text": "report"}).add("Judge", {"note": "Note.note"})


@pytest.mark.filterwarnings("ignore:strategy chain. program")
def test_a_program_in_a_chain_comes_from_its_name_or_the_caller(lm: Any, reports: Any, tmp_path: Path) -> None:
    path = tmp_path / "better.json"
    with executor_of(lm, Judge()) as executor:
        better = optimized(executor, with_program(), reports)
        assert better.promoted
        assert list(better.spec.predictors) == ["steps['Note']", "steps['Judge'].judge"]
        better.save(path)
        assert executor.execute_signature(path, LONG)["topic"] == "food"
        assert executor.execute_signature("Judge", {"note": "EATING"})["topic"] == "sport"  # the program stays
        executor.register_signature("Topics", with_program())
        promote(executor, "Topics", better)
        assert executor.execute_signature("Topics", LONG)["topic"] == "food"
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        with pytest.raises(ArtifactError, match="no program is registered under that name"):
            executor.execute_signature(path, LONG)
        assert executor.execute_signature(load_optimized(path, program=Judge()), LONG)["topic"] == "food"
        assert (
            executor.execute_signature(load_optimized(path, program={"local/Judge": Judge()}), LONG)["topic"] == "food"
        )
        with pytest.raises(ArtifactError, match="has no step of the program local/Other; it has local/Judge"):
            load_optimized(path, program={"local/Other": Judge()})
        with pytest.raises(ArtifactError, match="another version of the program local/Judge"):
            load_optimized(path, program=Judge("note -> mood"))
    with executor_of(lm, Judge("note -> mood")) as executor, pytest.raises(ArtifactError, match="another version"):
        executor.execute_signature(path, LONG)
    with (
        executor_of(lm, dspy.Predict("note -> topic")) as executor,
        pytest.raises(ArtifactError, match="another version"),
    ):
        executor.execute_signature(path, LONG)
    with pytest.raises(ArtifactError, match="its step 'Judge' is of the program local/Judge, whose code no pack holds"):
        build_pack(tmp_path, tmp_path / "dist", name="program-pack")


def test_what_a_step_says_of_strategy_and_parameters_is_kept(lm: Any) -> None:
    lm = null_lm(answers={"topic": "sport"}, keep_requests=True)
    with executor_of(lm) as executor:
        chain = SignatureChain("One", inputs=["note"])
        chain.add("Judge", {"note": "note"}, strategy="chain_of_thought", parameters={"temperature": 0.25})
        executor.register_signature("One", chain)
        assert executor.execute_signature("One", {"note": "x"})["topic"] == "sport"
    (request,) = lm.engine.requests
    assert request.config.temperature == 0.25
    assert "reasoning" in str(request.system)


FILE = """name = "Sorting"
inputs = ["report"]

[[steps]]
signature = "ClassifyText"
inputs = { text = "report", categories = { literal = ["sport", "food"] } }

[[steps]]
name = "check"
inputs = { label = "ClassifyText.classification", text = "report" }

[[steps.branches]]
when = { label = "food" }
name = "twice"
signature = "ClassifyText"
inputs = { text = "text", categories = { literal = ["sport", "food"] } }

[[steps.branches]]
signature = "ClassifyText"
inputs = { text = "text", categories = { literal = ["food", "sport"] } }
"""


def test_the_command_optimizes_a_file_with_branches(reports: Any, tmp_path: Path) -> None:
    chain, data, better = (tmp_path / name for name in ("chain.toml", "data.jsonl", "better.json"))
    chain.write_text(FILE)
    rows = [{"report": row["inputs"]["report"], "classification": row["outputs"]["topic"]} for row in reports[:20]]
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = CliRunner().invoke(
        optimize,
        [str(chain), str(data), "--optimizer", "bootstrap_fewshot", "--calls", "12", "-o", str(better), "--metric",
         "accuracy", "--lm", "local"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    steps = json.loads(better.read_text())["signature"]["strategy"]["options"]["steps"]
    assert [branch["name"] for branch in steps[1]["branches"]] == ["twice", "otherwise"]
    with Executor(lm=null_lm(answers={"classification": "food"}), plugins=[*PLUGINS, "signatures"]) as executor:
        again = optimized(executor, str(chain), [{"inputs": {"report": row["report"]}, "outputs": {
            "classification": row["classification"]}} for row in rows], "bootstrap_fewshot")  # fmt: skip
        assert again.report.steps["check.otherwise"][0] == 0
