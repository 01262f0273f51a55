"""Certificates: every figure of a comparison can be computed again, and every change of a file is found."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core import BaseSignature, InputField, OutputField, read_artifact
from hokusai_core.errors import ArtifactError, InputError, SignatureDefinitionError
from hokusai_core.plugin_api import SignatureSpec
from hokusai_teleprompt import TelepromptFineTuner, build_pack, load_optimized, promote, verify
from hokusai_teleprompt.commands.verify_command import verify as verify_command

RECORDED = ("certificate", "rows")


@pytest.fixture
def data(topics: list[dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "topics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in topics))
    return path


@pytest.fixture
def compiled(by_demos: Any, data: Path, topic_signature: Any) -> Callable[..., Any]:
    """Return a function that optimizes the signature Topic with a metric."""

    def compile_with(metric: Any = "accuracy", lm: Any = by_demos, signature: Any = topic_signature) -> Any:
        with TelepromptFineTuner(lm=lm, workdir=False) as finetuner:
            return finetuner.compile(signature, data, metric)

    return compile_with


@pytest.fixture
def path(compiled: Callable[..., Any], tmp_path: Path) -> Path:
    optimized = compiled()
    assert optimized.promoted
    saved: Path = optimized.save(tmp_path / "better.json")
    return saved


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(verify_command, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a changed document with fingerprints and checksum that fit, as an expert would forge it."""
    for what, fingerprint in (("signature", "fingerprint"), ("base", "base_fingerprint")):
        document[fingerprint] = SignatureSpec.from_dict(document[what]).fingerprint
    content = {name: value for name, value in document.items() if name != "checksum"}
    text = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**content, "checksum": hashlib.sha256(text.encode()).hexdigest()}


def _plain(value: Any) -> Any:
    """Return a JSON value in which 1.0 is 1, as it is where artifacts are hashed."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return list(map(_plain, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_the_seal_of_these_tests_is_that_of_artifacts(path: Path) -> None:
    document = json.loads(path.read_text())
    assert sealed(copy.deepcopy(document)) == document


def test_every_figure_is_computed_again_without_a_call(path: Path, data: Path, by_demos: Any) -> None:
    calls = by_demos.engine.calls
    digest = read_artifact(path).digest
    result = run(path, "--digest", digest[:16], "--data", data)
    assert result.exit_code == 0, result.output
    assert "WRONG" not in result.stdout
    assert "0 taken as recorded" in result.stdout
    for figure in ("score of the baseline", "improvement", "interval, lower end", "p-value", "verdict", "demos"):
        assert figure in result.stdout
    found = verify(path, digest=digest, data=[data])
    assert (found.passed, found.certified, found.rows, found.from_answers) == (True, True, 24, 48)
    assert by_demos.engine.calls == calls
    assert json.loads(run(path, "--json").stdout)["passed"]


def test_a_digest_of_another_file_is_found(path: Path) -> None:
    result = run(path, "--digest", "0" * 64)
    assert result.exit_code == 4
    assert re.search(r"WRONG +digest", result.stdout)
    assert run(path, "--digest", read_artifact(path).digest[:8]).exit_code == 4  # too short to say anything


def test_other_data_is_found(path: Path, data: Path) -> None:
    text = data.read_text()
    data.write_text(text.replace("number 7", "number 77", 1))
    assert "examples in the data" in next(
        line for line in run(path, "--data", data).stdout.split("\n") if "WRONG" in line
    )


def test_data_that_does_not_fit_is_named(path: Path, data: Path) -> None:
    data.write_text('{"inputs": {"text": "x"}, "outputs": {"topic": "weather"}}\n')
    with pytest.raises(InputError, match="line 1: topic"):
        verify(path, data=[data])


def test_the_digest_of_the_scorecard_is_used(path: Path, by_demos: Any) -> None:
    cards = path.parent / "evaluation" / "Topic.cards.json"
    cards.parent.mkdir()
    card = {
        **dict.fromkeys(("signature", "version", "fingerprint", "model_identity", "strategy", "date", "data"), "x"),
        **{"model": "scripted/thinking", "parameters": {}, "versions": {}, "data_digest": "x", "rows": 1, "rounds": 1},
        **{"metric": "accuracy", "confidence": 0.95, "seed": 0, "failures": {}, "artifact": read_artifact(path).digest},
        "scores": {"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0, "rows": 1}},
    }
    cards.write_text(json.dumps({"hokusai_scorecards": 1, "cards": [card]}))
    assert "digest of the scorecard of scripted/thinking" in run(path).stdout
    document = json.loads(path.read_text())
    document["report"]["seconds"] = 0.1  # not a figure that the answers give
    path.write_text(json.dumps(sealed(document)))
    result = run(path)
    assert result.exit_code == 4
    assert re.search(r"WRONG +digest of the scorecard", result.stdout)


# -- changes --------------------------------------------------------------------------------------------------------


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _leaves(item, (*place, key))
    if not isinstance(value, (dict, list)):
        yield place


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


def change_digit(document: dict[str, Any], rng: random.Random) -> bool:
    numbers = [place for place in _leaves(document) if re.search(r"\d", json.dumps(_at(document, place)))]
    place = rng.choice([place for place in numbers if place != ("checksum",)])
    text = json.dumps(_at(document, place))
    digit = rng.choice([found.start() for found in re.finditer(r"\d", text)])
    other = rng.choice([one for one in "123456789" if one != text[digit]])
    try:
        _at(document, place[:-1])[place[-1]] = json.loads(text[:digit] + other + text[digit + 1 :])
    except ValueError:
        return False
    return True


def change_row(document: dict[str, Any], rng: random.Random) -> bool:
    rows = document["certificate"]["rows"]
    row, how = rng.randrange(len(rows)), rng.randrange(4)
    if how == 0:
        del rows[row]
    elif how == 1:
        rows.insert(row, copy.deepcopy(rows[row]))
    elif how == 2:
        other = next(place for place in range(len(rows)) if rows[place] != rows[row])
        rows[row], rows[other] = rows[other], rows[row]
    else:
        answer = rows[row][rng.choice(("baseline", "candidate"))]
        answer["outputs"]["topic"] = "food" if answer["outputs"]["topic"] == "sport" else "sport"
    return True


def change_demo(document: dict[str, Any], rng: random.Random) -> bool:
    demos = document["signature"]["demos"]
    demo, how = rng.randrange(len(demos)), rng.randrange(3)
    if how == 0:
        del demos[demo]
    elif how == 1:
        demos[demo]["text"] = demos[demo]["text"][:-1] + rng.choice("xyz")
    else:
        demos[demo]["topic"] = "food" if demos[demo]["topic"] == "sport" else "sport"
    return True


def mutations(document: dict[str, Any], count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rng = random.Random(20261128)
    while count:
        kind = rng.choice((change_digit, change_row, change_demo))
        changed = copy.deepcopy(document)
        if kind(changed, rng) and changed != document:
            count -= 1
            yield kind.__name__, changed


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.soak)])
def test_every_change_of_a_digit_a_row_or_a_demo_is_found(path: Path, count: int) -> None:
    document, digest = json.loads(path.read_text()), read_artifact(path).digest
    found = {"as it is": 0, "sealed": 0}
    for kind, changed in mutations(document, count):
        path.write_text(json.dumps(changed))
        assert run(path).exit_code == 4, kind
        found["as it is"] += 1
        again = changed
        with contextlib.suppress(SignatureDefinitionError):  # it may be no signature any more
            again = sealed(changed)
            path.write_text(json.dumps(again))
        same = again == document  # the fingerprint was changed, which a seal computes again
        assert run(path, "--digest", digest).exit_code == (0 if same else 4), kind
        found["sealed"] += 1
    assert found == {"as it is": count, "sealed": count}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("report", "baseline_score"), 0.25),
        (("report", "candidate_score"), 0.999),
        (("report", "improvement"), 0.9),
        (("report", "interval", 0), 0.4),
        (("report", "p_value"), 0.004),
        (("report", "test"), "a better test"),
        (("report", "verdict"), "promoted: of course"),
        (("report", "sizes", "test"), 25),
        (("report", "seed"), 7),
        (("report", "examples", 3, "candidate"), 0.5),
        (("report", "examples", 3, "outcome"), "loss"),
        (("report", "dataset_hash"), "0" * 32),
        (("certificate", "rows", 2, "candidate", "good"), 0.0),
        (("certificate", "rows", 2, "candidate", "outputs", "topic"), "other"),
        (("certificate", "rows", 2, "expected", "topic"), "other"),
        (("certificate", "data", "test", 2), "0" * 32),
        (("certificate", "demos"), "0" * 64),
        (("certificate", "candidate"), "0" * 32),
        (("certificate", "rule", "confidence"), 0.9),
        (("promoted",), False),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_sealed_change_that_contradicts_the_answers_is_found_without_a_digest(
    path: Path, place: tuple[Any, ...], value: Any
) -> None:
    document = json.loads(path.read_text())
    if value == "other":
        value = "food" if _at(document, place) == "sport" else "sport"
    _at(document, place[:-1])[place[-1]] = value
    path.write_text(json.dumps(sealed(document)))
    result = run(path)
    assert result.exit_code == 4
    assert "WRONG" in result.stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda certificate: certificate.pop("rows"),
        lambda certificate: certificate.update(rows=7),
        lambda certificate: certificate.update(rows=[None] * 24),
        lambda certificate: certificate.update(rule={"confidence": "high"}),
        lambda certificate: certificate.update(metric=[]),
        lambda certificate: certificate.update(rows_file="../../etc/passwd"),
    ],
)
def test_a_certificate_that_is_none_is_an_error_and_no_crash(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    change(document["certificate"])
    path.write_text(json.dumps(sealed(document)))
    result = run(path)
    assert result.exit_code == 4
    assert "certificate" in result.stderr


# -- what cannot be computed again ----------------------------------------------------------------------------------


def test_a_metric_that_is_a_function_is_marked_and_can_be_given(compiled: Callable[..., Any], tmp_path: Path) -> None:
    def same(expected: Any, outputs: Any) -> float:
        return float(expected["topic"] == outputs.get("topic"))

    path = compiled(same).save(tmp_path / "better.json")
    result = run(path)
    assert result.exit_code == 3, result.output
    assert "0 scores computed again from recorded answers, 48 taken as recorded" in result.stdout
    assert "the metric was given as a function" in result.stdout
    again = verify(path, metric=same)
    assert (again.passed, again.from_answers, again.from_scores) == (True, 48, 0)


def test_a_metric_that_reads_inputs_is_computed_with_the_data(
    compiled: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    def by_text(expected: Any, outputs: Any, inputs: Any) -> float:
        return float(("eat" in inputs["text"]) == (outputs.get("topic") == "food"))

    path = compiled(by_text).save(tmp_path / "better.json")
    without = verify(path, metric=by_text)
    assert (without.passed, without.from_answers, without.from_scores) == (True, 0, 48)
    assert any("--data" in note for note in without.notes)
    assert verify(path, metric=by_text, data=[data]).from_answers == 48


def test_a_weighted_metric_and_one_of_whole_sets(compiled: Callable[..., Any], tmp_path: Path) -> None:
    for number, metric in enumerate(("macro_f1", {"accuracy": 0.7, "f1": 0.3})):
        path = compiled(metric).save(tmp_path / f"better{number}.json")
        found = verify(path)
        assert (found.passed, found.from_answers) == (True, 48), str(found)
    document = json.loads((tmp_path / "better0.json").read_text())
    document["report"]["candidate_score"] -= 0.01
    path.write_text(json.dumps(sealed(document)))
    assert run(path).exit_code == 4


def test_a_judge_is_not_asked(compiled: Callable[..., Any], thinking: Any, tmp_path: Path) -> None:
    def topic(system: str, shown: str, user: str) -> str:
        return "food" if "eat" in user and "food" in shown.rpartition("output fields")[0] + shown else "sport"

    def grade(system: str, shown: str, user: str) -> str:
        right, answer = (user.partition(f"[[ ## {part} ## ]]")[2].split("\n")[1] for part in ("reference", "answer"))
        return "5" if right == answer else "1"

    lm = thinking(topic=topic, grade=grade)
    optimized = compiled("quality_score", lm)
    path = (optimized.candidate or optimized).save(tmp_path / "better.json")
    calls = lm.engine.calls
    found = verify(path)
    assert (found.passed, found.from_answers, found.from_scores) == (True, 0, 48), str(found)
    assert any("asks a language model" in note for note in found.notes)
    assert lm.engine.calls == calls


def test_nothing_of_sensitive_fields_is_recorded(compiled: Callable[..., Any], data: Path, tmp_path: Path) -> None:
    class Topic(BaseSignature):
        """Tell the topic."""

        text: str = InputField(sensitive=True)
        topic: str = OutputField()

    optimized = compiled(signature=Topic)
    for number, one in enumerate(filter(None, (optimized, optimized.candidate))):
        path = one.save(tmp_path / f"better{number}.json")
        certificate = json.loads(path.read_text())["certificate"]
        assert set(certificate["rows"][0]) == {"baseline", "candidate"}
        assert set(certificate["rows"][0]["baseline"]) == {"error", "good"}
        assert certificate["data"] is None
        found = verify(path, data=[data])
        assert (found.passed, found.complete, found.from_answers, found.from_scores) == (True, False, 0, 48), str(found)
        assert any("sensitive" in note for note in found.notes)
        assert any("the data was not compared" in note for note in found.notes)


def test_a_signature_that_was_not_better_is_verified_with_its_candidate(
    compiled: Callable[..., Any], stubborn: Any, tmp_path: Path
) -> None:
    optimized = compiled(lm=stubborn)
    assert not optimized.promoted
    for one in (optimized, optimized.candidate):
        path = one.save(tmp_path / "same.json")
        assert verify(path).passed, str(verify(path))
        assert run(path).exit_code == 0


# -- files ----------------------------------------------------------------------------------------------------------


def test_files_of_earlier_versions_say_that_they_carry_none() -> None:
    folder = Path(__file__).parent / "files_of_0_1"
    files = [file for file in folder.rglob("*.json") if '"optimized-signature"' in file.read_text()]
    assert files
    for file in files:
        result = run(file)
        assert result.exit_code == 3
        assert "no certificate" in result.stdout


def test_a_file_without_a_certificate_has_no_key_for_it(path: Path, topic_signature: Any) -> None:
    document = json.loads(path.read_text())
    del document["certificate"]
    path.write_text(json.dumps(sealed(document)))
    loaded = load_optimized(path, base=topic_signature)
    loaded.save(path)
    assert "certificate" not in json.loads(path.read_text())
    assert run(path).exit_code == 3


def test_large_answers_are_in_a_file_beside_it(
    path: Path, topic_signature: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hokusai_teleprompt import certificate_rows

    monkeypatch.setattr(certificate_rows, "_INLINE", 1000)
    folder = tmp_path / "signatures"
    folder.mkdir()
    target = load_optimized(path, base=topic_signature).save(folder / "better.json")
    answers = folder / "better.answers.jsonl"
    assert len(answers.read_text().splitlines()) == 24
    assert len(target.read_bytes()) < len(path.read_bytes())
    assert run(target, "--data", data).exit_code == 0
    again = load_optimized(target, base=topic_signature).save(tmp_path / "elsewhere.json")
    assert run(again).exit_code == 0
    answers.write_text(answers.read_text().replace("food", "sport", 1))
    with pytest.raises(ArtifactError, match="changed"):
        build_pack(folder, tmp_path / "dist", name="acme-support")
    assert run(target).exit_code == 4
    answers.unlink()
    result = run(target)
    assert (result.exit_code, "recorded answers cannot be read" in result.stderr) == (4, True)


def test_a_pack_carries_the_answers(
    path: Path, topic_signature: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    from hokusai_teleprompt import certificate_rows

    monkeypatch.setattr(certificate_rows, "_INLINE", 1000)
    folder = tmp_path / "signatures"
    folder.mkdir()
    load_optimized(path, base=topic_signature).save(folder / "better.json")
    pack = build_pack(folder, tmp_path / "dist", name="acme-support")
    with zipfile.ZipFile(pack.path) as wheel:
        assert "acme_support/signatures/better.answers.jsonl" in wheel.namelist()
        wheel.extractall(tmp_path / "site")
    assert run(tmp_path / "site/acme_support/signatures/Topic.json").exit_code == 0


def test_a_promotion_is_kept_without_answers(path: Path, topic_signature: Any, by_demos: Any, own_folder: Path) -> None:
    from hokusai_core import Executor

    with Executor(lm=by_demos, plugins=["teleprompt"]) as executor:
        executor.register_signature("Topic", topic_signature)
        promote(executor, "Topic", path)
    (kept,) = [file for file in own_folder.rglob("*.json") if "optimized-signature" in file.read_text()]
    assert "certificate" not in json.loads(kept.read_text())
