"""Providers of language models by authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import dspy
import pytest

from hokusai_core.errors import LanguageModelUnavailable
from hokusai_core.model import LanguageModel
from hokusai_core.testing.language_models import LanguageModelProviderConformance
from hokusai_core.testing.lm import AsyncNullEngine, NullEngine

ANSWERS = {"What is the capital of France?": "Paris", "What is the capital of Italy?": "Rome"}
KEY = "sk-hunter2"


class Engine(NullEngine):
    """Knows two capitals."""

    def __init__(self) -> None:
        super().__init__(answers={"answer": self.know})

    def know(self, user: str) -> Any:
        return next(answer for question, answer in ANSWERS.items() if question in user)


class Provider:
    """A provider that is right."""

    fork_safe = True
    engine_class: type[Engine] = Engine
    async_engine_class: type[AsyncNullEngine] = AsyncNullEngine

    def available(self) -> Any:
        return None

    def unknown(self, name: str, key: str) -> Any:
        raise LanguageModelUnavailable(f"there is no model {name!r}; write null/capitals")

    def check(self, options: dict[str, Any]) -> None:
        if options:
            raise TypeError(f"unexpected options {', '.join(options)}")

    def load(self, name: str, api_key: str = "", **options: Any) -> Any:
        self.check(options)
        if name not in ("", "capitals"):
            return self.unknown(name, api_key)
        engine = self.engine_class()
        other = self.async_engine_class(engine)
        lm = dspy.LM("null/capitals", engine=engine, async_engine=other, cache=False, num_retries=0)
        return self.make(lm, api_key)

    def make(self, lm: Any, key: str) -> Any:
        return LanguageModel(lm, identity="null/capitals 1")

    def close(self) -> None:
        pass


class AnyNameWillDo(Provider):
    def unknown(self, name: str, key: str) -> Any:
        return self.load("")


class UnknownIsAKeyError(Provider):
    def unknown(self, name: str, key: str) -> Any:
        raise KeyError(name)


class UnknownIsNone(Provider):
    def unknown(self, name: str, key: str) -> Any:
        return None


class UnknownSaysNothing(Provider):
    def unknown(self, name: str, key: str) -> Any:
        raise LanguageModelUnavailable("")


class ErrorShowsTheKey(Provider):
    def unknown(self, name: str, key: str) -> Any:
        raise LanguageModelUnavailable(f"there is no model {name!r} for key {key}")


class CauseShowsTheKey(Provider):
    def unknown(self, name: str, key: str) -> Any:
        raise LanguageModelUnavailable(f"there is no model {name!r}") from ConnectionError(f"401 for {key}")


class IdentityHoldsTheKey(Provider):
    def make(self, lm: Any, key: str) -> Any:
        return LanguageModel(lm, identity=f"null/capitals {key}")


class HasNoIdentity(Provider):
    def make(self, lm: Any, key: str) -> Any:
        return LanguageModel(lm)


class IdentityIsANumber(Provider):
    def make(self, lm: Any, key: str) -> Any:
        return LanguageModel(lm, identity=1)  # type: ignore[arg-type]  # that is the fault


class NewIdentityEachTime(Provider):
    def make(self, lm: Any, key: str) -> Any:
        return LanguageModel(lm, identity=f"null/{id(lm)}")


class ReturnsTheLm(Provider):
    def make(self, lm: Any, key: str) -> Any:
        return lm


class IgnoresOptions(Provider):
    def check(self, options: dict[str, Any]) -> None:
        pass


class AvailableIsTrue(Provider):
    def available(self) -> Any:
        return True


class AvailableIsFalse(Provider):
    def available(self) -> Any:
        return False


class AvailableRaises(Provider):
    def available(self) -> Any:
        raise LanguageModelUnavailable("it is not installed")


class AvailableIsAPage(Provider):
    def available(self) -> Any:
        return "it is not installed\nTraceback follows"


class AvailableChanges(Provider):
    asked = 0

    def available(self) -> Any:
        self.asked += 1
        return f"not yet, asked {self.asked} times"


class AvailableAsksTheNetwork(Provider):
    def available(self) -> Any:
        time.sleep(0.001)
        return None


class AnswersNothing(Provider):
    class engine_class(Engine):  # it stands for an attribute
        def know(self, user: str) -> Any:
            return ""


class RepeatsItself(Provider):
    class engine_class(Engine):  # as above
        first: Any = None

        def know(self, user: str) -> Any:
            self.first = self.first or super().know(user)
            return self.first


class NotForThreads(Provider):
    class engine_class(Engine):  # as above
        user = ""

        def know(self, user: str) -> Any:
            self.user = user
            time.sleep(0.003)
            return super().know(self.user)


class OnlyForItsProcess(Provider):
    class engine_class(Engine):  # as above
        def __init__(self) -> None:
            super().__init__()
            self.process = os.getpid()

        def know(self, user: str) -> Any:
            return super().know(user) if os.getpid() == self.process else "I do not know"


class CountsNoTokens(Provider):
    class engine_class(Engine):  # as above
        def answer(self, number: int, request: Any) -> Any:
            answer = super().answer(number, request)
            return type(answer)(
                id=None, model=answer.model, message=answer.message, finish_reason="stop", usage=type(answer.usage)()
            )


class BlocksTheLoop(Provider):
    class async_engine_class(AsyncNullEngine):  # as above
        async def complete(self, request: Any) -> Any:
            time.sleep(0.001)  # noqa: ASYNC251  # that is the fault
            return await super().complete(request)


class HoldsTheLoopUp(Provider):
    class async_engine_class(AsyncNullEngine):  # as above
        async def complete(self, request: Any) -> Any:
            until = time.perf_counter() + 0.55 * (len(asyncio.all_tasks()) > 1)
            while time.perf_counter() < until:
                pass
            return await super().complete(request)


class Chatty(Provider):
    def make(self, lm: Any, key: str) -> Any:
        os.write(2, b"loaded\n")
        return super().make(lm, key)


class CannotCloseTwice(Provider):
    def __init__(self) -> None:
        self.models: list[Any] = []

    def close(self) -> None:
        del self.models


class CannotCloseUnused(Provider):
    def load(self, name: str, api_key: str = "", **options: Any) -> Any:
        self.models = [super().load(name, api_key, **options)]
        return self.models[0]

    def close(self) -> None:
        self.models.clear()


class LeavesThreads(Provider):
    def make(self, lm: Any, key: str) -> Any:
        threading.Thread(target=END.wait, daemon=True).start()
        return super().make(lm, key)


END = threading.Event()


class Suite(LanguageModelProviderConformance):
    expected: ClassVar[Mapping[str, str | None]] = ANSWERS
    secret_options: ClassVar[Mapping[str, str]] = {"api_key": KEY}

    @pytest.fixture
    def make_provider(self, planted: Any) -> Any:
        return planted


GOOD = Provider
FAULTS = [
    AnyNameWillDo, UnknownIsAKeyError, UnknownIsNone, UnknownSaysNothing, ErrorShowsTheKey, CauseShowsTheKey,
    IdentityHoldsTheKey, HasNoIdentity, IdentityIsANumber, NewIdentityEachTime, ReturnsTheLm, IgnoresOptions,
    AvailableIsTrue, AvailableIsFalse, AvailableRaises, AvailableIsAPage, AvailableChanges, AvailableAsksTheNetwork,
    AnswersNothing, RepeatsItself, NotForThreads, OnlyForItsProcess, CountsNoTokens, BlocksTheLoop, HoldsTheLoopUp,
    Chatty, CannotCloseTwice, CannotCloseUnused, LeavesThreads,
]  # fmt: skip


def clean_up() -> None:
    END.set()
