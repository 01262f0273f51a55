"""The conformance suite for language-model providers: subclass ``LanguageModelProviderConformance`` in your tests.

Example::

    class TestMyProvider(LanguageModelProviderConformance):
        unknown_name = "no-such-model"

        @pytest.fixture
        def make_provider(self):
            return MyProvider
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from hokusai_core.errors import LanguageModelUnavailable
from hokusai_core.execution.signature_runner import SignatureRunner
from hokusai_core.model import LanguageModel
from hokusai_core.protocols import LanguageModelProvider
from hokusai_core.signatures import FieldSpec, SignatureSpec

__all__ = ["LanguageModelProviderConformance"]

_SPEC = SignatureSpec(
    "Answer", "Answer the question in one word.", (FieldSpec("question", "input"), FieldSpec("answer", "output"))
)


class LanguageModelProviderConformance:
    """Tests that every provider passes. The fixture ``make_provider`` returns a function that makes one.

    Tests that need a model are skipped where ``available`` says why there is none.

    Attributes:
        name: name of a model that the provider has; empty for its default.
        unknown_name: name of a model that it does not have.
        options: options for ``load``, such as a small context.
    """

    name: ClassVar[str] = ""
    unknown_name: ClassVar[str] = "no-such-model"
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def make_provider(self) -> Callable[[], LanguageModelProvider]:
        """Return what makes a provider."""
        raise NotImplementedError("define the fixture make_provider")

    @pytest.fixture
    def provider(self, make_provider: Callable[[], LanguageModelProvider]) -> Iterator[LanguageModelProvider]:
        """Yield one provider and close it."""
        made = make_provider()
        yield made
        made.close()

    @pytest.fixture
    def model(self, provider: LanguageModelProvider) -> LanguageModel:
        """Return a loaded model."""
        reason = provider.available()
        if reason is not None:
            pytest.skip(reason)
        return provider.load(self.name, **self.options)

    def test_satisfies_the_protocol(self, provider: LanguageModelProvider) -> None:
        """It has every method."""
        assert isinstance(provider, LanguageModelProvider)

    def test_says_in_one_line_why_it_cannot_serve(self, provider: LanguageModelProvider) -> None:
        """``available`` returns None or one line, the same twice."""
        reason = provider.available()
        assert reason is None or (reason.strip() and "\n" not in reason)
        assert provider.available() == reason

    def test_an_unknown_model_cannot_be_had(self, provider: LanguageModelProvider) -> None:
        """The error has a message for users."""
        with pytest.raises(LanguageModelUnavailable) as caught:
            provider.load(self.unknown_name)
        assert str(caught.value)

    def test_loads_a_model_with_an_identity(self, provider: LanguageModelProvider, model: LanguageModel) -> None:
        """The identity is part of cache keys, so it is not empty, and loading again gives the same one."""
        assert isinstance(model, LanguageModel)
        assert isinstance(model.identity, str)
        assert model.identity
        assert provider.load(self.name, **self.options).identity == model.identity

    def test_a_model_answers(self, model: LanguageModel) -> None:
        """A signature runs with it."""
        answer = SignatureRunner(_SPEC, model).run({"question": "What is the capital of France?"})["answer"]
        assert isinstance(answer, str)
        assert answer.strip()

    def test_closing_twice_is_harmless(self, make_provider: Callable[[], LanguageModelProvider]) -> None:
        """Whether models were loaded or not."""
        unused, used = make_provider(), make_provider()
        if used.available() is None:
            used.load(self.name, **self.options)
        for provider in (unused, used):
            provider.close()
            provider.close()
