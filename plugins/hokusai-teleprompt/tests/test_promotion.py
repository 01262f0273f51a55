from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, hookimpl
from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_core.plugin_api import EditionWarning
from hokusai_teleprompt import TelepromptFineTuner, promote, promotions, rollback

#: The beginning of a program of another process.
TOPIC = """
import sys
from typing import Literal
from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_teleprompt import promote
class Topic(BaseSignature):
    'Tell the topic.'
    text: str = InputField()
    topic: Literal['sport', 'food'] = OutputField()
with Executor(plugins=["teleprompt"]) as executor:
    executor.register_signature('Topic', Topic)
"""


@pytest.fixture
def optimized(by_demos: Any, topics: Any, topic_signature: Any) -> Any:
    with TelepromptFineTuner(lm=by_demos, workdir=False) as finetuner:
        return finetuner.compile(topic_signature, topics, "accuracy")


def made(lm: Any, signature: Any, **options: Any) -> Executor:
    executor = Executor(lm=lm, plugins=["teleprompt"], **options)
    executor.register_signature("Topic", signature)
    return executor


def asked(executor: Executor) -> str:
    return str(executor.execute_signature("Topic", {"text": "we eat pears"})["topic"])


def test_a_promotion_holds_here_and_in_later_executors_until_it_is_rolled_back(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        promotion = promote(executor, "Topic", optimized, note="measured on reviews")
        assert (promotion.action, promotion.version) == ("promote", "1.0.1")
        assert asked(executor) == "food"
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "food"
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == optimized.spec.fingerprint
        rollback(executor, "Topic", note="complaints")
        assert asked(executor) == "sport"
        history = [(entry.action, entry.version, entry.note) for entry in promotions(executor, "Topic")]
    assert history == [("promote", "1.0.1", "measured on reviews"), ("rollback", "", "complaints")]
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        assert [entry.action for entry in promotions(executor, "Topic")] == ["promote", "rollback"]
        with pytest.raises(ArtifactError, match="nothing to roll back"):
            rollback(executor, "Topic")


def test_promotions_stack(optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path) -> None:
    with TelepromptFineTuner("labeled_fewshot", by_demos, workdir=False, seed=5) as finetuner:
        other = finetuner.compile(topic_signature, topics, "accuracy")
    assert other.spec.fingerprint != optimized.spec.fingerprint
    with made(by_demos, topic_signature) as executor:
        promote(executor, "Topic", optimized)
        promote(executor, "Topic", other.save(tmp_path / "other.json"))
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == other.spec.fingerprint
        rollback(executor, "Topic")
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == optimized.spec.fingerprint
        rollback(executor, "Topic")
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == topic_signature.spec.fingerprint


@pytest.mark.parametrize("harm", ["deleted", "edited"])
def test_what_cannot_be_gone_back_to_is_refused_and_nothing_changes(
    harm: str, optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, own_folder: Path
) -> None:
    with TelepromptFineTuner("labeled_fewshot", by_demos, workdir=False, seed=5) as finetuner:
        other = finetuner.compile(topic_signature, topics, "accuracy")
    with made(by_demos, topic_signature) as executor:
        promote(executor, "Topic", optimized)
        promote(executor, "Topic", other)
        (file,) = own_folder.rglob(f"{optimized.spec.fingerprint}.json")
        if harm == "deleted":
            file.unlink()
        else:
            file.write_text(file.read_text().replace("1.0.1", "1.0.7"))
        before = promotions(executor, "Topic")
        with pytest.raises(ArtifactError, match=r"local/Topic was not rolled back, .*original=True"):
            rollback(executor, "Topic")
        assert promotions(executor, "Topic") == before
        assert executor.signatures.resolve("Topic").spec.fingerprint == other.spec.fingerprint
        with made(by_demos, topic_signature) as later:
            assert later.signatures.resolve("Topic").spec.fingerprint == other.spec.fingerprint
        assert rollback(executor, "Topic", original=True).fingerprint is None
        assert asked(executor) == "sport"
        with pytest.raises(ArtifactError, match="nothing to roll back"):
            rollback(executor, "Topic")
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        promote(executor, "Topic", optimized)
        rollback(executor, "Topic")
        assert asked(executor) == "sport"


def test_two_processes_that_promote_at_once_lose_nothing(
    optimized: Any, by_demos: Any, topic_signature: Any, tmp_path: Path
) -> None:
    path = optimized.save(tmp_path / "better.json")
    code = TOPIC + "    for n in range(10): promote(executor, 'Topic', sys.argv[1], note=f'{sys.argv[2]} {n}')\n"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("a", "b")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    with made(by_demos, topic_signature) as executor:
        notes = [entry.note for entry in promotions(executor, "Topic")]
        assert sorted(notes) == sorted(f"{who} {n}" for who in "ab" for n in range(10))
        for _ in notes:
            rollback(executor, "Topic")
        assert asked(executor) == "sport"


def test_namespaces_are_apart_and_promotions_can_be_left_out(
    optimized: Any, by_demos: Any, topic_signature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(by_demos, topic_signature, namespace="tenant/../a") as executor:
        promote(executor, "Topic", optimized)
    for options, answer in [({}, "sport"), ({"namespace": "tenant/../a"}, "food"),
                            ({"namespace": "tenant/../a", "promotions": False}, "sport")]:  # fmt: skip
        with made(by_demos, topic_signature, **options) as executor:  # type: ignore[arg-type]
            assert asked(executor) == answer
    monkeypatch.setenv("HOKUSAI_PROMOTIONS", "off")
    with made(by_demos, topic_signature, namespace="tenant/../a") as executor:
        assert asked(executor) == "sport"
        with pytest.raises(ConfigurationError, match="promotions are off"):
            promote(executor, "Topic", optimized)


@pytest.mark.parametrize("form", ["promoted", "class", "file"])
def test_what_was_optimized_can_be_optimized_saved_run_and_promoted_again(
    form: str, optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    harder = [{"inputs": {"text": item["inputs"]["text"] + "!"}, "outputs": {"topic": "food"}} for item in topics]
    with Executor(lm=by_demos, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topic", topic_signature)
        target: Any = optimized
        if form == "promoted":
            promote(executor, "Topic", optimized)
            target = "Topic"
        elif form == "file":
            target = optimized.save(tmp_path / "first.json")
        with TelepromptFineTuner("labeled_fewshot", workdir=False, executor=executor, seed=7) as finetuner:
            again = finetuner.compile(target, harder, "accuracy").candidate
        assert again.spec.version == "1.0.2"  # type: ignore[union-attr]
        assert again.spec.provenance["optimized"]["base"]["fingerprint"] == optimized.spec.fingerprint  # type: ignore[union-attr]
        assert (again.artifact.base_name, again.artifact.base) == ("local/Topic", topic_signature.spec)  # type: ignore[union-attr]
        path = again.save(tmp_path / "second.json")  # type: ignore[union-attr]
        assert executor.execute_signature(path, {"text": "x"}).signature_version == "1.0.2"
        promote(executor, "Topic", path, force=True)
        assert executor.execute_signature("Topic", {"text": "x"}).signature_version == "1.0.2"
    with made(by_demos, topic_signature) as later:
        assert later.execute_signature("Topic", {"text": "x"}).signature_version == "1.0.2"


def test_only_what_is_better_is_promoted(stubborn: Any, topics: Any, topic_signature: Any) -> None:
    with TelepromptFineTuner(lm=stubborn, workdir=False) as finetuner:
        refused = finetuner.compile(topic_signature, topics, "accuracy")
    with made(stubborn, topic_signature) as executor:
        for item in (refused, refused.candidate):
            with pytest.raises(ArtifactError, match="was not found to be better"):
                promote(executor, "Topic", item)
        assert promote(executor, "Topic", refused.candidate, force=True).version == "1.0.1"
        with pytest.raises(ArtifactError, match="only an optimized signature"):
            promote(executor, "Topic", topic_signature)


def test_what_was_made_from_another_signature_is_refused(optimized: Any, by_demos: Any) -> None:
    class Topic(BaseSignature):
        """Tell the topic in one word."""

        text: str = InputField()
        topic: str = OutputField()

    with made(by_demos, Topic) as executor, pytest.raises(ArtifactError, match="output 'topic': type was"):
        promote(executor, "Topic", optimized)


def test_a_promotion_whose_base_has_changed_is_not_used_and_says_so(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    with made(by_demos, topic_signature) as executor:
        promote(executor, "Topic", optimized)

    class Topic(BaseSignature):
        """Tell the topic."""

        version = "1.1.0"
        text: str = InputField(description="any text")
        topic: str = OutputField()

    with pytest.warns(UserWarning, match="the edition of local/Topic that teleprompt/promotions has is not used"):
        executor = made(by_demos, Topic)
    with executor:
        assert asked(executor) == "sport"


def test_signatures_of_packs_are_promoted_under_their_qualified_name(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    class Pack:
        @hookimpl
        def provide_signatures(self) -> Any:
            return [topic_signature]

    def executor() -> Executor:
        return Executor(lm=by_demos, plugins=["teleprompt"], extra_plugins=[("pack", Pack())])

    with executor() as first:
        assert asked(first) == "sport"
        promote(first, "Topic", optimized)
        assert asked(first) == "food"
        assert first.signatures.resolve("Topic").qualified_name == "pack/Topic"
    with executor() as second:
        assert asked(second) == "food"
        rollback(second, "pack/Topic")
        assert asked(second) == "sport"


def test_another_process_finds_the_promotion(
    optimized: Any, by_demos: Any, topic_signature: Any, own_folder: Path
) -> None:
    with made(by_demos, topic_signature) as executor:
        promote(executor, "Topic", optimized)
    code = TOPIC + "    print(executor.signatures.resolve('Topic').spec.version)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0.1"


def test_a_damaged_history_is_named(optimized: Any, by_demos: Any, topic_signature: Any, own_folder: Path) -> None:
    with made(by_demos, topic_signature) as executor:
        promote(executor, "Topic", optimized)
    (history,) = own_folder.rglob("history.jsonl")
    history.write_text(history.read_text() + '{"action": "promote", "fingerprint": "../../x"}\n')
    with pytest.warns(UserWarning, match=r"history\.jsonl, line 2: is damaged"):
        executor = made(by_demos, topic_signature)
    with executor:
        assert asked(executor) == "sport"


@pytest.mark.parametrize("variable", ["HOME", "HOKUSAI_DATA_DIR"])
def test_a_folder_that_is_none_has_no_promotions(
    variable: str, by_demos: Any, topic_signature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOKUSAI_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv(variable, os.devnull)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with made(by_demos, topic_signature) as executor:
            assert asked(executor) == "sport"


def test_a_user_without_a_home_has_promoted_nothing(
    optimized: Any, by_demos: Any, topic_signature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOKUSAI_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user unknown to the system
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        with pytest.raises(ConfigurationError, match="HOKUSAI_DATA_DIR"):
            promote(executor, "Topic", optimized)


def test_a_folder_that_cannot_be_read_is_warned_about_once(
    by_demos: Any, topic_signature: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)  # refused to every user, the superuser too
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(loop))
    with pytest.warns(EditionWarning, match="promotions=False") as caught:
        executor = made(by_demos, topic_signature)
    assert len(caught) == 1
    with executor, warnings.catch_warnings():
        warnings.simplefilter("error")
        executor.register_signature("Other", topic_signature)
        assert asked(executor) == "sport"


def test_an_executor_without_the_plugin_refuses_what_it_would_not_see(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    with Executor(lm=by_demos, plugins=[]) as executor:
        executor.register_signature("Topic", topic_signature)
        with pytest.raises(ConfigurationError, match="does not use the plugin teleprompt"):
            promote(executor, "Topic", optimized)
