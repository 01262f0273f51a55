"""What DSPy raises, as our errors: kinds, retryability, next steps, and no secret."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core import errors
from hokusai_core.dspy_bridge import ModelCall, translate_error
from hokusai_core.redaction import scrub
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec
from hokusai_core.testing.lm import NullEngine

QA = SignatureSpec("Answer", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))


def raised_by_an_engine(error: BaseException, spec: SignatureSpec = QA) -> errors.HokusaiError:
    class Failing(NullEngine):
        def complete(self, request: Any) -> Any:
            raise error

    with pytest.raises(errors.HokusaiError) as caught:
        ModelCall(spec, dspy.LM("null/x", engine=Failing(), cache=False)).prepare({"question": "?"}).run()
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (lm15.RateLimitError("slow", retry_after=7.0), errors.RateLimitedError, True),
        (lm15.ServerError("down", status=503), errors.LanguageModelError, True),
        (lm15.TimeoutError("late"), errors.LanguageModelError, True),
        (lm15.TransportError("cut"), errors.LanguageModelError, True),
        (lm15.AuthError("no"), errors.LanguageModelRefused, False),
        (lm15.BillingError("no"), errors.LanguageModelRefused, False),
        (lm15.ContextLengthError("long"), errors.PromptTooLong, False),
        (lm15.InvalidRequestError("bad"), errors.LanguageModelError, False),
        (lm15.UnsupportedModelError("gone"), errors.LanguageModelUnavailable, False),
        (lm15.NotConfiguredError("no key"), errors.LanguageModelUnavailable, False),
        (ValueError("bug"), errors.LanguageModelError, False),
        (MemoryError(), errors.LanguageModelError, False),
        (ImportError("no module named x"), errors.LanguageModelUnavailable, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_kinds(error: BaseException, kind: type[errors.ExecutionError], retryable: bool) -> None:
    translated = raised_by_an_engine(error)
    assert type(translated) is kind
    assert translated.retryable is retryable
    assert translated.signature == "Answer"
    assert "'Answer'" in str(translated)
    assert "null/x" in str(translated)
    assert translated.__cause__ is not None


def test_retry_after_is_kept() -> None:
    assert raised_by_an_engine(lm15.RateLimitError("slow", retry_after=7.0)).retry_after == 7.0  # type: ignore[attr-defined]


def test_our_own_errors_pass_through_an_engine() -> None:
    error = errors.PromptTooLong("the prompt has 5000 tokens, the model takes 2048")
    assert raised_by_an_engine(error) is error


@pytest.mark.parametrize("error", [ValueError("q=s3cret"), lm15.InvalidRequestError("you sent s3cret")])
def test_a_sensitive_signature_keeps_the_providers_words_out(error: BaseException) -> None:
    spec = QA.evolve(fields=(FieldSpec("question", "input", sensitive=True), FieldSpec("answer", "output")))
    translated = raised_by_an_engine(error, spec)
    assert "s3cret" not in str(translated)
    assert translated.__cause__ is None
    assert translated.__context__ is None


def test_a_parse_error_of_dspy_says_what_is_missing() -> None:
    error = dspy.utils.exceptions.AdapterParseError(
        "ChatAdapter", dspy.Signature("a -> b, c"), "half", parsed_result={"b": 1}
    )
    translated = translate_error(error, signature="S", model="m")
    assert isinstance(translated, errors.OutputError)
    assert "lacks c" in str(translated)


def test_anything_else_is_an_execution_error() -> None:
    translated = translate_error(RuntimeError("odd"), signature="S")
    assert type(translated) is errors.ExecutionError
    assert "RuntimeError: odd" in str(translated)


SECRETS = [
    "Authorization: Bearer abcDEF123456.xyz",
    "api_key=sk-proj-abcdef1234567890",
    '{"api_key": "whatever it is"}',
    "'api-key': 'short'",
    "OPENAI_API_KEY=verysecret",
    "https://user:verysecret@example.com/v1",
    "Incorrect API key provided: sk-abcdefghijkl1234567890.",
    "password: verysecret",
    "x-api-key: verysecret",
    "hf_abcdefghijklmnopqrst",
    "AKIAABCDEFGHIJKLMNOP",
]


@pytest.mark.parametrize("text", SECRETS)
def test_credentials_are_scrubbed(text: str) -> None:
    clean = scrub(f"refused ({text}) please check")
    assert "[redacted]" in clean
    for secret in ("abcDEF", "abcdef", "whatever", "'short'", "verysecret", "ABCDEFGH"):
        assert secret not in clean
    assert clean.startswith("refused (")
    assert clean.endswith("please check")


@pytest.mark.parametrize(
    "text", ["max_tokens: 20 is too low", "the task is broken", "risk-averse answers", "asking for more tokens"]
)
def test_ordinary_words_stay(text: str) -> None:
    assert scrub(text) == text


@given(st.text())
def test_scrubbing_never_fails_and_is_final(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_what_the_host_gave_as_credentials_is_left_out_whatever_it_looks_like() -> None:
    class Quoting(NullEngine):
        def complete(self, request: Any) -> Any:
            # An engine of one's own takes no such parameters, so that they come when it has been asked.
            lm.kwargs |= {"api_key": "plain words", "headers": {"X-Tenant": "Bearer tenant-seven"}}
            raise lm15.AuthError("no such key: plain words, nor tenant-seven in the header")

    lm = dspy.LM("null/x", engine=Quoting(), cache=False)
    with pytest.raises(errors.LanguageModelRefused) as caught:
        ModelCall(QA, lm).prepare({"question": "?"}).run()
    assert "no such key: [redacted], nor [redacted] in the header" in str(caught.value)


def test_provider_texts_are_shortened_and_scrubbed() -> None:
    translated = raised_by_an_engine(lm15.InvalidRequestError("api_key=sk-abcdef1234567890 " + "x" * 5000))
    assert "sk-abc" not in str(translated)
    assert len(str(translated)) < 1000
