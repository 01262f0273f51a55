"""Files of optimized signatures in an executor, and signatures that change while they are looked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.artifacts import Artifact
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.execution.call_plan import CallPlanCache

MakeExecutor = Callable[..., Executor]


class Ask(BaseSignature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()


def better(instructions: str = "Answer better.") -> Artifact:
    return Artifact(Ask.spec.evolve(instructions=instructions), Ask.spec, "a/Ask", promoted=True)


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
