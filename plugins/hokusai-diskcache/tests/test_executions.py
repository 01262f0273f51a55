"""Executions with a store behind them: lifetimes, keys, secrets, event loops, forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import CacheError, CacheWarning
from hokusai_core.testing.caches import make_entry
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache

Make = Callable[..., Executor]


class Answer(BaseSignature):
    """Answer the question."""

    question: str = InputField()
    tags: list[str] = InputField(required=False)
    weights: dict[str, float] = InputField(required=False)
    answer: str = OutputField()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return what makes executors that share one folder, and are closed in the end."""
    made: list[Executor] = []

    def make_executor(signature: Any = Answer, *, lm: Any = None, **options: Any) -> Executor:
        model = lm or null_lm(answers={"answer": lambda prompt: prompt.split("Q")[1] if "Q" in prompt else "nothing"})
        executor = Executor(lm=model, plugins=[], cache=DiskCache(tmp_path / "answers"), **options)
        executor.register_signature("Ask", signature)
        made.append(executor)
        return executor

    yield make_executor
    for executor in made:
        executor.close()


def tier(executor: Executor, inputs: dict[str, Any] | None = None, **options: Any) -> str | None:
    return executor.execute_signature("Ask", inputs or {"question": "Q1Q"}, **options).cached


def test_a_stored_answer_tells_how_it_came_about(make: Make) -> None:
    first = make().execute_signature("Ask", {"question": "Q1Q"})
    time.sleep(0.05)
    again = make().execute_signature("Ask", {"question": "Q1Q"})
    assert dict(again) == dict(first) == {"answer": "1"}
    assert again.cached == "disk"
    assert again.cache_age is not None
    assert again.cache_age >= 0.04
    assert again.original_latency is not None
    assert again.original_latency > 0
    assert again.usage.calls == 0
    assert again.execution_id != first.execution_id


@pytest.mark.parametrize("where", ["call", "executor", "signature"])
def test_an_answer_is_not_served_past_its_lifetime(make: Make, where: str) -> None:
    class Brief(Answer):
        """Answer the question."""

        cache_ttl = 0.3

    signature = Brief if where == "signature" else Answer
    options = {"cache_ttl": 0.3} if where == "executor" else {}
    call: dict[str, Any] = {"cache_ttl": 0.3} if where == "call" else {}
    executor = make(signature, **options)
    assert tier(executor, **call) is None
    assert tier(executor, **call) == "memory"
    assert tier(make(signature, **options), **call) == "disk"
    time.sleep(0.35)
    assert tier(executor, **call) is None
    time.sleep(0.35)
    assert tier(make(signature, **options), **call) is None


def test_a_reader_may_ask_for_fresher_answers_than_the_writer(make: Make) -> None:
    assert tier(make()) is None
    time.sleep(0.25)
    assert tier(make(), cache_ttl=0.2) is None
    assert tier(make(), cache_ttl=100) == "disk"


def test_use_refresh_and_off(make: Make) -> None:
    executor = make()
    assert tier(executor, cache="off") is None
    assert tier(executor) is None  # "off" stored nothing
    assert tier(executor, cache="off") is None
    assert tier(executor, cache="refresh") is None
    assert tier(make()) == "disk"
    changed = make(lm=null_lm(answers={"answer": "changed"}))
    assert changed.execute_signature("Ask", {"question": "Q1Q"}, cache="refresh")["answer"] == "changed"
    assert make().execute_signature("Ask", {"question": "Q1Q"})["answer"] == "changed"


def test_a_cache_that_is_off_is_not_touched(make: Make, tmp_path: Path) -> None:
    executor = make(cache_enabled=False)
    assert [tier(executor), tier(executor)] == [None, None]
    assert not (tmp_path / "answers").exists()


def test_equal_inputs_share_an_answer_however_they_are_written(make: Make) -> None:
    assert tier(make(), {"question": "Q1Q", "weights": {"a": 1, "b": 2.5}}) is None
    assert tier(make(), {"weights": {"b": 2.5, "a": 1.0}, "question": "Q1Q"}) == "disk"
    assert tier(make(), {"question": "Q1Q", "weights": {"a": 1, "b": 2}}) is None


def test_whatever_changes_the_answer_changes_the_key(make: Make) -> None:
    class Other(Answer):
        """Answer the question thoroughly."""

    class Typed(Answer):
        """Answer the question."""

        answer: list[str] = OutputField()  # type: ignore[assignment]

    shown = BaseSignature.from_spec(Answer.spec.evolve(demos=({"question": "one?", "answer": "1"},)))
    assert tier(make()) is None
    for signature in (Other, Typed, shown):
        assert tier(make(signature, lm=null_lm())) is None
    answers = {"answer": "x"}
    assert tier(make(lm=null_lm(model="null/other", answers=answers))) is None
    assert tier(make(lm=null_lm(answers=answers).copy(temperature=0.7))) is None
    assert tier(make(namespace="another")) is None
    assert tier(make()) == "disk"


def test_credentials_do_not_change_the_key(make: Make) -> None:
    import dspy

    secret = "sk-canary-4711"  # noqa: S105
    explained = [
        make(lm=dspy.LM("openai/gpt-5-mini", temperature=1.0, max_tokens=16000, **credentials)).explain(
            "Ask", {"question": "x"}
        )
        for credentials in ({"api_key": secret}, {"api_key": "sk-other"}, {})
    ]
    assert len({found.key for found in explained}) == 1
    assert secret not in str(explained)


def contains(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_sensitive_inputs_leave_no_trace_on_disk(make: Make, tmp_path: Path) -> None:
    class Private(BaseSignature):
        """Answer the question of a patient."""

        question: str = InputField()
        patient: str = InputField(sensitive=True)
        answer: str = OutputField()

    canary = "Canary-Jane-Doe"
    inputs = {"question": "Q1Q", "patient": canary}
    assert tier(make(Private), inputs) is None
    assert tier(make(Private), inputs) == "disk"
    assert tier(make(Private), {**inputs, "patient": "John"}) is None
    explanation = make(Private).explain("Ask", {**inputs, "patient": "Ada"})
    assert explanation.differs == ("input:patient",)
    assert not contains(tmp_path / "answers", canary)
    # Without the secret an attacker cannot try out names: the same input gives another key in another store.
    other = Executor(lm=null_lm(), plugins=[], cache=DiskCache(tmp_path / "elsewhere"))
    other.register_signature("Ask", Private)
    here, there = make(Private).explain("Ask", inputs), other.explain("Ask", inputs)
    assert here.key != there.key
    assert here.parts["input:patient"] != there.parts["input:patient"]
    assert here.parts["input:question"] == there.parts["input:question"]
    other.close()


def test_sensitive_outputs_are_never_persisted(make: Make, tmp_path: Path) -> None:
    class Diagnosis(BaseSignature):
        """Answer the question."""

        question: str = InputField()
        answer: str = OutputField(sensitive=True)

    executor = make(Diagnosis)
    assert tier(executor, {"question": "QcanaryQ"}) is None
    assert tier(executor, {"question": "QcanaryQ"}) == "memory"
    assert tier(make(Diagnosis), {"question": "QcanaryQ"}) is None
    assert "never stored" in executor.explain("Ask", {"question": "Qother"}).tiers["disk"]
    assert not contains(tmp_path, "canary")


@pytest.mark.parametrize("outputs", [b'{"answer":5}', b'{"other":"x"}', b"[]", b"not json", b'{"answer":""}'], ids=repr)
def test_outputs_that_do_not_fit_are_not_served(make: Make, tmp_path: Path, outputs: bytes) -> None:
    """Even where an attacker who planted them has read the secret."""
    executor = make()
    tier(executor)
    ((key,),) = sqlite3.connect(tmp_path / "answers" / "store" / "cache.db").execute("SELECT key FROM Cache")
    store = DiskCache(tmp_path / "answers")
    store.put(make_entry(key, outputs=outputs))
    store.close()
    with pytest.warns(CacheWarning, match="holds no outputs of that signature"):
        result = make().execute_signature("Ask", {"question": "Q1Q"})
    assert (result["answer"], result.cached) == ("1", None)
    assert tier(make()) == "disk"  # the good answer took its place


def test_failures_are_not_stored(make: Make) -> None:
    with pytest.raises(Exception, match="asked to fail"):
        tier(make(lm=null_lm(fail_first=1)))
    assert tier(make()) is None


def test_explain(make: Make) -> None:
    executor = make()
    inputs = {"question": "Q1Q", "tags": ["a"]}
    assert executor.explain("Ask", inputs).reason == "miss: no answer of this signature is stored"
    tier(executor, inputs, cache_ttl=1000)
    assert (executor.explain("Ask", inputs).hit, make().explain("Ask", inputs).hit) == ("memory", "disk")
    missed = make().explain("Ask", {**inputs, "question": "other"})
    assert (missed.hit, missed.differs) == (None, ("input:question",))
    assert missed.nearest is not None
    assert missed.nearest.model == "null/model"
    assert 900 < (missed.nearest.expires_in or 0) <= 1000
    assert "expires in" in missed.reason
    assert make().explain("Ask", {"question": "Q1Q"}).differs == ("input:tags",)
    assert make(lm=null_lm(model="null/other")).explain("Ask", inputs).differs == ("model",)
    assert make(namespace="n").explain("Ask", inputs).differs == ("namespace",)
    assert make(cache_enabled=False).explain("Ask", inputs).key is None
    assert make(mode="testing").explain("Ask", inputs).key is None


def test_explain_of_an_expired_answer(make: Make) -> None:
    executor = make()
    tier(executor, cache_ttl=0.2)
    time.sleep(0.25)
    for explained in (executor.explain("Ask", {"question": "Q1Q"}), make().explain("Ask", {"question": "Q1Q"})):
        assert explained.hit is None
        assert explained.differs == ()
        assert "too old" in explained.reason


def test_event_loops_are_served(make: Make) -> None:
    async def ask(executor: Executor) -> list[str | None]:
        results = await asyncio.gather(
            *(executor.aexecute_signature("Ask", {"question": f"Q{number}Q"}) for number in range(50))
        )
        assert [result["answer"] for result in results] == [str(number) for number in range(50)]
        return [result.cached for result in results]

    assert asyncio.run(ask(make())) == [None] * 50
    assert asyncio.run(ask(make())) == ["disk"] * 50


def test_an_event_loop_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "answers", busy_timeout=0.5)
    cache.put(make_entry("aa"))
    locker = sqlite3.connect(tmp_path / "answers" / "store" / "cache.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    order: list[str] = []

    async def store() -> None:
        with pytest.raises(OSError, match="locked"):
            await cache.aput(make_entry("bb"))
        order.append("stored")

    async def go_on() -> None:
        await asyncio.sleep(0.01)
        found = await cache.aget("aa")
        assert found is not None
        order.append("read")

    async def both() -> None:
        await asyncio.gather(store(), go_on())

    asyncio.run(both())
    locker.close()
    cache.close()
    assert order == ["read", "stored"]


def _child(cache: DiskCache, results: Any) -> None:
    found = cache.get("aa")
    cache.put(make_entry("cc"))
    results.put((found is not None, asyncio.run(cache.aget("cc")) is not None))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_connections_of_its_own(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "answers")
    cache.put(make_entry("aa"))
    asyncio.run(cache.aput(make_entry("bb")))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_child, args=(cache, results)) for _ in range(3)]
    for child in children:
        child.start()
    assert [results.get(timeout=30) for _ in children] == [(True, True)] * 3
    for child in children:
        child.join(30)
    assert cache.get("cc") is not None
    cache.put(make_entry("dd"))
    assert cache.stats()["entries"] == 4
    cache.close()


def test_what_is_stored_is_not_what_is_secret(tmp_path: Path) -> None:
    """The value names neither the inputs nor the store's secret."""
    secret = b"s" * 32
    data = make_entry().to_bytes(secret)
    assert secret not in data
    assert secret.hex().encode() not in data


def test_a_closed_cache_starts_no_thread(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "store")
    cache.close()
    with pytest.raises(CacheError, match="closed"):
        asyncio.run(cache.aget("00ff"))
    assert cache._pool is None
