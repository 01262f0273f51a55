"""How results show themselves: as text, in notebooks and as JSON."""

from __future__ import annotations

import copy
import datetime
import enum
import json
from typing import Any

import pydantic
import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.testing.lm import null_lm


class Mood(enum.Enum):
    GOOD = "good"


class Item(pydantic.BaseModel):
    name: str
    due: datetime.date


class Everything(BaseSignature):
    """Fill in all."""

    text: str = InputField()
    pin: str = InputField(default="", sensitive=True)
    day: datetime.date = OutputField()
    labels: set[str] = OutputField()
    mood: Mood = OutputField()
    item: Item = OutputField()
    note: str = OutputField()
    code: str = OutputField(sensitive=True)


class Short(BaseSignature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()


ANSWERS: dict[str, Any] = {
    "day": "2026-05-01",
    "mood": "good",
    "item": {"name": "pen", "due": "2026-05-02"},
    "note": "<b>Look</b> " + "x" * 5000,
    "code": "canary-4711",
    "answer": "<script>yes</script>",
}


@pytest.fixture
def executor() -> Any:
    with Executor(lm=null_lm(answers=ANSWERS), plugins=[]) as executor:
        yield executor


def test_print_shows_the_outputs_cut_and_without_sensitive_values(executor: Executor) -> None:
    text = str(executor.execute_signature(Everything, {"text": "t", "pin": "canary-1"}))
    assert text.startswith("day: 2026-05-01\nlabels: ")
    assert 'item: {"name": "pen", "due": "2026-05-02"}' in text
    assert "code: [redacted]" in text
    assert "canary" not in text
    assert "characters)" in text
    assert len(text) < 3000


def test_a_notebook_shows_a_table_in_which_everything_is_escaped(executor: Executor) -> None:
    page = executor.execute_signature(Everything, {"text": "t"})._repr_html_()
    assert "&lt;b&gt;Look&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "canary" not in page
    batch = executor.execute_batch(Short, [{"question": "a"}, {"quest": "<i>"}])
    chain = executor.execute_chain(SignatureChain("two").add(Short, {"question": "q"}), {"q": "<u>"})
    for page in (batch._repr_html_(), batch.failed[0]._repr_html_(), chain._repr_html_()):
        assert page.startswith("<table>")
        assert not any(tag in page for tag in ("<script>", "<i>", "<u>"))
    assert "&lt;script&gt;yes" in batch._repr_html_()


def test_to_dict_has_a_json_form_for_every_type(executor: Executor) -> None:
    result = executor.execute_signature(Everything, {"text": "t", "pin": "canary-1"})
    record = json.loads(json.dumps(result.to_dict()))
    assert record["outputs"]["day"] == "2026-05-01"
    assert record["outputs"]["labels"] == ["some labels_"]
    assert record["outputs"]["item"] == {"name": "pen", "due": "2026-05-02"}
    assert record["inputs"] == {"text": "t", "pin": "[redacted]"}
    assert "canary" not in json.dumps(result.to_dict())
    assert result.to_dict(sensitive=True)["outputs"]["code"] == "canary-4711"
    batch = executor.execute_batch(Short, [{"question": "a"}, {"quest": "b"}])
    assert [row.get("outputs") for row in json.loads(json.dumps(batch.to_dict()))["rows"]] == [
        {"answer": "<script>yes</script>"},
        None,
    ]
    chain = executor.execute_chain(SignatureChain("two").add(Short, {"question": "q"}), {"q": "?"})
    assert json.loads(json.dumps(chain.to_dict()))["steps"]["Short"]["inputs"] == {"question": "?"}
    assert json.dumps(batch.failed[0].to_dict())


def test_a_result_has_its_inputs_as_they_were_used(executor: Executor) -> None:
    first = executor.execute_signature(Everything, {"text": "t"})
    again = executor.execute_signature(Everything, {"text": "t"})
    assert again.cached == "memory"
    assert first.inputs == again.inputs == {"text": "t", "pin": ""}
    assert copy.copy(again).inputs == again.inputs
    chain = executor.execute_chain(SignatureChain("two").add(Short, {"question": "q"}), {"q": "?"})
    assert dict(chain.inputs) == {"q": "?"}
    assert executor.execute_batch(Short, [{"question": "a"}]).inputs == ({"question": "a"},)


def test_print_of_a_batch_counts_and_shows_rows(executor: Executor) -> None:
    text = str(executor.execute_batch(Short, [{"question": str(number)} for number in range(12)] + [{}]))
    assert text.startswith("12 rows succeeded, 1 failed\n0: answer=<script>yes</script>\n")
    assert text.endswith("... and 3 more rows")
