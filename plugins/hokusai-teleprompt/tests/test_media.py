"""Optimizations of signatures and chains whose inputs are pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from PIL import Image as Pillow

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.errors import InputError
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import TelepromptFineTuner, load_optimized


class Label(BaseSignature):
    """Label the picture."""

    picture: dspy.Image = InputField()
    label: str = OutputField()


class Describe(BaseSignature):
    """Describe the picture."""

    picture: dspy.Image = InputField()
    caption: str = OutputField()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a file of examples that name pictures beside it."""
    (tmp_path / "data").mkdir()
    lines = []
    for number in range(24):
        target = io.BytesIO()
        Pillow.new("RGB", (2, 2), (number * 10, number, 0)).save(target, "PNG")
        (tmp_path / "data" / f"{number}.png").write_bytes(target.getvalue())
        lines.append(json.dumps({"picture": f"{number}.png", "label": "ab"[number % 2]}))
    path = tmp_path / "data" / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def executor() -> Iterator[Executor]:
    lm = null_lm(answers={"label": "a", "caption": "red"}, keep_requests=True)
    with Executor(lm=lm, plugins=["strategies", "teleprompt", "evaluate"], environ={}) as made:
        made.register_signature("Label", Label)
        made.register_signature("Describe", Describe)
        made.register_signature("OfCaption", "caption -> label")
        yield made


def chain() -> SignatureChain:
    both = SignatureChain("both", inputs=["picture"])
    return both.add("Describe", {"picture": "picture"}).add("OfCaption", {"caption": "Describe.caption"})


@pytest.mark.parametrize("kind", ["signature", "chain"])
@pytest.mark.parametrize(
    "optimizer", ["labeled_fewshot", "bootstrap_fewshot", "bootstrap_random_search", "knn_fewshot"]
)
def test_demos_keep_their_pictures(optimizer: str, kind: str, executor: Executor, rows: Path, tmp_path: Path) -> None:
    if kind == "chain" and optimizer in ("labeled_fewshot", "knn_fewshot"):
        pytest.skip("it is refused for chains")
    with TelepromptFineTuner(executor=executor, optimizer=optimizer, workdir=False) as finetuner:
        optimized: Any = finetuner.compile(chain() if kind == "chain" else "Label", str(rows), "accuracy")
    found = optimized.candidate or optimized
    found.save(tmp_path / "better.json")
    again = load_optimized(tmp_path / "better.json")
    assert again.spec.fingerprint == found.spec.fingerprint
    executor.execute_signature(again, {"picture": rows.parent / "0.png"})
    requests: Any = executor.language_model().lm.engine.requests
    pictures = [
        part
        for request in requests[-2:]
        for message in request.messages
        for part in message.parts
        if part.type == "image"
    ]
    assert len(pictures) > 1
    assert "base64" not in "".join(
        part.text for request in requests for part in request.messages[0].parts if part.type == "text"
    )


def test_rows_that_name_no_picture_are_refused(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"picture": "nowhere.png", "label": "a"}\n{"picture": "/etc/passwd", "label": "a"}'
    )
    with (
        TelepromptFineTuner(executor=executor, optimizer="labeled_fewshot", workdir=False) as finetuner,
        pytest.raises(InputError, match=r"(?s)line 1: .*was not found.*line 2: .*outside of"),
    ):
        finetuner.compile("Label", str(tmp_path / "rows.jsonl"), "accuracy")
