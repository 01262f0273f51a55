from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hokusai_core import BaseSignature, Executor, InputField, OutputField, read_artifact
from hokusai_core.errors import ArtifactError
from hokusai_teleprompt import TelepromptFineTuner, load_optimized


@pytest.fixture
def optimized(by_demos: Any, topics: Any, topic_signature: Any) -> Any:
    with TelepromptFineTuner(lm=by_demos, workdir=False) as finetuner:
        return finetuner.compile(topic_signature, topics, "accuracy")


@pytest.fixture
def path(optimized: Any, tmp_path: Path) -> Path:
    saved: Path = optimized.save(tmp_path / "better.json")
    return saved


def test_a_file_gives_back_all_that_was_saved(optimized: Any, path: Path, topic_signature: Any) -> None:
    loaded = load_optimized(path, base=topic_signature)
    assert loaded.spec.to_dict() == optimized.spec.to_dict()
    assert loaded.spec.fingerprint == optimized.spec.fingerprint
    assert loaded.report == evolve(optimized.report, differing=())  # texts of examples are not passed on in files
    assert optimized.report.differing
    assert loaded.promoted
    data = json.loads(path.read_text())
    assert data["hokusai"] == 1
    assert data["kind"] == "optimized-signature"
    assert data["base_fingerprint"] == topic_signature.spec.fingerprint
    assert data["dataset_hash"] == optimized.report.dataset_hash
    assert set(data["versions"]) == {"hokusai-core", "dspy", "python"}
    loaded.save(path.with_name("again.json"))
    assert path.with_name("again.json").read_bytes() == path.read_bytes()


def test_an_executor_takes_the_file(path: Path, by_demos: Any, topic_signature: Any) -> None:
    with Executor(lm=by_demos, plugins=[]) as executor:
        for name in (str(path), path):
            result = executor.execute_signature(name, {"text": "we eat pears"})
            assert (result["topic"], result.signature_version) == ("food", "1.0.1")
        executor.register_signature("Better", path)
        assert executor.execute_signature("Better", {"text": "we eat pears"})["topic"] == "food"
        executor.check_inputs(str(path), {"text": "x"})


def test_a_file_whose_base_has_changed_is_refused_with_the_difference(path: Path, by_demos: Any) -> None:
    class Topic(BaseSignature):
        """Tell the subject."""

        version = "2.0.0"
        text: str = InputField()
        language: str = InputField(default="en")
        topic: str = OutputField()

    with pytest.raises(ArtifactError) as caught:
        load_optimized(path, base=Topic)
    message = str(caught.value)
    for part in (
        "made from local/Topic 1.0.0",
        "is now 2.0.0",
        "input 'language' is new",
        "output 'topic': type was",
        'instructions were "Tell the topic.", are "Tell the subject."',
        "Optimize it again",
    ):
        assert part in message
    with Executor(lm=by_demos, plugins=[]) as executor:
        executor.register_signature("Topic", Topic)
        with pytest.raises(ArtifactError, match=r"is now 2\.0\.0"):
            executor.execute_signature(str(path), {"text": "x"})
        with pytest.raises(ArtifactError, match=r"is now 2\.0\.0"):
            executor.register_signature("Better", path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["signature"].update(instructions="Say food."), "written.*fingerprint of its signature is"),
        (lambda data: data["base"].update(instructions="Say food."), "written.*fingerprint of its base is written as"),
        (lambda data: data["signature"]["fields"][0].update(type="os"), "written.*its signature cannot be read"),
        (lambda data: data["report"].update(candidate_score=2.0), "written.*something else"),
        (lambda data: data.update(promoted=False), "changed after it was written"),
        (lambda data: data.update(hokusai=2), "newer than 1"),
        (lambda data: data.update(hokusai="1"), "version of the format"),
        (lambda data: data.update(kind="pickle"), "not an optimized signature"),
        (lambda data: data.pop("report"), "lacks 'report'"),
        (lambda data: data.update(extra=1), "unknown 'extra'"),
        (lambda data: data.update(report=[]), "'report' must be of type dict"),
    ],
)
def test_a_changed_file_is_refused(path: Path, change: Any, message: str) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=message):
        load_optimized(path)


def resealed(path: Path, **changes: Any) -> None:
    """Change a file and make its checksum fit again, as another program could."""
    import hashlib

    from hokusai_core.json_encoding import canonical_json

    data = {key: value for key, value in json.loads(path.read_text()).items() if key != "checksum"} | changes
    path.write_text(json.dumps({**data, "checksum": hashlib.sha256(canonical_json(data)).hexdigest()}))


def test_versions_and_fingerprints_are_checked(path: Path) -> None:
    original = path.read_text()
    versions = json.loads(original)["versions"]
    resealed(path, versions={**versions, "dspy": "4.0.0"})
    with pytest.raises(ArtifactError, match=r"measured with DSPy 4\.0\.0, and this is DSPy 3"):
        load_optimized(path)
    resealed(path, versions={**versions, "dspy": "3.99.0"})
    with pytest.warns(UserWarning, match=r"measured with DSPy 3\.99\.0"):
        load_optimized(path)
    path.write_text(original)
    resealed(path, fingerprint="0" * 32)
    with pytest.raises(ArtifactError, match="the fingerprint of its signature"):
        load_optimized(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kind": 1}', "[" * 100_000])
def test_what_is_no_artifact_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=r"x\.json"):
        read_artifact(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_artifact(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda text: text.replace('"seed": 0', '"seed": NaN'), r"x\.json: is not JSON: NaN is not a number"),
        (lambda text: text.replace('"promoted": true', '"promoted": false, "promoted": true', 1), "is there twice"),
        (lambda text: text + " " * 50_000_000, r"x\.json: is larger than 50 MB"),
        (lambda text: text[:500], r"x\.json: is not JSON"),
    ],
    ids=["nan", "twice", "huge", "truncated"],
)
def test_a_file_that_json_does_not_settle_is_refused(path: Path, harm: Any, message: str) -> None:
    other = path.with_name("x.json")
    other.write_text(harm(path.read_text()))
    with pytest.raises(ArtifactError, match=message):
        load_optimized(other)


def test_a_report_of_a_newer_version_is_read_and_what_is_none_is_refused(path: Path, optimized: Any) -> None:
    report = json.loads(path.read_text())["report"]
    trials = [{**trial, "color": "red"} for trial in report["trials"]]
    resealed(path, report={**report, "trials": trials, "mood": "good"})
    assert load_optimized(path).report == evolve(optimized.report, differing=())
    for harm in ({}, {**report, "trials": 3}, {**report, "usage": {"input_tokens": 1, "x": 2}, "examples": ["x"]}):
        resealed(path, report=harm)
        with pytest.raises(ArtifactError, match=r"better\.json: its report cannot be read"):
            load_optimized(path)


def test_an_interrupted_write_leaves_the_old_file(optimized: Any, path: Path, monkeypatch: Any) -> None:
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        optimized.save(path)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.glob("*.json*")] == ["better.json"]
