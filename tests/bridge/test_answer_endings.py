"""How an answer ended is part of it: one that was cut off or withheld is an error, however complete it looks."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace as Values
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, RefusalPart, Request, Response, TextPart, Usage

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import AnswerCutOff, AnswerRefused, LanguageModelError, OutputError
from hokusai_core.testing.lm import AsyncNullEngine, NullEngine
from hokusai_diskcache import DiskCache

LIST = '[[ ## things ## ]]\n["salad", "carrots", "pota"]\n\n[[ ## completed ## ]]'


class Shopping(BaseSignature):
    """Write a list."""

    occasion: str = InputField("What for", sensitive=False)
    things: list[str] = OutputField("What to buy")


class Ending(NullEngine):
    """Ends its answers in a given way."""

    def __init__(self, text: str, reason: str, refusal: str = "") -> None:
        super().__init__()
        self.text, self.reason, self.refusal = text, reason, refusal

    def answer(self, number: int, request: Request) -> Response:
        parts: list[Any] = [TextPart(self.text)] if self.text or not self.refusal else []
        parts += [RefusalPart(self.refusal)] if self.refusal else []
        usage = Usage(input_tokens=5, output_tokens=5, total_tokens=10)
        reason: Any = self.reason
        return Response(id=None, model="m", message=Message.assistant(parts), finish_reason=reason, usage=usage)


def ending(text: str, reason: str, refusal: str = "", *, asynchronous: bool = True) -> Any:
    engine = Ending(text, reason, refusal)
    return dspy.LM(
        "null/ending",
        engine=engine,
        async_engine=AsyncNullEngine(engine) if asynchronous else None,
        cache=False,
        num_retries=0,
    )


ENDINGS = [
    (ending(LIST, "length"), AnswerCutOff, "max_tokens"),
    (ending('[[ ## things ## ]]\n["salad", "carr', "length"), AnswerCutOff, "max_tokens"),
    (ending("", "length"), AnswerCutOff, "max_tokens"),
    (ending(LIST, "content_filter"), AnswerRefused, "content_filter"),
    (ending("", "content_filter"), AnswerRefused, "content_filter"),
    (ending("", "stop", "I can't help with that."), AnswerRefused, "I can't help with that"),
    (ending(LIST, "stop", "I can't help with that."), AnswerRefused, "I can't help with that"),
    (ending(LIST, "error"), LanguageModelError, "broke the answer off"),
]
IDS = ["cut, complete", "cut", "cut, empty", "filtered", "filtered, empty", "refused", "refused after text", "error"]


@pytest.mark.parametrize(("lm", "kind", "said"), ENDINGS, ids=IDS)
@pytest.mark.parametrize("awaited", [False, True], ids=["called", "awaited"])
def test_an_answer_that_is_not_whole_is_an_error(lm: Any, kind: type[Exception], said: str, awaited: bool) -> None:
    with Executor(lm=lm, plugins=[]) as executor:
        work = {
            False: lambda: executor.execute_signature(Shopping, {"occasion": "lunch"}),
            True: lambda: asyncio.run(executor.aexecute_signature(Shopping, {"occasion": "lunch"})),
        }[awaited]
        with pytest.raises(kind, match=said) as caught:
            work()  # type: ignore[no-untyped-call]
    (attempt,) = caught.value.attempts  # type: ignore[attr-defined]
    assert attempt.finish_reason == lm.engine.reason
    assert attempt.usage.output_tokens == 5  # it was paid for anyway


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "JSON"])
def test_no_second_call_is_made_for_it(adapter: Any) -> None:
    lm = ending(LIST, "length")
    with Executor(lm=lm, adapter=adapter, plugins=[]) as executor, pytest.raises(AnswerCutOff):
        executor.execute_signature(Shopping, {"occasion": "lunch"})
    assert lm.engine.calls == 1


def test_a_refusal_is_not_tried_again_and_a_cut_answer_only_if_asked() -> None:
    for reason, calls in (("content_filter", 1), ("length", 3)):
        lm = ending(LIST, reason)
        with Executor(lm=lm, plugins=[], max_retries=2) as executor, pytest.raises(OutputError):
            executor.execute_signature(Shopping, {"occasion": "lunch"}, retry_on_failure=True, timeout=30)
        assert lm.engine.calls == calls


def test_the_words_of_a_model_stay_out_where_a_field_is_sensitive() -> None:
    class Secret(Shopping):
        """Write a list."""

        occasion: str = InputField("What for", sensitive=True)

    lm = ending("", "stop", "I won't talk about s3cret.")
    with Executor(lm=lm, plugins=[]) as executor, pytest.raises(AnswerRefused) as caught:
        executor.execute_signature(Secret, {"occasion": "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("lm", "kind", "said"), ENDINGS, ids=IDS)
@pytest.mark.parametrize("awaited", [False, True], ids=["called", "awaited"])
def test_an_answer_that_is_not_whole_is_kept_nowhere(
    lm: Any, kind: type[Exception], said: str, awaited: bool, tmp_path: Path
) -> None:
    """Neither in memory nor on disk, nor in a journal; a whole answer afterwards is the only one that is served."""
    rows, journal = [{"occasion": "lunch"}, {"occasion": "dinner"}], tmp_path / "journal.jsonl"

    def run(executor: Executor, **options: Any) -> Any:
        if awaited:
            return asyncio.run(executor.aexecute_batch(Shopping, rows, journal=journal, **options))
        return executor.execute_batch(Shopping, rows, journal=journal, **options)

    whole = ending(LIST.replace("pota", "potatoes"), "stop")
    with Executor(lm=lm, plugins=[], cache=DiskCache(tmp_path / "cache")) as executor:
        failed = run(executor).failed
        assert [type(failure.error) for failure in failed] == [kind] * 2
        assert executor.explain(Shopping, rows[0]).hit is None
    assert "carr" not in journal.read_text(encoding="utf-8")
    with Executor(lm=whole, plugins=[], cache=DiskCache(tmp_path / "cache")) as executor:
        assert executor.explain(Shopping, rows[0], lm=lm).hit is None
        assert executor.explain(Shopping, rows[0]).hit is None
        first, again = run(executor), run(executor)
    for result, cached in ((first, None), (again, "journal")):
        assert [row["things"] for row in result] == [["salad", "carrots", "potatoes"]] * 2
        assert {row.cached for row in result} == {cached}
    assert whole.engine.calls == 2


class Two(dspy.Module):
    """Asks twice, and takes what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            dspy.Predict("occasion -> things: list[str]"),
            dspy.Predict("occasion -> things: list[str]"),
        )

    def forward(self, occasion: str) -> Any:
        self.first(occasion=occasion)
        return self.second(occasion=occasion)


def test_a_program_decides_itself_and_the_record_says_so() -> None:
    with Executor(lm=ending(LIST, "length"), plugins=[]) as executor:
        executor.register_signature("Two", Two())
        result = executor.execute_signature("Two", {"occasion": "lunch"})
    assert result["things"] == ["salad", "carrots", "pota"]
    assert [attempt.finish_reason for attempt in result.attempts] == ["length"]


@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
def test_a_program_that_is_one_call_is_taken_as_such(module: Any) -> None:
    text = f"[[ ## reasoning ## ]]\nr\n\n{LIST}"
    with Executor(lm=ending(text, "length"), plugins=[]) as executor:
        executor.register_signature("One", module("occasion -> things: list[str]"))
        with pytest.raises(AnswerCutOff):
            executor.execute_signature("One", {"occasion": "lunch"})


class OwnLM(dspy.BaseLM):
    """A host's own language model, in DSPy's older way."""

    def __init__(self, response: Any) -> None:
        super().__init__("own/model")
        self.response = response

    def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        return self.response


def test_a_hosts_own_language_model_says_how_it_ended() -> None:
    for reason, kind in (("length", AnswerCutOff), ("content_filter", AnswerRefused), ("eos", None)):
        choice = Values(message=Values(content=LIST, tool_calls=None), finish_reason=reason)
        response = Values(choices=[choice], usage={"prompt_tokens": 1, "completion_tokens": 1}, model="own/model")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with Executor(lm=OwnLM(response), plugins=[], cache_enabled=False) as executor:
                if kind is None:
                    assert executor.execute_signature(Shopping, {"occasion": "lunch"})["things"][0] == "salad"
                    continue
                with pytest.raises(kind):
                    executor.execute_signature(Shopping, {"occasion": "lunch"})
