"""The host's contexts reach every worker: DSPy's settings, context variables, OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from opentelemetry import baggage, context

from hokusai_core import ConditionalPipeline, Executor, ParallelExecutor, SignatureChain

MakeExecutor = Callable[..., Executor]
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="no tenant")
ROWS = [{"question": f"q{n}"} for n in range(12)]


def chain() -> SignatureChain:
    steps = SignatureChain()
    for name in "abc":
        steps.add("Ask", {"question": "text"}, name=name)
    return steps.add("Ask", {"question": "a.answer"}, name="d")


def pipeline() -> ConditionalPipeline:
    return ConditionalPipeline().otherwise().execute("Ask", {"question": "text"})


WAYS: dict[str, Callable[[Executor], Any]] = {
    "threads": lambda executor: executor.execute_batch("Ask", ROWS, max_workers=4),
    "threads, one of them stuck": lambda executor: executor.execute_batch(
        "Ask", [{"question": "hang=30"}, *ROWS], max_workers=1, timeout=0.2
    ),
    "event loop": lambda executor: executor.execute_batch("Ask", ROWS, max_workers=70),
    "event loop, any source": lambda executor: executor.execute_batch("Ask", iter(ROWS), max_workers=70),
    "iterator": lambda executor: list(executor.iter_batch("Ask", iter(ROWS), max_workers=4)),
    "iterator, event loop": lambda executor: list(executor.iter_batch("Ask", ROWS, max_workers=70)),
    "awaited": lambda executor: asyncio.run(executor.aexecute_batch("Ask", ROWS)),
    "futures": lambda executor: [f.result(10) for f in [executor.execute_async("Ask", row) for row in ROWS]],
    "chain": lambda executor: executor.execute_chain(chain(), {"text": "t"}),
    "awaited chain": lambda executor: asyncio.run(executor.aexecute_chain(chain(), {"text": "t"})),
    "pipeline": lambda executor: executor.execute_conditional(pipeline(), {"text": "t"}),
    "tasks": lambda executor: ParallelExecutor(executor).execute_all([("Ask", row) for row in ROWS]),
    "awaited tasks": lambda executor: asyncio.run(ParallelExecutor(executor).aexecute_all([("Ask", r) for r in ROWS])),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])
def test_every_worker_sees_the_callers_contexts(
    make_executor: MakeExecutor, make_lm: Any, way: str, asynchronous: bool
) -> None:
    lm = make_lm(asynchronous=asynchronous)
    seen: list[tuple[Any, ...]] = []
    begin = lm.engine.begin

    def noting(request: Any) -> Any:
        seen.append((tenant.get(), dspy.settings.get("host_key"), baggage.get_baggage("trace")))
        return begin(request)

    lm.engine.begin = noting
    executor = make_executor(lm=lm, cache_enabled=False)
    reset = tenant.set("Ada")
    token = context.attach(baggage.set_baggage("trace", "t1"))
    try:
        with dspy.context(host_key="of the host"):
            WAYS[way](executor)
    finally:
        tenant.reset(reset)
        context.detach(token)
    assert set(seen) == {("Ada", "of the host", "t1")}


@pytest.mark.parametrize("way", WAYS)
def test_the_language_model_of_the_hosts_context_is_used(make_lm: Any, way: str) -> None:
    lm = make_lm()
    with Executor(plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        with dspy.context(lm=lm):
            WAYS[way](executor)
    assert lm.engine.calls > 0


def test_what_a_row_sets_stays_with_that_row(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm()
    before: list[str] = []
    begin = lm.engine.begin

    def setting(request: Any) -> Any:
        before.append(tenant.get())
        tenant.set("another tenant")
        return begin(request)

    lm.engine.begin = setting
    executor = make_executor(lm=lm, cache_enabled=False)
    for way in ("threads", "event loop", "awaited", "futures"):
        WAYS[way](executor)
    assert set(before) == {"no tenant"}
    assert tenant.get() == "no tenant"
