"""Editions: signatures with which a plugin replaces others, and the limits on a plugin that does so wrongly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, hookimpl
from hokusai_core.errors import AmbiguousSignatureError, ArtifactError, ComponentConflictError, SignatureDefinitionError
from hokusai_core.plugin_api import Component, Edition, EditionWarning, SignatureSpec
from hokusai_core.testing.lm import null_lm


class Ask(BaseSignature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()


class Pack:
    @hookimpl
    def provide_signatures(self) -> list[type[BaseSignature]]:
        return [Ask]


def better(instructions: str) -> type[BaseSignature]:
    return BaseSignature.from_spec(Ask.spec.evolve(instructions=instructions))


class Source:
    """An edition source that answers by the qualified name, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, []  # type: dict[str, Any], list[tuple[str, str]]

    @hookimpl
    def provide_edition_sources(self) -> list[Component]:
        return [Component(name="memory", target=lambda: self)]

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        self.asked.append((name, namespace))
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else Edition(better(answer), 1.0, "measured")


@pytest.fixture
def executor_with() -> Iterator[Callable[..., Executor]]:
    """Return a function that makes an executor with the pack ``a`` and edition sources."""
    made: list[Executor] = []

    def make(*sources: Source, **arguments: Any) -> Executor:
        extra = [("a", Pack()), *((f"source{number}", source) for number, source in enumerate(sources))]
        made.append(Executor(**{"plugins": [], "extra_plugins": extra, "lm": null_lm(), **arguments}))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def instructions(executor: Executor, name: str = "a/Ask") -> str:
    return executor.signature(name).spec.instructions


def test_an_edition_stands_in_for_signatures_of_packs_and_of_the_host(executor_with: Any) -> None:
    source = Source({"a/Ask": "Answer better.", "local/Mine": "Answer best."})
    executor = executor_with(source, namespace="tenant")
    executor.register_signature("Mine", Ask)
    assert instructions(executor) == "Answer better."
    assert instructions(executor, "Mine") == "Answer best."
    entry = executor.signatures.resolve("Ask")
    assert (entry.original, entry.edition.note, entry.edition.source) == (Ask, "measured", "source0/memory")
    assert [item.spec.instructions for item in executor.signatures.list()] == ["Answer better.", "Answer best."]
    assert sorted(source.asked) == [("a/Ask", "tenant"), ("local/Mine", "tenant")]  # each once


def test_editions_can_be_left_out_and_are_left_out_of_tests(executor_with: Any) -> None:
    source = Source({"a/Ask": "Answer better."})
    assert instructions(executor_with(source, promotions=False)) == "Answer."
    assert instructions(executor_with(source, mode="testing")) == "Answer."
    assert source.asked == []
    assert instructions(executor_with(source, mode="testing", promotions=True)) == "Answer better."


def test_refreshing_asks_again_and_is_seen_by_the_next_execution(executor_with: Any) -> None:
    source = Source({})
    executor = executor_with(source)
    before = executor.execute_signature("Ask", {"question": "?"}).fingerprint
    source.answers["a/Ask"] = "Answer better."
    assert instructions(executor) == "Answer."
    assert executor.signatures.refresh("Ask").spec.instructions == "Answer better."
    assert executor.execute_signature("Ask", {"question": "?"}).fingerprint != before
    source.answers.clear()
    entry = executor.signatures.refresh("Ask")
    assert (entry.spec.instructions, entry.edition, entry.original) == ("Answer.", None, None)
    assert executor.execute_signature("Ask", {"question": "?"}).fingerprint == before


def test_an_edition_makes_no_name_mean_more(executor_with: Any) -> None:
    executor = executor_with(extra_plugins=[("a", Pack()), ("b", Pack()), ("s", Source({"a/Ask": "Answer better."}))])
    with pytest.raises(AmbiguousSignatureError):
        executor.signature("Ask")


def test_an_edition_that_cannot_be_used_leaves_the_original_and_says_why(executor_with: Any) -> None:
    source = Source({"a/Ask": ArtifactError("made from another version"), "local/Mine": "Answer best."})
    executor = executor_with(source)
    with pytest.warns(EditionWarning, match=r"a/Ask that source0/memory has is not used: made from another version"):
        assert instructions(executor) == "Answer."
    executor.register_signature("Mine", Ask)
    assert instructions(executor, "Mine") == "Answer best."


def test_a_broken_source_is_warned_about_once_and_not_asked_again(executor_with: Any) -> None:
    source = Source({"a/Ask": PermissionError("no entry"), "local/Mine": "Answer best."})
    executor = executor_with(source)
    with pytest.warns(EditionWarning, match="no entry"):
        assert instructions(executor) == "Answer."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        executor.register_signature("Mine", Ask)
    assert instructions(executor, "Mine") == "Answer."
    assert source.asked == [("a/Ask", "default")]


def test_a_source_that_cannot_be_made_is_left_out(executor_with: Any) -> None:
    class Broken(Source):
        @hookimpl
        def provide_edition_sources(self) -> list[Component]:
            return [Component(name="memory", target="hokusai_core.nowhere:Source")]

    with pytest.warns(EditionWarning, match="editions of source0/memory are not used"):
        assert instructions(executor_with(Broken({}), Source({"a/Ask": "Answer better."}))) == "Answer better."


def test_two_editions_of_one_signature_are_a_conflict_that_names_both(executor_with: Any) -> None:
    executor = executor_with(Source({"a/Ask": "One."}), Source({"a/Ask": "Two.", "local/Mine": "Best."}))
    with pytest.raises(SignatureDefinitionError, match="source0/memory, source1/memory") as caught:
        executor.signature("a/Ask")
    assert isinstance(caught.value.__cause__, ComponentConflictError)
    executor.register_signature("Mine", Ask)
    assert instructions(executor, "Mine") == "Best."
