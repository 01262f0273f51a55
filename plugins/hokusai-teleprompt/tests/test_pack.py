from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import dspy
import pytest
from click.testing import CliRunner

from hokusai_core import Executor
from hokusai_core.errors import ArtifactError, ConfigurationError, InputError
from hokusai_core.plugin_api import PluginManager, SignatureRegistry
from hokusai_evaluate.commands.evaluate_command import evaluate
from hokusai_evaluate.scorecard_making import find_files
from hokusai_teleprompt import TelepromptFineTuner, build_pack, verify
from hokusai_teleprompt.pack_install import install_pack, renamed_wheel


@pytest.fixture
def folder(by_demos: Any, topics: Any, topic_signature: Any, tmp_path: Path) -> Path:
    with TelepromptFineTuner(lm=by_demos, workdir=False) as finetuner:
        optimized = finetuner.compile(topic_signature, topics, "accuracy")
    target = tmp_path / "acme support"
    target.mkdir()
    optimized.save(target / "topic.json")
    return target


def test_the_wheel_is_one_by_the_book(folder: Path, tmp_path: Path) -> None:
    pack = build_pack(folder, tmp_path / "dist", version="1.2.0")
    assert (pack.name, pack.signatures) == ("acme-support", ("Topic",))
    assert pack.path.name == "acme_support-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(pack.path) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    record = list(csv.reader(io.StringIO(files["acme_support-1.2.0.dist-info/RECORD"].decode())))
    assert [row[0] for row in record] == list(files)
    for name, digest, size in record[:-1]:
        assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
        assert int(size) == len(files[name])
    assert record[-1][1:] == ["", ""]
    assert b"acme-support = acme_support.plugin" in files["acme_support-1.2.0.dist-info/entry_points.txt"]
    assert b"Requires-Dist: hokusai-core" in files["acme_support-1.2.0.dist-info/METADATA"]
    assert build_pack(folder, tmp_path / "again", version="1.2.0").path.read_bytes() == pack.path.read_bytes()


def test_pip_installs_it_and_its_signatures_are_found(folder: Path, tmp_path: Path) -> None:
    pack = build_pack(folder, tmp_path / "dist", name="acme-support")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--version"]
    if subprocess.run(pip, capture_output=True).returncode == 0:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
        subprocess.run([*install, str(pack.path)], check=True)
    else:
        install = ["uv", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
        subprocess.run([*install, str(pack.path)], check=True)
    code = (
        "import sys\n"
        "from hokusai_core import Executor\n"
        "with Executor(plugins=['acme-support'], mode='testing') as executor:\n"
        "    print(executor.list_signatures(), executor.signatures.resolve('Topic').spec.version)\n"
        "    print(executor.execute_signature('acme-support/Topic', {'text': 'we eat'})['topic'])\n"
        "print('dspy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(site), "PATH": "", "HOKUSAI_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "['Topic'] 1.0.1"
    assert done.stdout.splitlines()[2] == "False"


def test_what_cannot_be_packed_is_refused(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArtifactError, match="has no optimized signature"):
        build_pack(empty, tmp_path / "dist")
    with pytest.raises(ArtifactError, match="is not a folder"):
        build_pack(tmp_path / "missing", tmp_path / "dist")
    refused: tuple[dict[str, Any], ...] = (
        {"name": "Acme Support"},
        {"name": "../x"},
        {"version": "one"},
        {"version": "1.0/../../x"},
    )
    for options in refused:
        with pytest.raises(ConfigurationError):
            build_pack(folder, tmp_path / "dist", **options)
    (folder / "copy.json").write_bytes((folder / "topic.json").read_bytes())
    with pytest.raises(ArtifactError, match="both have a signature called 'Topic'"):
        build_pack(folder, tmp_path / "dist")
    (folder / "copy.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"copy\.json: is not an optimized signature"):
        build_pack(folder, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("json", "Python has its own 'json'"),
        ("class", "Python has its own 'class'"),
        ("attrs", "is installed, and is not a pack"),
        ("teleprompt", r"hokusai-teleprompt .* has a plugin of that name"),
    ],
)
def test_a_name_that_something_else_has_is_refused(folder: Path, tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        build_pack(folder, tmp_path / "dist", name=name)


def test_an_installed_pack_may_be_built_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(build_pack(folder, tmp_path / "dist", name="acme-again").path) as wheel:
        wheel.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert build_pack(folder, tmp_path / "dist", name="acme-again", version="1.1.0").version == "1.1.0"


def test_sets_data_cards_and_scorecards_are_part_of_the_pack(folder: Path, by_demos: Any, tmp_path: Path) -> None:
    shipped = folder / "evaluation"
    shipped.mkdir()
    (shipped / "Topic.jsonl").write_text(
        '{"text": "a late goal", "topic": "sport"}\n{"text": "warm soup", "topic": "food"}\n'
    )
    (shipped / "Topic.md").write_text("# Evaluation set of Topic\n")
    with dspy.context(lm=by_demos):
        result = CliRunner().invoke(evaluate, [str(folder / "topic.json"), "--card"])
    assert result.exit_code == 0, result.output
    assert (shipped / "Topic.cards.json").is_file()
    pack = build_pack(folder, tmp_path / "dist", name="acme-support")
    with zipfile.ZipFile(pack.path) as wheel:
        names = [name for name in wheel.namelist() if "/evaluation/" in name]
        wheel.extractall(tmp_path / "site")
    assert names == [f"acme_support/evaluation/Topic{ending}" for ending in (".jsonl", ".md", ".cards.json")]
    verification = verify(tmp_path / "site/acme_support/signatures/Topic.json")
    assert verification.passed
    assert verification.checks[0].what == "digest of the scorecard of scripted/thinking"

    data = (shipped / "Topic.jsonl").read_text()
    (shipped / "Topic.jsonl").write_text(data.replace("warm", "cold"))
    with pytest.raises(ArtifactError, match="is not that of the pack: the data has changed since"):
        build_pack(folder, tmp_path / "dist", name="acme-support")
    (shipped / "Topic.jsonl").write_text('{"text": "rain", "topic": "weather"}\n')
    with pytest.raises(InputError, match="topic"):
        build_pack(folder, tmp_path / "dist", name="acme-support")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def installer(site: Path) -> Any:
    def install(wheel: str, again: bool) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)

    return install


def test_installing_a_pack_leaves_names_as_they_were(folder: Path, tmp_path: Path, site: Path) -> None:
    def install(name: str, **rename: str) -> list[str]:
        pack = build_pack(folder, tmp_path / "dist", name=name)
        return install_pack(str(pack.path), rename, installer(site))

    assert install("zebra-pack") == ["Topic"]
    assert install("acme-pack") == ["acme-pack/Topic; Topic still means zebra-pack/Topic"]
    assert install("other-pack", Topic="Subject") == ["Subject"]
    with PluginManager() as manager:
        registry = SignatureRegistry(manager.signature_packs)
        assert registry.resolve("Topic").qualified_name == "zebra-pack/Topic"
        subject = registry.resolve("Subject")
    assert (subject.qualified_name, subject.spec.fingerprint) == (
        "other-pack/Subject",
        registry.resolve("Topic").spec.fingerprint,
    )


def test_signatures_are_renamed_with_all_that_belongs_to_them(folder: Path, tmp_path: Path, site: Path) -> None:
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "Topic.jsonl").write_text('{"text": "a late goal", "topic": "sport"}\n')
    pack = build_pack(folder, tmp_path / "dist", name="renamed-pack", rename={"Topic": "Subject"})
    assert pack.signatures == ("Subject",)
    moved = renamed_wheel(pack.path, tmp_path, {"Subject": "Matter"})
    with zipfile.ZipFile(moved) as wheel:
        names = set(wheel.namelist())
        rows = list(csv.reader(io.StringIO(wheel.read("renamed_pack-1.0.0.dist-info/RECORD").decode())))
    assert {"renamed_pack/signatures/Matter.json", "renamed_pack/evaluation/Matter.jsonl"} <= names
    assert {row[0] for row in rows} == names
    install_pack(str(moved), {}, installer(site))
    with Executor(mode="testing") as executor:
        assert executor.execute_signature("Matter", {"text": "we eat"})["topic"]
        assert find_files(executor, "Matter").set_needed().name == "Matter.jsonl"


@pytest.mark.parametrize(
    ("rename", "reason"),
    [
        ({"Topics": "Subject"}, r"no signature 'Topics'; did you mean 'Topic'"),
        ({"Topic": "a-b"}, "use letters, digits and '_'"),
    ],
)
def test_names_that_cannot_be_used_are_refused(
    folder: Path, tmp_path: Path, rename: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        build_pack(folder, tmp_path / "dist", rename=rename)
    with pytest.raises(ConfigurationError, match=reason):
        renamed_wheel(build_pack(folder, tmp_path / "dist").path, tmp_path, rename)
    with pytest.raises(ConfigurationError, match="only a wheel can be renamed; get it with `pip download"):
        install_pack("acme", rename, pytest.fail)


def test_files_of_no_signature_are_not_left_out_silently(folder: Path, tmp_path: Path) -> None:
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "Topics.jsonl").write_text("")
    with pytest.raises(ArtifactError, match=r"Topics\.jsonl: .* no signature of the pack; did you mean 'Topic'"):
        build_pack(folder, tmp_path / "dist")
