"""The conformance suite for language-model providers: subclass ``LanguageModelProviderConformance`` in your tests.

Example::

    class TestMyProvider(LanguageModelProviderConformance):
        unknown_name = "no-such-model"

        @pytest.fixture
        def make_provider(self):
            return MyProvider
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import HokusaiError, LanguageModelUnavailable
from hokusai_core.execution.signature_runner import SignatureRunner
from hokusai_core.executor import Executor
from hokusai_core.model import LanguageModel
from hokusai_core.protocols import LanguageModelProvider
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, error_in_fork
from hokusai_core.testing.event_loops import blocking_calls, run_watched
from hokusai_core.testing.leftovers import leftovers

__all__ = ["LanguageModelProviderConformance"]

_SPEC = SignatureSpec(
    "Answer", "Answer the question in one word.", (FieldSpec("question", "input"), FieldSpec("answer", "output"))
)

#: What ``available`` may do: look for files.
_LOOKING: Final = frozenset({"open"})
_QUICK: Final = 1.0


class LanguageModelProviderConformance(Conformance):
    """Tests that every provider passes. The fixture ``make_provider`` returns a function that makes one.

    Tests that need a model are skipped where ``available`` says why there is none.

    Attributes:
        name: name of a model that the provider has; empty for its default.
        unknown_name: name of a model that it does not have.
        options: options for ``load``, such as a small context.
        expected: question -> the answer that the model is known to give, None if it is not known.
        secret_options: options for ``load`` whose values are credentials.
    """

    name: ClassVar[str] = ""
    unknown_name: ClassVar[str] = "no-such-model"
    options: ClassVar[dict[str, Any]] = {}
    expected: ClassVar[Mapping[str, str | None]] = {"What is the capital of France?": None}
    secret_options: ClassVar[Mapping[str, str]] = {}

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
        """``available`` returns None or one line, the same twice, and does not ask the network for it."""
        reason = provider.available()
        assert reason is None or (isinstance(reason, str) and reason.strip() and "\n" not in reason)
        started = time.perf_counter()
        with blocking_calls() as calls:
            assert provider.available() == reason
        assert set(calls) <= _LOOKING | self.calls_on_loop, f"available() makes blocking calls: {set(calls)}"
        assert time.perf_counter() - started < _QUICK

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

    def test_an_unknown_option_is_an_error(self, provider: LanguageModelProvider, model: LanguageModel) -> None:
        """A misspelt option is not ignored."""
        with pytest.raises((HokusaiError, TypeError)):
            provider.load(self.name, **self.options, no_such_option=1)

    def test_nothing_shows_a_credential(
        self, provider: LanguageModelProvider, model: LanguageModel, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither the identity, which is part of cache keys, nor an error. Nothing is printed, either."""
        shown = ""
        if self.secret_options:
            loaded = provider.load(self.name, **{**self.options, **self.secret_options})
            shown += f"{loaded.identity} {getattr(loaded.lm, 'model', '')} {provider!r}"
            with pytest.raises(LanguageModelUnavailable) as caught:
                provider.load(self.unknown_name, **{**self.options, **self.secret_options})
            shown += f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
        printed = capfd.readouterr()
        assert (printed.out, printed.err) == ("", "")
        assert not [name for name, value in self.secret_options.items() if value in shown]

    def _check(self, question: str, answer: object) -> None:
        assert isinstance(answer, str)
        assert answer.strip()
        wanted = self.expected[question]
        assert wanted is None or answer == wanted, f"{question!r} is answered by {answer!r}"

    def test_a_model_answers(self, model: LanguageModel) -> None:
        """A signature runs with it."""
        runner = SignatureRunner(_SPEC, model)
        for question in self.expected:
            self._check(question, runner.run({"question": question})["answer"])

    def test_many_threads_ask_at_once(self, model: LanguageModel) -> None:
        """Each gets the answer to its own question."""
        runner = SignatureRunner(_SPEC, model)
        questions = list(self.expected) * 2
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda question: runner.run({"question": question})["answer"], questions))
        for question, answer in zip(questions, answers, strict=True):
            self._check(question, answer)

    def test_an_event_loop_goes_on_and_tokens_are_counted(self, model: LanguageModel) -> None:
        """While the model answers. Without tokens no budget holds."""
        self.require("asynchronous")
        with Executor(lm=model, plugins=[], environ={}, cache_enabled=False) as executor:
            executor.register_signature("Answer", BaseSignature.from_spec(_SPEC))

            async def ask() -> None:
                for question in self.expected:
                    result = await executor.aexecute_signature("Answer", {"question": question})
                    self._check(question, result["answer"])
                    assert result.usage.input_tokens > 0
                    assert result.usage.output_tokens > 0

            run_watched(ask, allowed=self.calls_on_loop)

    def test_works_in_a_forked_process(self, provider: LanguageModelProvider, model: LanguageModel) -> None:
        """A model that was used before answers there, too."""
        self.require_fork(provider)
        runner = SignatureRunner(_SPEC, model)

        def ask() -> None:
            for question in self.expected:
                self._check(question, runner.run({"question": question})["answer"])

        ask()
        assert error_in_fork(ask) is None
        ask()

    def test_closing_releases_everything(self, make_provider: Callable[[], LanguageModelProvider]) -> None:
        """No file and no thread is left."""
        reason = make_provider().available()
        if reason is not None:
            pytest.skip(reason)
        with leftovers() as left:
            for _ in range(3):
                provider = make_provider()
                provider.load(self.name, **self.options)
                provider.close()
        assert left() == []

    def test_closing_twice_is_harmless(self, make_provider: Callable[[], LanguageModelProvider]) -> None:
        """Whether models were loaded or not."""
        unused, used = make_provider(), make_provider()
        if used.available() is None:
            used.load(self.name, **self.options)
        for provider in (unused, used):
            provider.close()
            provider.close()
