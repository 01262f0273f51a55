"""Validators, gates, observers and trackers: what they may do to an execution, and what not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import pytest

from hokusai_core import Component, Executor, Problem, SignatureValidator, hookimpl, process_trackers
from hokusai_core.errors import (
    ComponentNotFoundError,
    ConfigurationError,
    ExecutionError,
    InputError,
    OutputError,
    PluginError,
    PluginLoadError,
)
from hokusai_core.execution.observers import ObserverWarning
from hokusai_core.json_encoding import jsonable
from hokusai_core.plugin_api import MemoryCache
from hokusai_core.plugins import PluginWarning
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Checks:
    """A validator that returns given problems, and counts its calls."""

    def __init__(self, inputs: Any = (), outputs: Any = ()) -> None:
        self.said = {"inputs": inputs, "outputs": outputs}
        self.seen: list[Any] = []

    def validate_inputs(self, signature: Any, inputs: Mapping[str, Any]) -> Any:
        self.seen.append((signature.name, dict(inputs)))
        return self._say("inputs")

    def validate_outputs(self, signature: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        self.seen.append((signature.name, dict(inputs), dict(outputs)))
        return self._say("outputs")

    def _say(self, what: str) -> Any:
        said = self.said[what]
        if isinstance(said, BaseException):
            raise said
        return said


def validating(*validators: Any) -> object:
    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component(f"v{number}", lambda v=v: v) for number, v in enumerate(validators)]

    return Plugin()


def test_validators_see_what_will_be_used(make_executor: MakeExecutor) -> None:
    checks = Checks()
    make_executor(extra_plugins=[validating(checks)]).execute_signature("Answer", {"question": "?"})
    assert checks.seen == [("Answer", {"question": "?"}), ("Answer", {"question": "?"}, {"answer": "some answer"})]


def test_problems_of_all_validators_are_told_at_once_before_any_call(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    problems = [Problem("question", "rude", "is rude"), Problem("question", "long", "is too long")]
    executor = make_executor(lm=lm, extra_plugins=[validating(Checks(problems[:1]), Checks(problems[1:]))])
    with pytest.raises(InputError, match=r"is rude\n.*is too long") as caught:
        executor.execute_signature("Answer", {"question": "?"})
    assert list(caught.value.problems) == problems
    assert lm.engine.calls == 0
    validator = SignatureValidator(executor)
    assert not validator.validate_inputs("Answer", {"question": "?"})
    assert validator.get_errors() == problems


def test_an_answer_that_a_validator_refuses_may_be_tried_again(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm, extra_plugins=[validating(Checks(outputs=[Problem("answer", "rude", "is rude")]))])
    with pytest.raises(OutputError, match="local/Answer: answer: is rude") as caught:
        executor.execute_signature("Answer", {"question": "?"}, retry_on_failure=True, max_retries=1)
    assert (lm.engine.calls, len(caught.value.attempts)) == (2, 2)


@pytest.mark.parametrize("at", ["inputs", "outputs"])
def test_a_validator_that_raises_stops_the_execution(make_executor: MakeExecutor, at: str) -> None:
    executor = make_executor(extra_plugins=[validating(Checks(**{at: ZeroDivisionError("oh")}))])
    with pytest.raises(PluginError, match=r"v0' failed on Answer.*Error: oh.* HOKUSAI_DISABLE_PLUGINS=Plugin$"):
        executor.execute_signature("Answer", {"question": "?"}, retry_on_failure=True)
    with pytest.raises(PluginError):
        asyncio.run(executor.aexecute_signature("Answer", {"question": "?"}))
    assert executor.services.pipeline._shared_calls._calls == {}


@pytest.mark.parametrize("lie", [None, 5, "wrong", [1]])
@pytest.mark.parametrize("at", ["inputs", "outputs"])
def test_a_validator_that_lies_is_named(make_executor: MakeExecutor, at: str, lie: Any) -> None:
    executor = make_executor(extra_plugins=[validating(Checks(**{at: lie}))])
    with pytest.raises(PluginError, match=r"v0.*TypeError"):
        executor.execute_signature("Answer", {"question": "?"})


def test_a_validator_that_cannot_be_made_is_not_skipped(make_executor: MakeExecutor) -> None:
    class Plugin:
        @hookimpl
        def provide_validators(self) -> list[Component]:
            return [Component("gone", "hokusai_core.results:Nothing")]

    with pytest.raises(PluginLoadError, match="Nothing"):
        make_executor(extra_plugins=[Plugin()]).execute_signature("Answer", {"question": "?"})


def test_a_gate_refuses_with_its_own_error_also_what_is_stored(make_executor: MakeExecutor) -> None:
    class Gate:
        closed = False

        @hookimpl
        def check_execution(self, signature: Any, inputs: Mapping[str, Any]) -> None:
            if self.closed:
                raise PermissionError(f"not {inputs['question']}")

    lm, gate = null_lm(), Gate()
    executor = make_executor(lm=lm, extra_plugins=[gate])
    executor.execute_signature("Answer", {"question": "now"})
    gate.closed = True
    with pytest.raises(PermissionError, match="not now"):
        executor.execute_signature("Answer", {"question": "now"})
    executor.set_mode("testing")
    with pytest.raises(PermissionError):
        executor.execute_signature("Answer", {"question": "now"})
    assert lm.engine.calls == 1


class Listener:
    """Receives events of executions, as a plugin and as a tracker."""

    def __init__(self, failing: BaseException | None = None) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.failing = failing
        self.closed = 0

    def _hear(self, what: str, event: Any) -> None:
        self.heard.append((what, event))
        if self.failing is not None:
            raise self.failing

    @hookimpl
    def on_execution_started(self, event: Any) -> None:
        self._hear("started", event)

    @hookimpl
    def on_execution_finished(self, event: Any) -> None:
        self._hear("finished", event)

    @hookimpl
    def on_execution_failed(self, event: Any) -> None:
        self._hear("failed", event)

    def record(self, event: Any) -> None:
        self._hear("record", event)

    def flush(self, timeout: float | None = None) -> bool:
        if self.failing is not None:
            raise self.failing
        return True

    async def aflush(self, timeout: float | None = None) -> bool:
        return True

    def status(self) -> dict[str, Any]:
        if self.failing is not None:
            raise self.failing
        return {"accepted": len(self.heard)}

    def close(self) -> None:
        self.closed += 1
        if self.failing is not None:
            raise self.failing


def test_observers_hear_of_everything_in_order(make_executor: MakeExecutor) -> None:
    listener = Listener()
    executor = make_executor(extra_plugins=[listener], trackers={"t": listener}, lm=null_lm(fail_first=1))
    with pytest.raises(ExecutionError):
        executor.execute_signature("Answer", {"question": "?"}, tags={"team": "a"}, collect_feedback=True)
    result = executor.execute_signature("Answer", {"question": "?"})
    hit = executor.execute_signature("Answer", {"question": "?"})
    assert [what for what, _ in listener.heard] == [
        "started", "record", "failed", "started", "record", "finished", "record", "finished"
    ]  # fmt: skip
    started, failed = listener.heard[0][1], listener.heard[2][1]
    assert started.execution_id == failed.execution_id
    assert (failed.status, failed.error_type, failed.tags, failed.collect_feedback) == (
        "failed", "LanguageModelError", {"team": "a"}, True
    )  # fmt: skip
    assert [attempt.outcome for attempt in failed.attempts] == ["failed"]
    finished, from_cache = listener.heard[5][1], listener.heard[7][1]
    assert (finished.execution_id, finished.outputs, finished.inputs) == (
        result.execution_id, {"answer": "some answer"}, {"question": "?"}
    )  # fmt: skip
    assert (finished.model, finished.usage, finished.latency) == (result.model, result.usage, result.latency)
    assert [stage.name for stage in finished.stages] == [
        "bind", "validate_inputs", "language_model", "validate_outputs"
    ]  # fmt: skip
    assert (from_cache.execution_id, from_cache.cached, from_cache.cost) == (hit.execution_id, "memory", 0.0)
    for _, event in listener.heard:
        json.dumps(jsonable(event))


def test_observers_that_raise_break_nothing(make_executor: MakeExecutor) -> None:
    executor = make_executor(extra_plugins=[("deaf", Listener(ValueError("cannot hear"))), healthy := Listener()])
    with pytest.warns(PluginWarning, match="cannot hear"):
        assert executor.execute_signature("Answer", {"question": "?"})["answer"] == "some answer"
    assert [what for what, _ in healthy.heard] == ["started", "finished"]


def test_a_tracker_that_raises_breaks_nothing_and_is_counted(make_executor: MakeExecutor) -> None:
    broken, healthy = Listener(ValueError("disk full")), Listener()
    executor = Executor(plugins=[], lm=null_lm(), trackers={"broken": broken, "healthy": healthy})
    executor.register_signature("Answer", "question -> answer")
    with pytest.warns(ObserverWarning, match=r"tracker 'broken' failed .*disk full") as caught:  # noqa: PT031
        for _ in range(5):
            executor.execute_signature("Answer", {"question": "?"})
        assert executor.flush(1.0) is False
    assert len(caught) == 1
    stats = executor.stats()
    assert stats["tracker_failures"] == {"broken": 6}
    assert stats["trackers"] == {"broken": {"last_error": "ValueError: disk full"}, "healthy": {"accepted": 5}}
    with pytest.warns(ObserverWarning, match=r"tracker 'broken' failed to close .*disk full.* lost"):
        executor.close()
    assert (broken.closed, healthy.closed) == (1, 1)


@pytest.mark.parametrize("where", ["made", "entered", "left"])
def test_a_tracker_whose_anchor_raises_breaks_no_batch(where: str) -> None:
    class Anchorless(Listener):
        def anchor(self) -> Any:
            if where == "made":
                raise OSError("no anchor")
            return self._held()

        @contextlib.contextmanager
        def _held(self) -> Iterator[None]:
            if where == "left":
                yield
            raise OSError("no anchor")

    with Executor(plugins=[], lm=null_lm(), trackers={"t": (tracker := Anchorless())}) as executor:
        executor.register_signature("Answer", "question -> answer")
        with pytest.warns(ObserverWarning, match="no anchor"):
            assert len(executor.execute_batch("Answer", [{"question": "a"}, {"question": "b"}])) == 2
        assert executor.stats()["tracker_failures"] == {"t": 1}
    assert len(tracker.heard) == 3  # each row, and the batch


@pytest.mark.parametrize("tracker", [None, 5, "jsonl", object()])
def test_what_is_no_tracker_is_refused(tracker: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"trackers\['mine'\]"):
        Executor(plugins=[], trackers={"mine": tracker})


def test_a_failed_input_check_is_no_execution(make_executor: MakeExecutor) -> None:
    listener = Listener()
    executor = make_executor(extra_plugins=[listener], trackers={"t": listener})
    with pytest.raises(InputError):
        executor.execute_signature("Answer", {})
    assert listener.heard == []
    assert executor.stats()["executions"] == 0


def test_cancelled_executions_are_heard_of(make_executor: MakeExecutor) -> None:
    listener = Listener()
    lm = null_lm(delay=30)
    executor = make_executor(extra_plugins=[listener], lm=lm)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(executor.aexecute_signature("Answer", {"question": "?"}), 0.1)

    asyncio.run(main())
    what, event = listener.heard[-1]
    assert (what, event.error_type, event.attempts[0].outcome) == ("failed", "CancelledError", "cancelled")


def test_a_tracker_for_the_whole_process_comes_and_goes(make_executor: MakeExecutor) -> None:
    early = make_executor()
    made: list[Listener] = []

    def factory() -> Any:
        made.append(Listener())
        return made[-1]

    process_trackers.add("everything", factory)
    try:
        late = make_executor()
        for executor in (early, late):
            executor.execute_signature("Answer", {"question": "?"})
        own = [tracker for tracker in made if tracker.heard]  # executors of other tests may still be there
        assert [len(tracker.heard) for tracker in own] == [1, 1]
    finally:
        assert process_trackers.remove("everything")
    early.execute_signature("Answer", {"question": "again"})
    assert [len(tracker.heard) for tracker in own] == [1, 1]
    assert {tracker.closed for tracker in made} == {1}


def test_a_tracker_for_the_whole_process_stands_in_for_one_that_was_made_by_name(make_executor: MakeExecutor) -> None:
    by_name, chosen = Listener(), Listener()
    made: list[Listener] = []

    def factory() -> Any:
        made.append(Listener())
        return made[-1]

    class Offer:
        @staticmethod
        @hookimpl
        def provide_trackers() -> list[Component]:
            return [Component("everything", lambda: by_name)]

    named = make_executor(extra_plugins=[Offer], trackers=["everything"])
    handed = make_executor(trackers={"everything": chosen})
    process_trackers.add("everything", factory, replace=True)
    try:
        for executor in (named, handed):
            executor.execute_signature("Answer", {"question": "?"})
        (stand_in,) = [tracker for tracker in made if tracker.heard]  # executors of other tests may still be there
        assert [len(tracker.heard) for tracker in (by_name, chosen, stand_in)] == [0, 1, 1]
        assert not by_name.closed
    finally:
        process_trackers.remove("everything")
    named.execute_signature("Answer", {"question": "again"})
    assert (len(by_name.heard), stand_in.closed) == (1, 1)


class Spans:
    """A tracker whose spans are parents of what happens inside a call."""

    def __init__(self) -> None:
        self.current: ContextVar[str] = ContextVar("span", default="")
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def anchor(self) -> Iterator[None]:
        token = self.current.set("operation")
        try:
            yield
        finally:
            self.current.reset(token)

    def begin_execution(self, execution_id: str, signature: str) -> None:
        self.begun.append((execution_id, signature))
        self.current.set(f"{self.current.get()}>{execution_id}")

    def record(self, event: Any) -> None:
        self.ended.append((getattr(event, "execution_id", ""), self.current.get()))

    def flush(self, timeout: float | None = None) -> bool:
        return True

    async def aflush(self, timeout: float | None = None) -> bool:
        return True

    def status(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None: ...


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("way", ["call", "async", "batch", "async batch", "stream"])
def test_a_span_of_a_tracker_is_the_parent_of_what_happens_inside(way: str, timeout: float | None) -> None:
    spans = Spans()
    seen: list[str] = []

    def answer(*_: Any) -> str:
        seen.append(spans.current.get())  # as an instrumented HTTP client asks for the span that its own is a child of
        return "yes"

    rows = [{"question": str(number)} for number in range(3 if "batch" in way else 1)]
    lm = null_lm(answers={"answer": answer})
    with Executor(plugins=[], lm=lm, trackers={"spans": spans}, timeout=timeout) as executor:
        executor.register_signature("Answer", "question -> answer")

        async def alone() -> None:
            if way == "stream":
                assert [event async for event in executor.astream_signature("Answer", rows[0])]
            elif way == "async":
                await executor.aexecute_signature("Answer", rows[0])
            else:
                await executor.aexecute_batch("Answer", rows)

        if way == "call":
            executor.execute_signature("Answer", rows[0])
        elif way == "batch":
            executor.execute_batch("Answer", rows)
        else:
            asyncio.run(alone())
        executor.execute_signature("Answer", rows[0])  # the memory cache answers, and nothing begins
    above = "operation>" if "batch" in way else ">"
    ids = {execution_id for execution_id, _ in spans.begun}
    assert len(ids) == len(rows)
    assert {signature for _, signature in spans.begun} == {"local/Answer"}
    assert sorted(seen) == sorted(f"{above}{execution_id}" for execution_id in ids)
    ended = dict(spans.ended)
    assert {ended[execution_id] for execution_id in ids} == {f"{above}{execution_id}" for execution_id in ids}
    assert spans.current.get() == ""
    assert ended.keys() - ids - {""}  # the cache hit has an event without a beginning


def test_a_tracker_that_cannot_begin_breaks_no_execution() -> None:
    class Broken(Spans):
        def begin_execution(self, execution_id: str, signature: str) -> None:
            raise OSError("no span")

    with Executor(plugins=[], lm=null_lm(), trackers={"t": (tracker := Broken())}) as executor:
        executor.register_signature("Answer", "question -> answer")
        with pytest.warns(ObserverWarning, match="no span"):
            assert executor.execute_signature("Answer", {"question": "?"})
    assert len(tracker.ended) == 1


def test_validators_of_the_host_are_asked_beside_those_of_plugins() -> None:
    plugins, own = Checks(), Checks(inputs=[Problem("question", "rude", "is rude")])
    options: dict[str, Any] = {"plugins": [], "extra_plugins": [validating(plugins)], "lm": null_lm()}
    with Executor(validators=[own], **options) as executor:
        executor.register_signature("Answer", "question -> answer")
        with pytest.raises(InputError, match="is rude"):
            executor.execute_signature("Answer", {"question": "?"})
        assert plugins.seen
        own.said["inputs"] = ()
        assert executor.execute_signature("Answer", {"question": "?"})
        own.said["outputs"] = ValueError("broken")
        with pytest.raises(PluginError, match=r"'validators\[0\] Checks' failed .* leave it out of validators="):
            executor.execute_signature("Answer", {"question": "!"})


@pytest.mark.parametrize("given", ["no-secrets", {"a": Checks()}, [object()], [Checks], 5])
def test_what_is_not_a_list_of_validators_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="validators"):
        Executor(plugins=[], validators=given)


class Shelf(MemoryCache):
    """A cache with an option."""

    tier = "shelf"

    def __init__(self, label: str = "none", size: int = 10) -> None:
        super().__init__(size, 10**6)
        self.label = label


class Labelled(Listener):
    """A tracker with an option."""

    def __init__(self, label: str = "none") -> None:
        super().__init__()
        self.label = label


class WithOptions:
    @hookimpl
    def provide_caches(self) -> list[Component]:
        return [Component("shelf", Shelf)]

    @hookimpl
    def provide_trackers(self) -> list[Component]:
        return [Component("labelled", Labelled)]


def test_components_take_options_beside_their_names() -> None:
    trackers = {"labelled": {"label": "one"}, "other": {"name": "labelled", "label": "hunter2"}, "mine": Listener()}
    cache = {"name": "shelf", "label": "hunter2", "size": 3}
    options: dict[str, Any] = {"plugins": [], "extra_plugins": [WithOptions()], "lm": null_lm()}
    with Executor(cache=cache, trackers=trackers, **options) as executor:
        executor.register_signature("Answer", "question -> answer")
        executor.execute_signature("Answer", {"question": "?"})
        made: Any = executor.stats()["trackers"]
        assert set(made) == {"labelled", "other", "mine"}
        assert all(figures == {"accepted": 1} for figures in made.values())
        assert executor.stats()["cache"]["persistent"]["tier"] == "shelf"
        assert "hunter2" not in str(executor.config)
        assert str(executor.config["cache"].value) == "'shelf' with label, size"
    for wrong in ({"label": "a"}, {"name": "shelf", "lable": "a"}, {"name": "shelves"}):
        with pytest.raises((ConfigurationError, ComponentNotFoundError), match=r"'name'|lable|shelves"):
            Executor(cache=wrong, **options)
    with pytest.raises(ConfigurationError, match="lable"):
        Executor(trackers={"labelled": {"lable": "a"}}, **options)
