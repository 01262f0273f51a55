"""A user's day: define, register, validate, execute, watch; by the documented names only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from hokusai_core import (
    BaseSignature,
    Budget,
    Component,
    Executor,
    InputField,
    LanguageModel,
    OutputField,
    Problem,
    SignatureField,
    SignatureValidator,
    hookimpl,
)
from hokusai_core.errors import HokusaiError
from hokusai_core.testing.lm import null_lm


class SummarizeEmail(BaseSignature):
    """Summarize an email into key points."""

    category = "email"
    tags = ("summary",)
    examples = (
        {"inputs": {"email_content": "The meeting moves to Friday."}, "outputs": {"summary": "Meeting on Friday."}},
    )
    email_content = SignatureField(description="The full email content to summarize")
    summary = SignatureField(description="A concise summary with key points", prefix="Summary:")


class RateReview(BaseSignature):
    """Rate a review."""

    review: str = InputField(aliases=("text",))
    scale: Literal["stars", "points"] = InputField(default="stars")
    rating: int = OutputField(ge=0, le=10)
    reasons: list[str] = OutputField()


class Pack:
    """A plugin as a third party writes it: signatures, a language model, a validator and an observer."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def provide_signatures(self) -> list[type[BaseSignature]]:
        return [SummarizeEmail, RateReview]

    @hookimpl
    def provide_language_models(self) -> list[Component]:
        return [Component("tiny", lambda: TinyProvider(), "answers at once")]

    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component("short", lambda: Short(), "refuses long texts")]

    @hookimpl
    def on_execution_finished(self, event: Any) -> None:
        self.seen.append(event.signature)


class TinyProvider:
    def available(self) -> str | None:
        return None

    def load(self, name: str, **options: Any) -> LanguageModel:
        return LanguageModel(null_lm(model=f"tiny/{name or 'default'}"))

    def close(self) -> None: ...


class Short:
    def validate_inputs(self, signature: Any, inputs: Any) -> list[Problem]:
        return [
            Problem(name, "too_long", "is longer than 1000 characters; shorten it")
            for name, value in inputs.items()
            if isinstance(value, str) and len(value) > 1000
        ]

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Problem]:
        return []


@pytest.fixture
def pack() -> Pack:
    return Pack()


@pytest.fixture
def executor(pack: Pack) -> Iterator[Executor]:
    with Executor(plugins=[], extra_plugins=[("reviews", pack)], lm="tiny", timeout=30) as executor:
        yield executor


def test_signatures_of_a_pack_are_listed_and_run_by_name(executor: Executor, pack: Pack) -> None:
    assert executor.list_signatures() == ["RateReview", "SummarizeEmail"]
    result = executor.execute_signature("SummarizeEmail", {"email_content": "Dear all, ..."})
    assert dict(result) == {"summary": "some summary"}
    assert (result.signature, result.model) == ("reviews/SummarizeEmail", "tiny/default")
    assert executor.execute_signature("reviews/RateReview", {"text": "Good."})["rating"] == 1
    assert pack.seen == ["reviews/SummarizeEmail", "reviews/RateReview"]


def test_the_same_from_an_event_loop(executor: Executor) -> None:
    async def main() -> list[Any]:
        work = (executor.aexecute_signature("RateReview", {"review": f"Review {n}"}) for n in range(5))
        results: list[Any] = await asyncio.gather(*work)
        return results

    assert [result["reasons"] for result in asyncio.run(main())] == [["some reasons"]] * 5


def test_inputs_are_checked_without_a_call(executor: Executor) -> None:
    validator = SignatureValidator(executor)
    assert validator.validate_inputs("RateReview", {"review": "Fine."})
    assert not validator.validate_inputs("RateReview", {"scale": "kilos", "colour": "red"})
    assert {(problem.field, problem.code) for problem in validator.get_errors()} >= {
        ("review", "missing"), ("colour", "unknown")
    }  # fmt: skip
    assert not validator.validate_inputs("RateReview", {"review": "x" * 1001})
    assert [problem.code for problem in validator.get_errors()] == ["too_long"]


def test_an_own_signature_beside_the_pack(executor: Executor) -> None:
    executor.register_signature("Capital", "country -> capital, population: int")
    result = executor.execute_signature("Capital", {"country": "France"})
    assert (result["capital"], result["population"]) == ("some capital", 1)
    assert executor.list_signatures() == ["Capital", "RateReview", "SummarizeEmail"]


def test_the_whole_call(executor: Executor) -> None:
    budget = Budget(calls=5)
    result = executor.execute_signature(
        "RateReview",
        {"review": "Good."},
        lm="tiny/large",
        cache="refresh",
        cache_ttl=60,
        timeout=10,
        retry_on_failure=True,
        max_retries=2,
        tags={"team": "a"},
        budget=budget,
    )
    assert (result.model, result.cached, budget.spent.calls) == ("tiny/large", None, 1)
    assert executor.execute_signature("RateReview", {"review": "Good."}, lm="tiny/large").cached == "memory"
    assert executor.stats()["cache_hits"] == {"memory": 1}
    assert executor.config["timeout"].source == "argument"


def test_a_hosts_tests_run_offline(executor: Executor) -> None:
    executor.set_mode("testing")
    result = executor.execute_signature("SummarizeEmail", {"email_content": "The meeting moves to Friday."})
    assert result["summary"] == "Meeting on Friday."
    assert executor.execute_signature("RateReview", {"review": "?"})["rating"] in range(11)


@pytest.mark.parametrize(
    ("name", "inputs", "builtin", "says"),
    [
        ("SumarizeEmail", {"email_content": "x"}, LookupError, "did you mean 'SummarizeEmail'"),
        ("SummarizeEmail", {"email": "x"}, ValueError, "email_content"),
        ("RateReview", {"review": 5}, ValueError, "review"),
    ],
)
def test_every_error_is_caught_by_its_builtin(
    executor: Executor, name: str, inputs: Any, builtin: type[Exception], says: str
) -> None:
    with pytest.raises(builtin, match=says) as caught:
        executor.execute_signature(name, inputs)
    assert isinstance(caught.value, HokusaiError)
