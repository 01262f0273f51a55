from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, hookimpl
from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_teleprompt import TelepromptFineTuner

#: The beginning of a program of another process.
TOPIC = """
import sys
from typing import Literal
from hokusai_core import BaseSignature, Executor, InputField, OutputField
class Topic(BaseSignature):
    'Tell the topic.'
    text: str = InputField()
    topic: Literal['sport', 'food'] = OutputField()
with Executor(plugins=[]) as executor:
    executor.register_signature('Topic', Topic)
"""


@pytest.fixture
def optimized(by_demos: Any, topics: Any, topic_signature: Any) -> Any:
    with TelepromptFineTuner(lm=by_demos, workdir=False) as finetuner:
        return finetuner.compile(topic_signature, topics, "accuracy")


def made(lm: Any, signature: Any, **options: Any) -> Executor:
    executor = Executor(lm=lm, plugins=[], **options)
    executor.register_signature("Topic", signature)
    return executor


def asked(executor: Executor) -> str:
    return str(executor.execute_signature("Topic", {"text": "we eat pears"})["topic"])


def test_a_promotion_holds_here_and_in_later_executors_until_it_is_rolled_back(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        promotion = executor.promote("Topic", optimized, note="measured on reviews")
        assert (promotion.action, promotion.version) == ("promote", "1.0.1")
        assert asked(executor) == "food"
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "food"
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == optimized.spec.fingerprint
        executor.rollback("Topic", note="complaints")
        assert asked(executor) == "sport"
        history = [(entry.action, entry.version, entry.note) for entry in executor.promotions("Topic")]
    assert history == [("promote", "1.0.1", "measured on reviews"), ("rollback", "", "complaints")]
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        assert [entry.action for entry in executor.promotions("Topic")] == ["promote", "rollback"]
        with pytest.raises(ArtifactError, match="nothing to roll back"):
            executor.rollback("Topic")


def test_promotions_stack(optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path) -> None:
    with TelepromptFineTuner("labeled_fewshot", by_demos, workdir=False, seed=5) as finetuner:
        other = finetuner.compile(topic_signature, topics, "accuracy")
    assert other.spec.fingerprint != optimized.spec.fingerprint
    with made(by_demos, topic_signature) as executor:
        executor.promote("Topic", optimized)
        executor.promote("Topic", other.save(tmp_path / "other.json"))
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == other.spec.fingerprint
        executor.rollback("Topic")
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == optimized.spec.fingerprint
        executor.rollback("Topic")
        assert executor.execute_signature("Topic", {"text": "x"}).fingerprint == topic_signature.spec.fingerprint


@pytest.mark.parametrize("harm", ["deleted", "edited"])
def test_what_cannot_be_gone_back_to_is_refused_and_nothing_changes(
    harm: str, optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, own_folder: Path
) -> None:
    with TelepromptFineTuner("labeled_fewshot", by_demos, workdir=False, seed=5) as finetuner:
        other = finetuner.compile(topic_signature, topics, "accuracy")
    with made(by_demos, topic_signature) as executor:
        executor.promote("Topic", optimized)
        executor.promote("Topic", other)
        (file,) = own_folder.rglob(f"{optimized.spec.fingerprint}.json")
        if harm == "deleted":
            file.unlink()
        else:
            file.write_text(file.read_text().replace("1.0.1", "1.0.7"))
        before = executor.promotions("Topic")
        with pytest.raises(ArtifactError, match=r"local/Topic was not rolled back, .*original=True"):
            executor.rollback("Topic")
        assert executor.promotions("Topic") == before
        assert executor.signatures.resolve("Topic").spec.fingerprint == other.spec.fingerprint
        with made(by_demos, topic_signature) as later:
            assert later.signatures.resolve("Topic").spec.fingerprint == other.spec.fingerprint
        assert executor.rollback("Topic", original=True).fingerprint is None
        assert asked(executor) == "sport"
        with pytest.raises(ArtifactError, match="nothing to roll back"):
            executor.rollback("Topic")
    with made(by_demos, topic_signature) as executor:
        assert asked(executor) == "sport"
        executor.promote("Topic", optimized)
        executor.rollback("Topic")
        assert asked(executor) == "sport"


def test_two_processes_that_promote_at_once_lose_nothing(
    optimized: Any, by_demos: Any, topic_signature: Any, tmp_path: Path
) -> None:
    path = optimized.save(tmp_path / "better.json")
    code = TOPIC + "    for n in range(10): executor.promote('Topic', sys.argv[1], note=f'{sys.argv[2]} {n}')\n"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("a", "b")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    with made(by_demos, topic_signature) as executor:
        notes = [entry.note for entry in executor.promotions("Topic")]
        assert sorted(notes) == sorted(f"{who} {n}" for who in "ab" for n in range(10))
        for _ in notes:
            executor.rollback("Topic")
        assert asked(executor) == "sport"


def test_namespaces_are_apart_and_promotions_can_be_left_out(
    optimized: Any, by_demos: Any, topic_signature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(by_demos, topic_signature, namespace="tenant/../a") as executor:
        executor.promote("Topic", optimized)
    for options, answer in [({}, "sport"), ({"namespace": "tenant/../a"}, "food"),
                            ({"namespace": "tenant/../a", "promotions": False}, "sport")]:  # fmt: skip
        with made(by_demos, topic_signature, **options) as executor:
            assert asked(executor) == answer
    monkeypatch.setenv("HOKUSAI_PROMOTIONS", "off")
    with made(by_demos, topic_signature, namespace="tenant/../a") as executor:
        assert asked(executor) == "sport"
        with pytest.raises(ConfigurationError, match="promotions are off"):
            executor.promote("Topic", optimized)


@pytest.mark.parametrize("form", ["promoted", "class", "file"])
def test_what_was_optimized_can_be_optimized_saved_run_and_promoted_again(
    form: str, optimized: Any, by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path
) -> None:
    harder = [{"inputs": {"text": item["inputs"]["text"] + "!"}, "outputs": {"topic": "food"}} for item in topics]
    with Executor(lm=by_demos, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topic", topic_signature)
        target: Any = optimized
        if form == "promoted":
            executor.promote("Topic", optimized)
            target = "Topic"
        elif form == "file":
            target = optimized.save(tmp_path / "first.json")
        with TelepromptFineTuner("labeled_fewshot", workdir=False, executor=executor, seed=7) as finetuner:
            again = finetuner.compile(target, harder, "accuracy").candidate
        assert again.spec.version == "1.0.2"
        assert again.spec.provenance["optimized"]["base"]["fingerprint"] == optimized.spec.fingerprint
        assert (again.artifact.base_name, again.artifact.base) == ("local/Topic", topic_signature.spec)
        path = again.save(tmp_path / "second.json")
        assert executor.execute_signature(path, {"text": "x"}).signature_version == "1.0.2"
        executor.promote("Topic", path, force=True)
        assert executor.execute_signature("Topic", {"text": "x"}).signature_version == "1.0.2"
    with made(by_demos, topic_signature) as later:
        assert later.execute_signature("Topic", {"text": "x"}).signature_version == "1.0.2"


def test_only_what_is_better_is_promoted(stubborn: Any, topics: Any, topic_signature: Any) -> None:
    with TelepromptFineTuner(lm=stubborn, workdir=False) as finetuner:
        refused = finetuner.compile(topic_signature, topics, "accuracy")
    with made(stubborn, topic_signature) as executor:
        for item in (refused, refused.candidate):
            with pytest.raises(ArtifactError, match="its gate was not passed"):
                executor.promote("Topic", item)
        assert executor.promote("Topic", refused.candidate, force=True).version == "1.0.1"
        with pytest.raises(ArtifactError, match="only an optimized signature"):
            executor.promote("Topic", topic_signature)


def test_what_was_made_from_another_signature_is_refused(optimized: Any, by_demos: Any) -> None:
    class Topic(BaseSignature):
        """Tell the topic in one word."""

        text: str = InputField()
        topic: str = OutputField()

    with made(by_demos, Topic) as executor, pytest.raises(ArtifactError, match="output 'topic': type was"):
        executor.promote("Topic", optimized)


def test_a_promotion_whose_base_has_changed_is_not_used_and_says_so(
    optimized: Any, by_demos: Any, topic_signature: Any
) -> None:
    with made(by_demos, topic_signature) as executor:
        executor.promote("Topic", optimized)

    class Topic(BaseSignature):
        """Tell the topic."""

        version = "1.1.0"
        text: str = InputField(description="any text")
        topic: str = OutputField()

    with pytest.warns(UserWarning, match="the promotion of local/Topic is not used"):
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
        return Executor(lm=by_demos, plugins=[], extra_plugins=[("pack", Pack())])

    with executor() as first:
        assert asked(first) == "sport"
        first.promote("Topic", optimized)
        assert asked(first) == "food"
        assert first.signatures.resolve("Topic").qualified_name == "pack/Topic"
    with executor() as second:
        assert asked(second) == "food"
        second.rollback("pack/Topic")
        assert asked(second) == "sport"


def test_another_process_finds_the_promotion(
    optimized: Any, by_demos: Any, topic_signature: Any, own_folder: Path
) -> None:
    with made(by_demos, topic_signature) as executor:
        executor.promote("Topic", optimized)
    code = TOPIC + "    print(executor.signatures.resolve('Topic').spec.version)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0.1"


def test_a_damaged_history_is_named(optimized: Any, by_demos: Any, topic_signature: Any, own_folder: Path) -> None:
    with made(by_demos, topic_signature) as executor:
        executor.promote("Topic", optimized)
    (history,) = own_folder.rglob("history.jsonl")
    history.write_text(history.read_text() + '{"action": "promote", "fingerprint": "../../x"}\n')
    with pytest.warns(UserWarning, match=r"history\.jsonl, line 2: is damaged"):
        executor = made(by_demos, topic_signature)
    with executor:
        assert asked(executor) == "sport"
