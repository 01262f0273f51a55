from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain, literal, read_artifact
from hokusai_core.errors import ArtifactError, OptimizationError
from hokusai_core.plugin_api import SignatureSpec
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import TelepromptFineTuner, build_pack, promote, rollback
from hokusai_teleprompt.commands.optimize_command import optimize

PLUGINS = ["teleprompt", "strategies"]
EATING = {"report": "we eat pears"}
STEPS = ["steps['Note']", "steps['Judge'].predict"]


def _note(system: str, shown: str, user: str) -> str:
    return "noted: EATING" if "eat" in user.rsplit("[[ ## text ## ]]", 1)[-1] else "noted: RUNNING"


def _topic(system: str, shown: str, user: str) -> str:
    return "food" if "EATING" in user.rsplit("[[ ## note ## ]]", 1)[-1] and "MAGIC" in system else "sport"


@pytest.fixture
def lm(thinking: Any) -> Any:
    """A language model whose last step is right once its instructions tell it how."""
    return thinking(note=_note, topic=_topic, reasoning=lambda *_: "it says so")


@pytest.fixture
def reports(topics: Any) -> list[dict[str, Any]]:
    return [{"inputs": {"report": row["inputs"]["text"]}, "outputs": row["outputs"]} for row in topics]


def two_steps() -> SignatureChain:
    chain = SignatureChain("Topics", inputs=["report"])
    return chain.add("Note", {"text": "report", "style": literal("short")}).add("Judge", {"note": "Note.note"})


@contextmanager
def executor_of(lm: Any) -> Iterator[Executor]:
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        executor.register_signature("Note", "text, style -> note")
        executor.register_signature("Judge", "note -> topic", strategy="chain_of_thought")
        yield executor


def optimized(executor: Executor, target: Any, examples: Any, optimizer: str = "copro") -> Any:
    with TelepromptFineTuner(optimizer, workdir=False, executor=executor, workers=2) as finetuner:
        return finetuner.compile(target, examples, "accuracy")


def test_a_chain_is_a_signature_that_runs_its_steps(lm: Any) -> None:
    with executor_of(lm) as executor:
        spec = two_steps().to_signature(executor).spec
        assert spec.describe() == "report -> topic"
        assert SignatureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))).fingerprint == spec.fingerprint
        executor.register_signature("Topics", two_steps())
        result = executor.execute_signature("Topics", EATING)
        assert result["topic"] == executor.execute_chain(two_steps(), EATING)["topic"] == "sport"
        assert result.extras["steps"]["Note"] == {"note": "noted: EATING"}
        assert result.usage.calls == 2


def test_a_chain_in_a_chain_keeps_its_steps_apart(lm: Any) -> None:
    with executor_of(lm) as executor:
        outer = SignatureChain("Outer", inputs=["report"])
        outer.add(two_steps(), {"report": "report"}, name="inner").add("Judge", {"note": "inner.topic"})
        assert outer.to_signature(executor).spec.describe() == "report -> topic"
        executor.register_signature("Outer", outer)
        result = executor.execute_signature("Outer", EATING)
        assert result.usage.calls == 3
        assert set(result.extras["steps"]) == {"inner", "inner.Note", "inner.Judge", "Judge"}


def test_every_step_of_a_chain_is_optimized_and_the_comparison_is_about_the_whole(lm: Any, reports: Any) -> None:
    with executor_of(lm) as executor:
        better = optimized(executor, two_steps(), reports)
        assert better.promoted
        assert list(better.spec.predictors) == STEPS
        assert all("MAGIC" in state.instructions for state in better.spec.predictors.values())
        assert (better.report.baseline_score, better.report.candidate_score) == (0.5, 1.0)
        assert executor.execute_signature(better, EATING)["topic"] == "food"
        assert executor.execute_signature("Judge", {"note": "EATING"})["topic"] == "sport"  # the step stays


def test_the_file_of_a_chain_needs_no_registered_signature(lm: Any, reports: Any, tmp_path: Path) -> None:
    path = tmp_path / "better.json"
    with executor_of(lm) as executor:
        better = optimized(executor, two_steps(), reports)
        better.save(path)
    data = json.loads(path.read_text())["signature"]
    assert [step["name"] for step in data["strategy"]["options"]["steps"]] == ["Note", "Judge"]
    assert list(data["predictors"]) == STEPS
    assert read_artifact(path).spec.fingerprint == better.spec.fingerprint
    with Executor(lm=lm, plugins=PLUGINS) as executor:
        assert executor.execute_signature(path, EATING)["topic"] == "food"
        executor.register_signature("Topics", path)
        assert executor.execute_batch("Topics", [EATING, EATING])[1]["topic"] == "food"


def test_a_chain_is_promoted_and_rolled_back_like_a_signature(lm: Any, reports: Any) -> None:
    with executor_of(lm) as executor:
        executor.register_signature("Topics", two_steps())
        promote(executor, "Topics", optimized(executor, "Topics", reports))
        assert executor.execute_signature("Topics", EATING)["topic"] == "food"
    with executor_of(lm) as executor:  # as in another process
        executor.register_signature("Topics", two_steps())
        assert executor.execute_signature("Topics", EATING)["topic"] == "food"
        rollback(executor, "Topics")
        assert executor.execute_signature("Topics", EATING)["topic"] == "sport"


def test_a_chain_whose_steps_have_changed_is_refused(lm: Any, reports: Any) -> None:
    with executor_of(lm) as executor:
        executor.register_signature("Topics", two_steps())
        better = optimized(executor, "Topics", reports)
    with executor_of(lm) as executor:
        executor.register_signature("Judge", "note -> topic", replace=True)
        executor.register_signature("Note", "text -> note", replace=True)
        executor.register_signature(
            "Topics",
            SignatureChain(inputs=["report"]).add("Note", {"text": "report"}).add("Judge", {"note": "Note.note"}),
        )
        with pytest.raises(ArtifactError, match="was made from local/Topics") as caught:
            promote(executor, "Topics", better)
    assert "step 'Note': input 'style' is gone" in str(caught.value)
    assert "the strategies of the steps have changed" in str(caught.value)


def test_a_demo_of_a_sensitive_step_is_refused(lm: Any, reports: Any) -> None:
    class Secret(BaseSignature):
        """Note it."""

        text: str = InputField()
        style: str = InputField()
        note: str = OutputField(sensitive=True)

    with executor_of(lm) as executor:
        executor.register_signature("Note", Secret, replace=True)
        spec = two_steps().to_signature(executor).spec
        assert spec.sensitive == {"report", "topic"}
        with pytest.raises(OptimizationError, match="sensitive"):
            optimized(executor, two_steps(), reports, "bootstrap_fewshot")


def test_a_pack_names_the_distribution_of_the_strategies(lm: Any, reports: Any, tmp_path: Path) -> None:
    with executor_of(lm) as executor:
        optimized(executor, two_steps(), reports).save(tmp_path / "topics.json")
    pack = build_pack(tmp_path, tmp_path / "dist", name="chain-pack")
    with zipfile.ZipFile(pack.path) as wheel:
        metadata = next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith("METADATA"))
    assert "Requires-Dist: hokusai-strategies>=" in metadata


def test_a_program_is_not_packed(thinking: Any, topics: Any, tmp_path: Path) -> None:
    import dspy

    with Executor(lm=null_lm(answers={"topic": "sport"}), plugins=PLUGINS) as executor:
        executor.register_signature("Tell", dspy.ChainOfThought("text -> topic"))
        better = optimized(executor, "Tell", topics, "labeled_fewshot")
    (better.candidate or better).save(tmp_path / "tell.json")
    with pytest.raises(ArtifactError, match="is of the program local/Tell, whose code no pack holds"):
        build_pack(tmp_path, tmp_path / "dist", name="program-pack")


def test_the_command_optimizes_the_chain_in_a_file(reports: Any, tmp_path: Path) -> None:
    chain = tmp_path / "chain.toml"
    chain.write_text(
        'name = "Digest"\ninputs = ["report"]\n\n'
        '[[steps]]\nsignature = "ExtractInfo"\n'
        'inputs = { document = "report", info_types = { literal = "topics" } }\n\n'
        '[[steps]]\nsignature = "ClassifyText"\n'
        'inputs = { text = "ExtractInfo.extracted_info", categories = { literal = ["sport", "food"] } }\n'
    )
    rows = [{"report": row["inputs"]["report"], "classification": row["outputs"]["topic"]} for row in reports[:20]]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    better = tmp_path / "better.json"
    result = CliRunner().invoke(
        optimize,
        [str(chain), str(data), "--optimizer", "bootstrap_fewshot", "--calls", "12", "-o", str(better), "--metric",
         "accuracy", "--lm", "local"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    assert read_artifact(better).spec.name == "Digest"
