"""Promotions and files of signatures: what an executor picks up from the machine, and what it leaves alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, hookimpl
from hokusai_core.artifacts import Artifact
from hokusai_core.errors import AmbiguousSignatureError, ConfigurationError, SignatureDefinitionError
from hokusai_core.execution.call_plan import CallPlanCache
from hokusai_core.improvement import PromotionWarning
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Ask(BaseSignature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()


class Pack:
    @hookimpl
    def provide_signatures(self) -> Any:
        return [Ask]


def better(instructions: str = "Answer better.") -> Artifact:
    return Artifact(Ask.spec.evolve(instructions=instructions), Ask.spec, "a/Ask", promoted=True)


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def instructions() -> Callable[..., str]:
    """Return a function that tells the instructions of a/Ask in an executor of its own."""

    def read(**arguments: Any) -> str:
        with Executor(plugins=[], extra_plugins=[("a", Pack())], lm=null_lm(), **arguments) as executor:
            return executor.signature("a/Ask").spec.instructions

    return read


def promote() -> None:
    with Executor(plugins=[], extra_plugins=[("a", Pack())], lm=null_lm()) as executor:
        executor.promote("a/Ask", better().signature)


def test_a_promotion_holds_for_later_executors_but_not_in_testing_mode(instructions: Callable[..., str]) -> None:
    promote()
    assert instructions() == instructions(mode="testing", promotions=True) == "Answer better."
    assert instructions(mode="testing") == instructions(promotions=False) == "Answer."
    assert instructions(namespace="other") == "Answer."


def test_promoting_makes_no_name_mean_more() -> None:
    with Executor(plugins=[], extra_plugins=[("a", Pack()), ("b", Pack())], lm=null_lm()) as executor:
        executor.promote("a/Ask", better().signature)
        with pytest.raises(AmbiguousSignatureError):
            executor.signature("Ask")


@pytest.mark.parametrize("variable", ["HOME", "HOKUSAI_DATA_DIR"])
def test_a_folder_that_is_none(variable: str, make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOKUSAI_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv(variable, os.devnull)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_executor().list_signatures() == ["Answer", "Many"]


def test_a_user_without_a_home(make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOKUSAI_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user whom the system has not
    executor = make_executor()
    assert executor.execute_signature("Answer", {"question": "?"})["answer"]
    with pytest.raises(ConfigurationError, match="HOKUSAI_DATA_DIR"):
        executor.promote("Answer", better().signature)


def test_a_folder_that_may_not_be_looked_into(
    instructions: Callable[..., str], make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)  # refused to every user, the superuser too
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(loop))
    with pytest.warns(PromotionWarning, match="HOKUSAI_DATA_DIR") as caught:
        assert make_executor().list_signatures() == ["Answer", "Many"]
    assert len(caught) == 1
    with pytest.warns(PromotionWarning):
        assert instructions() == "Answer."


@pytest.mark.parametrize("mode", ["production", "testing"])
def test_a_file_that_was_written_anew_is_read_anew(mode: str, make_executor: MakeExecutor, tmp_path: Path) -> None:
    executor, path = make_executor(mode=mode), tmp_path / "ask.json"
    fingerprints = set()
    for text in ("One.", "Two."):
        better(text).write(path)
        fingerprints.add(executor.execute_signature(str(path), {"question": "?"}).fingerprint)
    assert len(fingerprints) == 2


def test_no_name_can_be_taken_for_a_file(make_executor: MakeExecutor) -> None:
    with pytest.raises(SignatureDefinitionError, match="file"):
        make_executor().register_signature("Own.json", Ask)


@pytest.mark.parametrize("mode", ["production", "testing"])
def test_a_signature_that_is_replaced_while_it_is_looked_up(
    mode: str, make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, look_up = make_executor(mode=mode), CallPlanCache._registered

    def interrupted(book: CallPlanCache, signature: Any) -> Any:
        found = look_up(book, signature)
        monkeypatch.undo()
        executor.register_signature("Answer", "question -> reply", replace=True)  # as another thread may
        return found

    monkeypatch.setattr(CallPlanCache, "_registered", interrupted)
    assert list(executor.execute_signature("Answer", {"question": "?"})) == ["answer"]
    assert list(executor.execute_signature("Answer", {"question": "?"})) == ["reply"]
