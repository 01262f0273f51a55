from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core import Executor, read_artifact
from hokusai_core.errors import ArtifactError, SignatureNotFoundError
from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner, promote
from hokusai_teleprompt.commands.diff_command import diff
from hokusai_teleprompt.commands.feedback_command import feedback
from hokusai_teleprompt.commands.optimize_command import optimize
from hokusai_teleprompt.commands.pack_command import pack
from hokusai_teleprompt.commands.promotion_commands import promote_command, promotions_command, rollback_command
from hokusai_teleprompt.promotion_history import PromotionHistory


def run(command: Any, *arguments: Any, **options: Any) -> Any:
    result = CliRunner().invoke(command, [str(item) for item in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_commands_are_offered() -> None:
    with PluginManager(only=["teleprompt"]) as plugins:
        offered = {component.name: plugins.create for component in plugins.components("command")}
        assert offered.keys() == {
            "optimize", "diff", "verify", "promote", "rollback", "promotions", "pack", "feedback",
        }  # fmt: skip


@pytest.fixture
def data(topics: Any, tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [
        {
            "inputs": {**item["inputs"], "categories": ["sport", "food"]},
            "outputs": {"classification": item["outputs"]["topic"]},
        }
        for item in topics
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def model(thinking: Any) -> Any:
    def answer(system: str, shown: str, user: str) -> str:
        text = user.rsplit("[[ ## text ## ]]", 1)[-1].partition("[[ ##")[0]
        return "food" if "eat" in text and "food" in shown.replace('"food"', "") else "sport"

    return thinking(classification=answer)


def test_optimize_run_and_diff(data: Path, model: Any, tmp_path: Path) -> None:
    import dspy

    better, plot = tmp_path / "better.json", tmp_path / "plot.svg"
    with dspy.context(lm=model):
        result = run(
            optimize, "ClassifyText", data, "--metric", "accuracy", "-o", better, "--svg", plot, "--seed", "3",
            "--workers", "2", "--calls", "400", "--require-better",
        )  # fmt: skip
    assert result.exit_code == 0
    result_text = result.stdout
    assert "promoted: better, the 95% interval" in result_text
    assert "the better signature" in result.stdout
    assert plot.read_text().startswith("<svg")
    artifact = read_artifact(better)
    assert artifact.promoted
    assert artifact.base_name == "signatures/ClassifyText"
    with Executor(lm=model) as executor:
        answer = executor.execute_signature(str(better), {"text": "we eat", "categories": ["sport", "food"]})
        assert answer["classification"] == "food"
    other = tmp_path / "other.json"
    with dspy.context(lm=model):
        result = run(
            optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "--set", "k=4", "-o", other, "--json"
        )
    report = json.loads(result.stdout)
    assert (report["optimizer"], report["promoted"]) == ("labeled_fewshot", True)
    assert len(read_artifact(other).spec.demos) == 4
    shown = run(diff, better, other).stdout
    assert "demos were" in shown
    assert "+ demo {" in shown or "- demo {" in shown
    assert run(diff, better, better).stdout == "no difference\n"
    wins = [item for item in report["differing"] if item["outcome"] == "win"]
    assert len(wins) == 5
    assert all("text=we eat number" in item["inputs"] for item in wins)
    assert {(item["expected"], item["baseline"], item["candidate"]) for item in wins} == {
        ("classification=food", "classification=sport", "classification=food")
    }
    assert "win " in result_text
    assert "; expected classification=food; baseline classification=sport; candidate classification=food" in result_text
    assert "differing" not in artifact.report or not artifact.report["differing"]
    assert run(diff, better, other, "--exit-code").exit_code == 1


def test_columns_are_mapped_and_inputs_are_given_to_all_rows(topics: Any, model: Any, tmp_path: Path) -> None:
    import dspy

    table, better = tmp_path / "topics.csv", tmp_path / "better.json"
    lines = [f"{item['inputs']['text']},{item['outputs']['topic']}\n" for item in topics]
    table.write_text("".join(["body,label\n", *lines]))
    given = ["--map", "body=text", "--map", "label=classification", "-i", "categories=sport, food"]
    with dspy.context(lm=model):
        result = run(optimize, "ClassifyText", table, *given, "--optimizer", "labeled_fewshot", "-o", better)
        refused = run(optimize, "ClassifyText", "--from-feedback", *given)
    assert result.exit_code == 0, result.output
    assert read_artifact(better).spec.demos[0]["categories"] == ["sport", "food"]
    assert (refused.exit_code, "-i, --map and --from-feedback do not go together" in refused.output) == (2, True)


def test_optimize_says_where_nothing_is_better(data: Path, stubborn: Any, tmp_path: Path) -> None:
    import dspy

    with dspy.context(lm=stubborn):
        stubborn.engine.answers["classification"] = lambda system, shown, user: "sport"
        result = run(optimize, "ClassifyText", data, "-o", tmp_path / "same.json")
        assert result.exit_code == 0
        assert "not promoted" in result.stdout
        assert "the signature as it was" in result.stdout
        assert run(optimize, "ClassifyText", data, "--require-better").exit_code == 1
    assert not read_artifact(tmp_path / "same.json").promoted


def test_diff_shows_the_score_of_what_a_file_holds(data: Path, thinking: Any, tmp_path: Path) -> None:
    import dspy

    def answer(system: str, shown: str, user: str) -> str:  # demos only harm
        text = user.rsplit("[[ ## text ## ]]", 1)[-1].partition("[[ ##")[0]
        return "sport" if "eat" not in text or "we " in shown else "food"

    same, kept = tmp_path / "same.json", tmp_path / "kept.json"
    with dspy.context(lm=thinking(classification=answer)):
        options = ["--metric", "accuracy", "--optimizer", "labeled_fewshot", "-o", same, "--save-candidate", kept]
        result = run(optimize, "ClassifyText", data, *options)
    assert "score: accuracy 1.0000 -> accuracy 0.5000" in run(diff, same, kept).stdout
    assert "score: accuracy 0.5000 -> accuracy 1.0000" in run(diff, kept, same).stdout
    assert "loss " in result.stdout


def test_where_no_candidate_is_found_none_is_saved(data: Path, model: Any, tmp_path: Path) -> None:
    import dspy

    same, kept = tmp_path / "same.json", tmp_path / "kept.json"
    with dspy.context(lm=model):
        options = ["--optimizer", "bootstrap_fewshot", "--calls", "20", "-o", same, "--save-candidate", kept]
        result = run(optimize, "ClassifyText", data, *options)
    assert f"there is no candidate, so {kept} was not written" in result.stdout
    assert f"saved to {same}: the signature as it was, digest" in result.stdout
    assert not kept.exists()


def test_what_was_not_compared_is_said_to_be_so(data: Path, model: Any, tmp_path: Path) -> None:
    import dspy

    few, better = tmp_path / "few.jsonl", tmp_path / "better.json"
    few.write_text("\n".join(data.read_text().splitlines()[:5]))
    with dspy.context(lm=model):
        result = run(optimize, "ClassifyText", few, "-o", better)
    assert f"saved to {better}: the best candidate, which was not compared" in result.stdout
    assert read_artifact(better).spec.demos


def test_promote_rollback_and_promotions(data: Path, model: Any, tmp_path: Path) -> None:
    import dspy

    better = tmp_path / "better.json"
    with dspy.context(lm=model):
        run(optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "-o", better)
    inputs = {"text": "we eat", "categories": ["sport", "food"]}

    def asked() -> str:
        with Executor(lm=model) as executor:
            return str(executor.execute_signature("ClassifyText", inputs)["classification"])

    assert run(promotions_command).stdout == "nothing was promoted\n"
    assert asked() == "sport"
    promoted = run(promote_command, better, "--note", "measured")
    assert "hokusai rollback signatures/ClassifyText" in promoted.stdout
    assert asked() == "food"
    undone = run(rollback_command, "ClassifyText")
    assert undone.stdout == "rolled back signatures/ClassifyText: it is the original signature again\n"
    assert asked() == "sport"
    history = json.loads(run(promotions_command, "ClassifyText", "--json").stdout)
    assert [(entry["action"], entry["note"]) for entry in history["promotions"]["signatures/ClassifyText"]] == [
        ("promote", "measured"), ("rollback", ""),
    ]  # fmt: skip
    table = run(promotions_command).stdout
    assert read_artifact(better).spec.fingerprint[:8] in table
    assert "original" in table
    with pytest.raises(ArtifactError, match="nothing to roll back"):
        run(rollback_command, "ClassifyText")
    with pytest.raises(SignatureNotFoundError):
        run(promotions_command, "Unknown")


def test_promotions_are_shown_of_signatures_that_no_pack_has(
    by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    with Executor(lm=by_demos, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topic", topic_signature)
        with TelepromptFineTuner("labeled_fewshot", workdir=False, executor=executor) as finetuner:
            promote(executor, "Topic", finetuner.compile("Topic", topics, "accuracy"))
    assert "local/Topic" in run(promotions_command).stdout
    assert "promote" in run(promotions_command, "local/Topic").stdout


@pytest.mark.parametrize("name", ["local/Topic", "_pack/_ab", "tenant.a/..", "a b/é"])
def test_a_history_is_listed_under_its_name(name: str, tmp_path: Path) -> None:
    history = PromotionHistory("default", tmp_path)
    place = history._place(name)
    place.mkdir(parents=True)
    (place / "history.jsonl").touch()
    assert PromotionHistory("default", tmp_path).names() == [name]


def test_the_best_candidate_is_saved_though_it_was_not_promoted(data: Path, stubborn: Any, tmp_path: Path) -> None:
    import dspy

    kept, same = tmp_path / "candidate.json", tmp_path / "same.json"
    with dspy.context(lm=stubborn):
        stubborn.engine.answers["classification"] = lambda system, shown, user: "sport"
        result = run(
            optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "-o", same, "--save-candidate", kept
        )
    artifact = read_artifact(kept)
    assert f"saved to {kept}: the best candidate, not promoted, digest {artifact.digest}" in result.stdout
    assert not artifact.promoted
    assert artifact.spec.demos
    assert not read_artifact(same).spec.demos
    assert artifact.report["verdict"].startswith("not promoted")
    with pytest.raises(ArtifactError, match=r"not found to be better .*\(not promoted: .*hokusai promote --force"):
        run(promote_command, kept)
    assert run(promotions_command).stdout == "nothing was promoted\n"
    run(promote_command, kept, "--force")
    with Executor(lm=stubborn) as executor:
        assert executor.signatures.resolve("ClassifyText").spec.fingerprint == artifact.spec.fingerprint


@pytest.mark.parametrize("option", ["nonsense", "=3", "two words=3"])
def test_a_bad_option_is_a_usage_error(data: Path, option: str) -> None:
    result = run(optimize, "ClassifyText", data, "--set", option)
    assert result.exit_code == 2
    assert "OPTION=VALUE" in result.output


@pytest.mark.parametrize("option", ["-o", "--save-candidate", "--svg"])
def test_what_cannot_be_written_is_refused_before_anything_is_paid(
    data: Path, stubborn: Any, tmp_path: Path, option: str
) -> None:
    import dspy

    with dspy.context(lm=stubborn):
        result = run(optimize, "ClassifyText", data, option, tmp_path / "missing" / "file")
    assert result.exit_code == 2
    assert "its folder does not exist" in result.output
    assert stubborn.engine.calls == 0


def test_a_dear_optimization_is_begun_only_when_asked_for(
    data: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dspy

    prices = data.with_name("prices.json")
    prices.write_text(json.dumps({"scripted/thinking": {"input": 200.0, "output": 200.0}}))
    monkeypatch.setenv("HOKUSAI_PRICES", str(prices))
    model.kwargs["max_tokens"] = 60  # a ceiling on cost needs it
    with dspy.context(lm=model):
        refused = run(optimize, "ClassifyText", data)
        assert refused.exit_code == 2
        assert "estimate: about" in refused.stderr
        assert "give --yes to begin, or a ceiling such as --cost" in refused.output
        assert model.engine.calls == 0
        assert run(optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "--yes").exit_code == 0
        bounded = run(optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "--cost", "2", "--json")
        assert json.loads(bounded.stdout)["cost"] <= 2.2  # a call costs up to 0.15
        monkeypatch.setattr("hokusai_teleprompt.commands.cost_question.has_terminal", lambda: True)
        before = model.engine.calls
        declined = run(optimize, "ClassifyText", data, input="n\n")
        assert declined.exit_code == 1
        assert model.engine.calls == before
        assert "is above $1 (--ask-above). Begin?" in declined.output
        agreed = run(optimize, "ClassifyText", data, "--optimizer", "labeled_fewshot", "--seed", "1", input="y\n")
        assert agreed.exit_code == 0


def test_pack_build(by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    with TelepromptFineTuner(lm=by_demos, workdir=False) as finetuner:
        finetuner.compile(topic_signature, topics, "accuracy").save(folder / "Topic.json")
    result = run(pack, "build", folder, "-o", tmp_path / "dist", "--name", "acme-topics")
    assert "acme_topics-1.0.0-py3-none-any.whl: Topic" in result.stdout
    assert (tmp_path / "dist" / "acme_topics-1.0.0-py3-none-any.whl").exists()


@pytest.fixture
def executions(reply_signature: Any) -> list[str]:
    answers = {"reply": "hello\x1b[31m red"}
    with Executor(lm=null_lm(answers=answers), plugins=["teleprompt"], cache_enabled=False) as executor:
        executor.register_signature("Reply", reply_signature)
        return [
            executor.execute_signature("Reply", {"message": f"m{n}"}, collect_feedback=True).execution_id
            for n in range(3)
        ]


def test_feedback_on_the_command_line(executions: list[str], tmp_path: Path) -> None:
    assert run(feedback, "list").stdout == "no such feedback; --unrated shows executions without any\n"
    assert all(item in run(feedback, "list", "--unrated").stdout for item in executions)
    assert run(feedback, "add", executions[0], 2, "-c", "reply=Better", "--source", "ann").exit_code == 0
    listed = run(feedback, "list").stdout
    assert executions[0] in listed
    assert "ann" in listed
    assert executions[1] not in listed
    (row,) = json.loads(run(feedback, "list", "--json").stdout)["feedback"]
    assert (row["rating"], row["corrections"], row["source"]) == (2, {"reply": "Better"}, "ann")
    shown = run(feedback, "show", executions[0][:8]).stdout
    assert "m0" in shown
    assert "Better" in shown
    assert "\x1b" not in shown  # what a model wrote must not steer the terminal
    assert run(feedback, "export", tmp_path / "f.jsonl").stdout.startswith("1 feedbacks written")
    assert run(feedback, "delete", executions[0]).exit_code == 0
    assert run(feedback, "delete", executions[0]).exit_code == 1
    with pytest.raises(ValueError, match="rating=9"):
        run(feedback, "add", executions[1], 9)


def test_trackers_hear_of_what_is_said_on_the_command_line(
    executions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, spool = tmp_path / "heard.jsonl", tmp_path / "spool"
    monkeypatch.setenv("HOKUSAI_TRACKERS", "jsonl")
    monkeypatch.setenv("HOKUSAI_JSONL_PATH", str(heard))
    monkeypatch.setenv("HOKUSAI_SPOOL_DIR", str(spool))
    monkeypatch.setenv("HOKUSAI_TRACKING_WRITER", "none")
    run(feedback, "add", executions[0], 2, "-c", "reply=Better")
    run(feedback, "review", "--track", input="5\nfine\nq\n")
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(line["kind"], line["rating"]) for line in lines] == [("feedback", 2), ("feedback", 5)]
    assert any(lines[1]["execution_id"].encode() in file.read_bytes() for file in spool.rglob("*") if file.is_file())


def test_review_draws_at_random(executions: list[str]) -> None:
    shuffled = list(executions)
    random.Random(1).shuffle(shuffled)
    assert shuffled != executions
    executions = shuffled
    # 5: nothing to correct; s: skipped; 2: a correction and a comment
    answers = "5\n\ns\n2\nShorter\ntoo long\n"
    result = run(feedback, "review", "--source", "bob", "--seed", 1, input=answers)
    assert "2 rated, 1 left" in result.stdout
    assert "drawn at random (seed 1) from 3 executions without feedback" in result.stdout
    with FeedbackCollector() as collector:
        given = {item.execution_id: item for item in collector.get_feedback()}
        assert given[executions[0]].rating == 5
        assert executions[1] not in given
        assert all(one.drawn for one in collector.history(executions[0]))
        last = given[executions[2]]
        assert (last.rating, last.corrections, last.comment, last.source) == (
            2,
            {"reply": "Shorter"},
            "too long",
            "bob",
        )
        assert [kept.execution_id for kept in collector.unrated()] == [executions[1]]
    assert "0 rated, 1 left" in run(feedback, "review", input="q\n").stdout


def test_a_correction_that_does_not_fit_is_asked_for_again(topic_signature: Any) -> None:
    with Executor(lm=null_lm(answers={"topic": "sport"}), plugins=["teleprompt"], cache_enabled=False) as executor:
        executor.register_signature("Topic", topic_signature)
        executor.execute_signature("Topic", {"text": "we eat"}, collect_feedback=True)
    result = run(feedback, "review", input="1\ncars\n\nfood\nsure\n")
    assert "topic: must be one of 'sport', 'food'" in result.stderr
    assert result.stdout.endswith("1 rated, 0 left\n")
    with FeedbackCollector() as collector:
        (given,) = collector.get_feedback()
        assert (given.rating, given.corrections, given.comment) == (1, {"topic": "food"}, "sure")


def test_the_end_of_input_ends_a_review_and_keeps_what_was_said(executions: list[str]) -> None:
    result = run(feedback, "review", input="5\n\n")
    assert result.exit_code == 0
    assert result.stdout.endswith("1 rated, 2 left\n")
