"""Every public module of DSPy runs as a program as it does in plain DSPy, or is refused with the reason.

``CHECKS`` is the table of checks that every such program and every strategy passes. A new way to run a signature adds a
function to it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dspy
import pytest
from attrs import frozen

from hokusai_core import Budget, Executor, ModelPolicy, SignatureChain
from hokusai_core.dspy_bridge.program_spec import MODULES, is_program, spec_of_program
from hokusai_core.errors import BudgetExceeded, LanguageModelError, SignatureDefinitionError
from hokusai_core.plugin_api import FunctionTool
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import NullEngine, null_lm


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Interpreter:
    """Runs nothing: it says what a program that prints 42 would give."""

    tools: dict[str, Any]

    def __init__(self) -> None:
        self.tools = {}

    def start(self) -> None: ...

    def shutdown(self) -> None: ...

    def __call__(self, code: str, variables: Any = None) -> Any:
        return self.execute(code, variables)

    def execute(self, code: str, variables: Any = None) -> Any:
        if "SUBMIT" in code:
            return dspy.primitives.code_interpreter.FinalOutput({"answer": "42"})
        return "42"


class Scripted(NullEngine):
    """Answers each step of an agent as that step asks."""

    def _compose(self, system: str, user: str, as_json: bool) -> str:
        self.answers = {
            "reasoning": "because",
            "rationale": "because",
            "answer": "42",
            "next_thought": "done",
            "next_tool_name": "finish",
            "next_tool_args": {},
            "generated_code": "print(42)",
            "code": "SUBMIT(answer='42')",
            "finished": True,
            "code_output": "42",
            "tool_calls": {"tool_calls": [{"name": "submit", "args": {"answer": "42"}}]},
        }
        return super()._compose(system, user, as_json)


def model() -> Any:
    """Return a scripted language model."""
    lm = null_lm()
    engine = Scripted()
    return dspy.LM(
        "null/scripted", engine=engine, async_engine=type(lm._async_engine_spec)(engine), cache=False, num_retries=0
    )


QA = "question -> answer"
INPUTS: dict[str, Any] = {"question": "6 * 7?"}
MAKE: dict[str, Callable[[], Any]] = {
    "Predict": lambda: dspy.Predict(QA),
    "ChainOfThought": lambda: dspy.ChainOfThought(QA),
    "ReAct": lambda: dspy.ReAct(QA, tools=[add]),
    "ReActV2": lambda: dspy.ReActV2(QA, tools=[add]),
    "BestOfN": lambda: dspy.BestOfN(dspy.ChainOfThought(QA), N=2, reward_fn=lambda args, pred: 0.0, threshold=1.0),
    "Refine": lambda: dspy.Refine(dspy.ChainOfThought(QA), N=1, reward_fn=lambda args, pred: 0.0, threshold=1.0),
    "MultiChainComparison": lambda: dspy.MultiChainComparison(QA, M=2),
    "ProgramOfThought": lambda: dspy.ProgramOfThought(QA, interpreter_factory=Interpreter),
    "CodeAct": lambda: dspy.CodeAct(QA, tools=[add], interpreter_factory=Interpreter),
    "RLM": lambda: dspy.RLM(QA, interpreter_factory=Interpreter),
    "Parallel": dspy.Parallel,
    "KNN": lambda: object.__new__(dspy.KNN),
    "Tool": lambda: dspy.Tool(add),
    "Retrieve": lambda: dspy.Retrieve(k=1),
    "Embeddings": lambda: object.__new__(dspy.retrievers.Embeddings),
}
RUNS = [name for name, module in MODULES.items() if not module.refused]
REFUSED = [name for name, module in MODULES.items() if module.refused]


def inputs_of(name: str) -> dict[str, Any]:
    """Return the inputs that a module takes here."""
    if name == "MultiChainComparison":
        return {**INPUTS, "completions": [{"reasoning": "a", "answer": "41"}, {"reasoning": "b", "answer": "42"}]}
    return dict(INPUTS)


def test_the_table_has_every_public_class_of_dspy_predict() -> None:
    public = {name for name in dspy.predict.__all__ if inspect.isclass(getattr(dspy.predict, name))}
    assert public <= MODULES.keys()
    assert MODULES.keys() == MAKE.keys()


@pytest.mark.parametrize("name", RUNS)
def test_a_module_gives_what_it_gives_in_plain_dspy(name: str) -> None:
    inputs = inputs_of(name)
    with dspy.context(lm=model(), adapter=dspy.ChatAdapter()):
        plain = dict(MAKE[name]()(**inputs).items())
    with Executor(lm=model(), plugins=[]) as executor:
        executor.register_signature("Program", MAKE[name]())
        called = executor.execute_signature("Program", inputs, cache="off")
        awaited = asyncio.run(executor.aexecute_signature("Program", inputs, cache="off"))
        (row,) = executor.execute_batch("Program", [inputs], cache="off").succeeded
        chain = SignatureChain().add("Program", {name: name for name in inputs})
        chained = executor.execute_chain(chain, inputs)
    for result in (called, awaited, row, chained):
        assert result["answer"] == plain["answer"]
        texts = {key: value for key, value in plain.items() if isinstance(value, str)}
        assert {key: result[key] for key in texts} == texts


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_that_cannot_be_a_program_is_refused_with_the_reason(name: str) -> None:
    with Executor(lm=model(), plugins=[]) as executor:
        with pytest.raises(SignatureDefinitionError, match=f"{name} cannot be a program, because"):
            executor.register_signature("Program", MAKE[name]())
        with pytest.raises(SignatureDefinitionError, match="cannot be a program"):
            executor.register_signature("Program", MAKE[name](), signature=QA)


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module.runs_code])
def test_a_module_that_runs_code_needs_deno(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = MODULES[name].kind
    module = kind(QA, tools=[add]) if name == "CodeAct" else kind(QA)
    monkeypatch.setattr(shutil, "which", lambda command: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda module_name: None)
    with Executor(lm=model(), plugins=[]) as executor:
        with pytest.raises(SignatureDefinitionError, match="Deno"):
            executor.register_signature("Program", module)
        monkeypatch.setattr(shutil, "which", lambda command: "/usr/bin/deno")
        executor.register_signature("Program", module)


class Awaited(dspy.Module):
    """Can only be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict(QA)

    async def aforward(self, question: str) -> Any:
        return await self.answer.acall(question=question)


def test_an_async_forward_is_refused() -> None:
    class Misnamed(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict("question -> answer")

        async def forward(self, question: str) -> Any:
            return await self.predict.acall(question=question)

    with pytest.raises(SignatureDefinitionError, match="of Misnamed is async; name it aforward"):
        spec_of_program(Misnamed(), "P")


def test_a_module_with_aforward_alone_runs_wherever_it_is_called() -> None:
    with Executor(lm=model(), plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Awaited", Awaited())
        assert executor.execute_signature("Awaited", INPUTS)["answer"] == "42"
        assert executor.execute_signature("Awaited", INPUTS, timeout=None)["answer"] == "42"
        assert executor.execute_batch("Awaited", [INPUTS] * 3).failed == []

        async def both() -> tuple[Any, Any]:
            return executor.execute_signature("Awaited", INPUTS), await executor.aexecute_signature("Awaited", INPUTS)

        for result in asyncio.run(both()):
            assert result["answer"] == "42"


class Blocking(Awaited):
    """Changes what a call does, and not what awaiting does."""

    def forward(self, question: str) -> Any:
        return dspy.Prediction(answer="blocking")


def test_a_subclass_that_overrides_forward_is_not_passed_by() -> None:
    with Executor(lm=model(), plugins=[]) as executor:
        executor.register_signature("Blocking", Blocking())
        assert asyncio.run(executor.aexecute_signature("Blocking", INPUTS))["answer"] == "blocking"


class Neither(dspy.Module):
    """Cannot run."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict(QA)


def test_a_module_that_cannot_run_is_refused() -> None:
    with Executor(plugins=[]) as executor, pytest.raises(SignatureDefinitionError, match=r"forward\(\)"):
        executor.register_signature("Neither", Neither())


class Holder(dspy.Module):
    """Holds a module that runs code."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = dspy.ProgramOfThought(QA)

    def forward(self, question: str) -> Any:
        return self.inner(question=question)


def test_a_module_that_runs_code_is_found_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda module_name: None)
    with Executor(plugins=[]) as executor, pytest.raises(SignatureDefinitionError, match="Deno"):
        executor.register_signature("Holder", Holder())


@pytest.mark.parametrize("name", ["BestOfN", "Refine"])
def test_the_cause_is_told_if_every_try_of_a_module_fails(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Executor(lm=null_lm(fail_first=9), plugins=[]) as executor:
        executor.register_signature("Program", MAKE[name]())
        with pytest.raises(LanguageModelError, match="null language model was asked to fail"):
            executor.execute_signature("Program", INPUTS)


@pytest.mark.parametrize("name", RUNS)
def test_each_call_of_a_module_is_counted(name: str) -> None:
    lm = model()
    with Executor(lm=lm, plugins=[]) as executor:
        executor.register_signature("Program", MAKE[name]())
        result = executor.execute_signature("Program", inputs_of(name))
    assert result.usage.calls == lm.engine.calls > 0
    assert is_program(MAKE[name]())


def test_the_page_lists_every_module() -> None:
    page = (Path(__file__).parents[2] / "docs" / "signatures.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `dspy\.(?:retrievers\.)?(\w+)` \| ([^|]+?) \|$", page, re.MULTILINE))
    assert listed.keys() == MODULES.keys()
    for name, module in MODULES.items():
        if module.refused:
            assert listed[name] == f"no: {module.refused}".replace("...", "..."), name
        else:
            code = "; needs Deno or an `interpreter_factory`" if module.runs_code else ""
            assert listed[name] == f"yes; takes the inputs of {module.inputs}{code}", name


# -- the table of checks -----------------------------------------------------------------------------------------------

ROWS = 6


class NotEmpty:
    """A reward with a name and a version, which no answer satisfies fully."""

    name, version = "not_empty", "1"

    def __call__(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        return 0.5 if outputs["answer"] else 0.0


@frozen
class Entry:
    """A way to answer ``question -> answer``.

    Args:
        register: registers it with an executor as ``Subject``.
        inputs: inputs that it takes.
        strategy: name of its strategy.
    """

    register: Callable[[Executor], None]
    inputs: Mapping[str, Any]
    strategy: str = ""


def program(name: str) -> Entry:
    return Entry(
        lambda executor: executor.register_signature("Subject", MAKE[name]()),
        inputs_of(name),
    )


def strategy(name: str, **options: Any) -> Entry:
    def register(executor: Executor) -> None:
        executor.register_signature("Subject", "question -> answer", strategy={"name": name, **options})

    return Entry(register, inputs_of("Predict"), name)


def register_chain(executor: Executor) -> None:
    executor.register_signature("Shorten", "question -> topic")
    executor.register_signature("Ask", "topic -> answer")
    chain = SignatureChain(inputs=["question"]).add("Shorten").add("Ask", {"topic": "Shorten.topic"})
    executor.register_signature("Subject", chain.to_signature(executor))


ENTRIES: dict[str, Entry] = {
    **{f"dspy.{name}": program(name) for name in RUNS},
    "predict": strategy("predict"),
    "chain_of_thought": strategy("chain_of_thought"),
    "chain": Entry(register_chain, inputs_of("Predict"), "chain"),
    "react": strategy("react", tools=[FunctionTool(add, version="1")], max_iters=3),
    "best_of_n": strategy("best_of_n", reward=NotEmpty(), n=2, threshold=1.0),
    "refine": strategy("refine", reward=NotEmpty(), n=2, threshold=1.0, strategy="chain_of_thought"),
    "majority": strategy("majority", n=3, strategy="chain_of_thought"),
}


def executor_for(entry: Entry, lm: Any, **options: Any) -> Executor:
    executor = Executor(lm=lm, **{"plugins": ["strategies"], **options})
    entry.register(executor)
    return executor


def scripted_engine(lm: Any) -> Scripted:
    engine = lm._engine_spec
    assert isinstance(engine, Scripted)
    return engine


def table_rows(entry: Entry) -> list[dict[str, Any]]:
    return [{**entry.inputs, "question": f"6 * {number}?"} for number in range(ROWS)]


def check_run(entry: Entry, _folder: Path) -> None:
    lm = model()
    with executor_for(entry, lm) as executor:
        result = executor.execute_signature("Subject", entry.inputs)
        assert result["answer"] == "42"
        assert result.strategy == entry.strategy
        assert result.usage.calls == scripted_engine(lm).calls
        assert not set(result.extras) & set(result)


def check_batch_with_journal_and_kill(entry: Entry, folder: Path) -> None:
    journal, lm = folder / "rows.journal", model()
    with executor_for(entry, lm) as executor:
        per_row = executor.execute_signature("Subject", entry.inputs, cache="off").usage.calls
    child = os.fork()
    if not child:
        try:
            with executor_for(entry, model()) as executor:
                rows = executor.iter_batch("Subject", table_rows(entry), journal=journal, max_workers=1, cache="off")
                for number, _ in enumerate(rows, 1):
                    if number == ROWS // 2:
                        os._exit(9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    finished = len([line for line in journal.read_bytes().splitlines() if b'"ok":true' in line])
    assert finished >= ROWS // 2
    lm = model()
    with executor_for(entry, lm) as executor:
        result = executor.execute_batch("Subject", table_rows(entry), journal=journal, cache="off")
        assert [row["answer"] for row in result.succeeded] == ["42"] * ROWS
        assert [row.cached for row in result.succeeded].count("journal") == finished
        assert scripted_engine(lm).calls == per_row * (ROWS - finished)


def check_budget(entry: Entry, _folder: Path) -> None:
    lm = model()
    with executor_for(entry, lm) as executor:
        calls = executor.execute_signature("Subject", entry.inputs, cache="off").usage.calls
        scripted_engine(lm).calls = 0
        executor.execute_signature("Subject", entry.inputs, cache="off", budget=Budget(calls=calls))
        assert scripted_engine(lm).calls == calls
        if calls == 1:
            return
        scripted_engine(lm).calls = 0
        with pytest.raises(BudgetExceeded):
            executor.execute_signature("Subject", entry.inputs, cache="off", budget=Budget(calls=1))
        assert scripted_engine(lm).calls == 1


def check_cache(entry: Entry, _folder: Path) -> None:
    lm = model()
    with executor_for(entry, lm) as executor:
        first = executor.execute_signature("Subject", entry.inputs)
        calls = scripted_engine(lm).calls
        again = executor.execute_signature("Subject", entry.inputs)
        assert again.cached == "memory"
        assert scripted_engine(lm).calls == calls
        assert (again["answer"], dict(again.extras)) == (first["answer"], dict(first.extras))


def check_tracking(entry: Entry, _folder: Path) -> None:
    tracker, lm = ListeningTracker(wants_exchanges=True), model()
    with executor_for(entry, lm, trackers={"ear": tracker}) as executor:
        result = executor.execute_signature("Subject", entry.inputs)
        (event,) = tracker.executions
        assert event.usage == result.usage
        assert len(event.exchanges) == scripted_engine(lm).calls  # each becomes a span of its own
        assert (event.strategy or {}).get("name", "") == entry.strategy
        assert event.extras == result.extras


def check_stream(entry: Entry, _folder: Path) -> None:
    with executor_for(entry, model()) as executor:
        plain = executor.execute_signature("Subject", entry.inputs, cache="off")
        for cache in ("refresh", "use"):
            with executor.stream_signature("Subject", entry.inputs, cache=cache) as events:
                seen = list(events)
            last = seen[-1]
            assert seen[0].kind == "started"
            assert last.kind == "finished"
            result = last.result
            assert (result["answer"], dict(result.extras)) == (plain["answer"], dict(plain.extras))
            thoughts = [event for event in seen if event.kind == "thought"]
            texts = {name: value for name, value in result.extras.items() if isinstance(value, str)}
            assert {name: "".join(one.text for one in thoughts if one.name == name) for name in texts} == texts
            pieces = [event.text for event in seen if event.kind == "delta" and event.field == "answer"]
            assert not pieces or "".join(pieces) == plain["answer"]


def check_fallback(entry: Entry, _folder: Path) -> None:
    dead, good = null_lm(fail_first=10**6, model="null/dead"), model()
    with executor_for(entry, ModelPolicy([dead, good])) as executor:
        result = executor.execute_signature("Subject", entry.inputs)
        assert (result["answer"], result.model, result.strategy) == ("42", "null/scripted", entry.strategy)
        assert scripted_engine(good).calls >= 1
        assert dead.engine.calls >= 1


CHECKS: dict[str, Callable[[Entry, Path], None]] = {
    "run": check_run,
    "batch with journal and kill": check_batch_with_journal_and_kill,
    "budget": check_budget,
    "cache": check_cache,
    "tracking": check_tracking,
    "stream": check_stream,
    "fallback to another model": check_fallback,
}


def test_the_table_has_every_strategy_and_every_program() -> None:
    with Executor(lm=model(), plugins=["strategies"]) as executor:
        offered = {component.name for component in executor.plugins.components("strategy")}
    assert offered | {f"dspy.{name}" for name in RUNS} == ENTRIES.keys()
    assert all(isinstance(MAKE[name](), dspy.Module) for name in RUNS)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_way_to_answer_passes_a_check(entry: str, check: str, tmp_path: Path) -> None:
    CHECKS[check](ENTRIES[entry], tmp_path)
