"""Pictures as initial inputs of chains, and as values in them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import (
    BaseSignature,
    ConditionalPipeline,
    Executor,
    InputField,
    OutputField,
    SignatureChain,
    literal,
    ref,
)
from hokusai_core.errors import CompositionError
from hokusai_core.testing.lm import null_lm

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
URL = "https://example.com/a.png"


class Describe(BaseSignature):
    """Describe the picture."""

    picture: dspy.Image = InputField(aliases=("photo",))
    caption: str = OutputField()


class Compare(BaseSignature):
    """Compare them."""

    pictures: list[dspy.Image] = InputField()
    hint: str = InputField(required=False, default="")
    verdict: str = OutputField()


class Reply(BaseSignature):
    """Reply."""

    text: str = InputField(sensitive=True)
    count: int = InputField()
    reply: str = OutputField()


def executor_with(**options: Any) -> Executor:
    executor = Executor(lm=null_lm(keep_requests=True), plugins=["strategies"], environ={}, **options)
    for signature in (Describe, Compare, Reply):
        executor.register_signature(signature.__name__, signature)
    return executor


@pytest.fixture
def executor() -> Iterator[Executor]:
    with executor_with() as made:
        yield made


def types_of(chain: SignatureChain, executor: Executor) -> dict[str, Any]:
    return {item.name: item.annotation for item in chain.initial_fields(executor)}


def test_initial_inputs_have_the_types_of_what_takes_them(executor: Executor) -> None:
    chain = SignatureChain(inputs=["front", "back", "shots", "letter", "number", "unused"])
    chain.add("Describe", {"photo": "front"})
    chain.add("Compare", {"pictures": [ref("front"), ref("back")], "hint": "letter"})
    chain.add("Compare", {"pictures": "shots"}, name="All")
    chain.add("Reply", {"text": "letter", "count": "number"})
    assert types_of(chain, executor) == {
        "front": dspy.Image, "back": dspy.Image, "shots": list[dspy.Image], "letter": str, "number": int, "unused": Any,
    }  # fmt: skip
    fields = {item.name: item for item in chain.initial_fields(executor)}
    assert {name for name, item in fields.items() if item.sensitive} == {"letter"}
    assert all(item.required and not item.aliases for item in fields.values())


def test_types_of_inputs_inside_chains_and_branches_are_seen(executor: Executor) -> None:
    inner = SignatureChain("inner", inputs=["photo"]).add("Describe")
    branches = ConditionalPipeline("branches").add_condition("yes", lambda inputs: True)
    branches.when("yes").execute("Describe", {"picture": "shot"})
    branches.otherwise().execute("Reply")
    chain = SignatureChain(inputs=["photo", "other"])
    chain.add(inner, name="First").add(branches, {"shot": "other"}, name="Second")
    assert types_of(chain, executor) == {"photo": dspy.Image, "other": dspy.Image}


def test_types_that_differ_are_any(executor: Executor) -> None:
    chain = SignatureChain(inputs=["value"]).add("Reply", {"text": "value", "count": "value"})
    assert types_of(chain, executor) == {"value": Any}


CHAIN = SignatureChain("describe", inputs=["picture"]).add("Describe", {"picture": "picture"})


@pytest.mark.parametrize("way", ["chain", "strategy", "task"])
def test_the_limits_of_the_executor_hold_in_chains(way: str, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(PNG + bytes(21 * 2**20))

    def run(executor: Executor, picture: Any) -> Any:
        if way == "chain":
            return executor.execute_chain(CHAIN, {"picture": picture})
        if way == "task":
            from hokusai_core import ParallelExecutor

            return ParallelExecutor(executor).execute_all([("Describe", {"picture": picture})], on_error="raise")[0]
        executor.register_signature("Described", CHAIN, replace=True)
        return executor.execute_signature("Described", {"picture": picture})

    with executor_with(media_urls=True, media_bytes=30 * 2**20) as generous:
        assert run(generous, URL)["caption"]
        assert run(generous, large)["caption"]
    with executor_with() as strict:
        for picture in (URL, large):
            with pytest.raises(ValueError, match=r"media_urls|media_bytes"):
                run(strict, picture)
        assert strict.language_model().lm.engine.calls == 0


def test_a_picture_in_a_chain_is_written_with_it_and_a_path_is_refused(executor: Executor, tmp_path: Path) -> None:
    chain = SignatureChain("fixed", inputs=["hint"])
    chain.add("Compare", {"pictures": literal([dspy.Image(base64_uri())]), "hint": "hint"})
    executor.register_signature("Fixed", chain)
    assert executor.execute_signature("Fixed", {"hint": "color"})["verdict"]
    sent = executor.language_model().lm.engine.requests[-1]
    assert [part.type for message in sent.messages for part in message.parts if part.type != "text"] == ["image"]
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    with pytest.raises(CompositionError, match="make it an initial input"):
        SignatureChain("path", inputs=[]).add("Describe", {"picture": literal(photo)}).to_signature(executor)


def base64_uri() -> str:
    return f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
