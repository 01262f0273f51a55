"""Chains: what a mapping means, what is checked before any call, what comes back."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
from dspy.lm15 import ServerError

from hokusai_core import Budget, ChainResult, ConditionalPipeline, Executor, SignatureChain, Usage, literal, ref
from hokusai_core.errors import (
    BudgetExceeded,
    ClosedError,
    CompositionError,
    DeadlineExceeded,
    LanguageModelError,
)

MakeExecutor = Callable[..., Executor]


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what runs a chain, blocking and awaited."""
    if request.param == "sync":
        return lambda executor, chain, *given, **options: executor.execute_chain(chain, *given, **options)
    return lambda executor, chain, *given, **options: asyncio.run(executor.aexecute_chain(chain, *given, **options))


def test_values_are_handed_on_and_literals_are_kept(executor: Executor, lm: Any, run: Any) -> None:
    chain = SignatureChain()
    chain.add("Extract", {"document": "input_document", "info_types": "Key facts and figures"})
    chain.add("Summarize", {"document": "Extract.facts", "max_length": "100 words"})
    chain.add("Mail", {"recipient": "stakeholders", "key_points": "Summarize.summary"})
    result = run(executor, chain, {"input_document": "The report."})
    assert isinstance(result, ChainResult)
    assert list(result) == ["body"]
    assert list(result.steps) == ["Extract", "Summarize", "Mail"]
    facts = 'facts of <[[ ## document ## ]] The report. [[ ## info_types ## ]] ["Key facts and figures"]>'
    assert result.steps["Extract"]["facts"] == facts
    assert (
        result.steps["Summarize"]["summary"]
        == f"summary of <[[ ## document ## ]] {facts} [[ ## max_length ## ]] 100 words>"
    )
    assert "[[ ## recipient ## ]] stakeholders" in result["body"]
    assert "100 words" in result["body"]
    assert lm.engine.calls == 3
    assert result.usage == Usage(30, 15, 3)
    assert result["execution_id"] == result.steps["Mail"].execution_id == result.execution_id


class TestReferences:
    def given(self, executor: Executor, mapping: dict[str, Any], initial: dict[str, Any]) -> str:
        chain = SignatureChain().add("Extract", {"document": "doc", "info_types": "x"}).add("Summarize", mapping)
        prompt: str = executor.execute_chain(chain, {"doc": "THE DOC", **initial})["summary"]
        return prompt.partition("[[ ## document ## ]] ")[2].partition(" [[ ## max_length")[0]

    @pytest.mark.parametrize(
        ("value", "means"),
        [
            ("doc", "THE DOC"),
            ("doc.", "doc."),
            ("Doc", "Doc"),
            ("Extract", "Extract"),
            ("Extract.", "Extract."),
            ("Extract.facts and more", "Extract.facts and more"),
            ("See Extract.facts", "See Extract.facts"),
            ("Missing.facts", "Missing.facts"),
            ("Extrakt.pdf", "Extrakt.pdf"),
            (literal("Extrakt.facts"), "Extrakt.facts"),
            (literal("doc"), "doc"),
            (literal("Extract.facts"), "Extract.facts"),
            (literal("Extract.nothing"), "Extract.nothing"),
            (ref("doc"), "THE DOC"),
        ],
        ids=str,
    )
    def test_a_string(self, executor: Executor, value: Any, means: str) -> None:
        assert self.given(executor, {"document": value}, {}) == means

    @pytest.mark.parametrize("value", ["Extract.facts", ref("Extract.facts")])
    def test_an_output(self, executor: Executor, value: Any) -> None:
        assert self.given(executor, {"text": value}, {}).startswith("facts of <[[ ## document ## ]] THE DOC")

    def test_an_initial_input_goes_before_a_step(self, executor: Executor) -> None:
        assert self.given(executor, {"document": "Extract.facts"}, {"Extract.facts": "the input"}) == "the input"

    def test_references_inside_lists(self, executor: Executor) -> None:
        chain = SignatureChain().add("Summarize", {"document": "doc"})
        chain.add("Mail", {"recipient": "doc", "key_points": ["doc", ref("doc"), ref("Summarize.summary")]})
        body = executor.execute_chain(chain, {"doc": "THE DOC"})["body"]
        assert '["doc", "THE DOC", "summary of' in body

    def test_values_that_are_no_strings(self, executor: Executor) -> None:
        chain = SignatureChain().add("Mail", {"recipient": "doc", "key_points": ["a", "doc"]})
        assert '["a", "doc"]' in executor.execute_chain(chain, {"doc": "Ada"})["body"]

    def test_without_a_mapping_the_initial_inputs_of_the_same_name_are_passed(self, executor: Executor) -> None:
        chain = SignatureChain().add("Summarize").add("Rate", {"text": "Summarize.summary"})
        result = executor.execute_chain(chain, {"text": "T", "document": "D", "irrelevant": 1})
        assert "[[ ## document ## ]] D" in result.steps["Summarize"]["summary"]


class TestChecks:
    """Whatever is wrong is said at once, and nothing is called."""

    CASES: dict[str, tuple[Callable[[], SignatureChain], list[str]]] = {  # noqa: RUF012  # read only
        "a step's name with a slip": (
            lambda: SignatureChain().add("Summarize", {"document": "doc"}).add("Rate", {"text": "Sumarize.summary"}),
            ["step 'Rate': text: there is no step 'Sumarize'; did you mean 'Summarize.summary'?"],
        ),
        "an initial input's name with a slip": (
            lambda: SignatureChain().add("Summarize", {"document": "docs"}),
            ["initial input 'doc' is used by no step; did you mean 'docs', of step 'Summarize': document?"],
        ),
        "wrong field": (
            lambda: SignatureChain().add("Summarize", {"document": "doc"}).add("Rate", {"text": "Summarize.sumary"}),
            ["step 'Rate': text: step 'Summarize' has no output 'sumary'; did you mean 'summary'?"],
        ),
        "an input taken for an output": (
            lambda: SignatureChain().add("Summarize", {"document": "doc"}).add("Rate", {"text": "Summarize.document"}),
            ["has no output 'document'", "it has 'summary'"],
        ),
        "unknown signature": (lambda: SignatureChain().add("Sumarize", {"text": "doc"}), ["did you mean 'Summarize'"]),
        "unknown input": (
            lambda: SignatureChain().add("Summarize", {"document": "doc", "max_lenght": "5"}),
            ["step 'Summarize': max_lenght: is no input of Summarize; did you mean 'max_length'?"],
        ),
        "missing input": (lambda: SignatureChain().add("Extract", {"document": "doc"}), ["info_types: is required"]),
        "an input twice": (
            lambda: SignatureChain().add("Summarize", {"document": "doc", "text": "doc"}), ["2 times"],
        ),
        "an input twice, fed by steps": (
            lambda: SignatureChain()
            .add("Summarize", {"text": "doc"})
            .add("Summarize", {"document": "Summarize.summary", "text": "Summarize.summary"}, name="b"),
            ["step 'b'", "document: is given twice"],
        ),
        "a later step": (
            lambda: SignatureChain().add("Rate", {"text": "Summarize.summary"}).add("Summarize", {"text": "doc"}),
            ["a step that comes later"],
        ),
        "the step itself": (lambda: SignatureChain().add("Rate", {"text": "Rate.reasons"}), ["the step itself"]),
        "no such input": (
            lambda: SignatureChain().add("Rate", {"text": ref("dok")}), ["ref('dok')", "did you mean 'doc'"],
        ),
        "no such step": (
            lambda: SignatureChain().add("Rate", {"text": ref("Missing.x")}), ["neither an initial input nor"],
        ),
        "a wrong reference inside a list": (
            lambda: SignatureChain().add("Mail", {"recipient": "doc", "key_points": [ref("No.x")]}), ["ref('No.x')"],
        ),
        "a list for a text": (
            lambda: SignatureChain().add("Rate", {"text": "doc"}).add("Summarize", {"text": "Rate.reasons"}),
            ["text: Rate.reasons never fits; it is a list, each item text, and text takes text"],
        ),
        "a number for a text": (
            lambda: SignatureChain().add("Rate", {"text": "doc"}).add("Summarize", {"text": "Rate.stars"}),
            ["Rate.stars never fits"],
        ),
        "a literal of a wrong type": (lambda: SignatureChain().add("Rate", {"text": 5}), ["step 'Rate': text:"]),
        "an empty literal": (lambda: SignatureChain().add("Rate", {"text": " "}), ["must not be empty"]),
        "an initial input of a wrong type": (lambda: SignatureChain().add("Rate", {"text": "number"}), ["text:"]),
        "everything": (
            lambda: SignatureChain().add("Rate", {"txt": "doc"}).add("Nope").add("Mail", {"recipient": "Rate.x"}),
            ["txt", "Nope", "has no output 'x'", "key_points: is required"],
        ),
        "no steps": (SignatureChain, ["has no steps"]),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_before_any_call(self, executor: Executor, lm: Any, run: Any, case: str) -> None:
        make, told = self.CASES[case]
        with pytest.raises(CompositionError) as caught:
            run(executor, make(), {"doc": "The report.", "number": 7})
        for text in told:
            assert text in str(caught.value)
        assert "nothing was called" in str(caught.value)
        assert lm.engine.calls == 0

    def test_the_same_without_running(self, executor: Executor, lm: Any) -> None:
        chain = SignatureChain().add("Summarize", {"document": "doc"}).add("Rate", {"text": "Summarize.summary"})
        chain.check(executor)
        assert chain.check(executor, ["doc", "other"]) == {"doc"}
        chain.check(executor, {"doc": "text"})
        with pytest.raises(CompositionError):
            chain.check(executor, {"doc": 5})
        with pytest.raises(CompositionError):
            SignatureChain().add("Rate", {"text": "Summarize.x"}).add("Summarize").check(executor)
        assert lm.engine.calls == 0

    def test_while_it_is_built(self) -> None:
        chain = SignatureChain().add("Rate", {"text": "doc"})
        with pytest.raises(CompositionError, match=r"name='\.\.\.'"):
            chain.add("Rate", {"text": "doc"})
        with pytest.raises(CompositionError, match=r"name='\.\.\.'"):
            chain.add("pack/Rate", {"text": "doc"})
        chain.add("Rate", {"text": "doc"}, name="again")
        for wrong in (SignatureChain(), ConditionalPipeline(), 5, ""):
            with pytest.raises(CompositionError):
                chain.add(wrong)
        for mapping in ("text", [("text", "doc")], {1: "doc"}):
            with pytest.raises(CompositionError, match="mapping"):
                chain.add("Summarize", mapping)  # type: ignore[arg-type]
        with pytest.raises(CompositionError):
            chain.add(chain, name="self")
        with pytest.raises(CompositionError):
            ref("")

    def test_what_is_no_chain(self, executor: Executor) -> None:
        with pytest.raises(CompositionError, match="SignatureChain"):
            executor.execute_chain(["Rate"], {})  # type: ignore[arg-type]
        with pytest.raises(CompositionError, match="initial_inputs"):
            executor.execute_chain(SignatureChain().add("Rate"), "text")  # type: ignore[arg-type]
        executor.close()
        with pytest.raises(ClosedError):
            executor.execute_chain(SignatureChain().add("Rate"), {"text": "x"})


def test_steps_that_do_not_need_each_other_run_at_once(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.05
    executor = make_executor()
    chain = SignatureChain()
    for name in "abcd":
        chain.add("Summarize", {"document": literal(name)}, name=name)
    chain.add("Mail", {"recipient": "a.summary", "key_points": [ref("b.summary"), ref("c.summary"), ref("d.summary")]})
    result = run(executor, chain, {})
    assert lm.engine.most_in_flight == 4
    assert lm.engine.calls == 5
    assert list(result.steps) == ["a", "b", "c", "d", "Mail"]  # in the order in which they were added
    for name in "abcd":
        assert f"] {name} [" in result["body"]


def test_a_diamond_waits_only_for_what_it_needs(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.5  # long enough for the second step to start on a loaded machine
    chain = (
        SignatureChain()
        .add("Extract", {"document": "doc", "info_types": "all"})
        .add("Summarize", {"document": "Extract.facts"}, name="left")
        .add("Summarize", {"document": "Extract.facts", "max_length": "long"}, name="right")
        .add("Mail", {"recipient": "left.summary", "key_points": [ref("right.summary")]})
    )
    run(make_executor(), chain, {"doc": "D"})
    assert lm.engine.most_in_flight == 2


def test_no_more_steps_at_once_than_workers(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    lm.engine.delay = 0.2  # long enough for three to meet on a loaded machine
    chain = SignatureChain()
    for number in range(9):
        chain.add("Summarize", {"document": f"text {number}"}, name=f"s{number}")
    assert len(run(make_executor(max_workers=3), chain, {}).steps) == 9
    assert lm.engine.most_in_flight == 3


class TestFailures:
    def failing(self, lm: Any, word: str) -> None:
        begin = lm.engine.begin

        def outage(request: Any) -> Any:
            if word in request.messages[-1].text:
                lm.engine.calls += 1
                raise ServerError("scripted outage", status=503)
            return begin(request)

        lm.engine.begin = outage

    def test_a_failing_step_names_itself_and_keeps_the_others(self, executor: Executor, lm: Any, run: Any) -> None:
        self.failing(lm, "max_length ## ]]\nbad")
        chain = (
            SignatureChain()
            .add("Extract", {"document": "doc", "info_types": "x"})
            .add("Summarize", {"document": "Extract.facts", "max_length": "bad"}, name="shorten")
            .add("Rate", {"text": "shorten.summary"})
        )
        with pytest.raises(LanguageModelError) as caught:
            run(executor, chain, {"doc": "D"})
        error = caught.value
        assert str(error).startswith("step 'shorten' (document, max_length): ")
        assert (error.step, error.step_inputs) == ("shorten", ("document", "max_length"))
        assert list(error.steps) == ["Extract"]
        assert error.steps["Extract"]["facts"].startswith("facts of")
        assert error.attempts
        assert lm.engine.calls == 2

    def test_steps_beside_it_are_finished_as_they_are_paid(
        self, make_executor: MakeExecutor, lm: Any, run: Any
    ) -> None:
        self.failing(lm, "bad")
        lm.engine.delay = 0.03
        chain = SignatureChain()
        for name in ("good", "bad", "fine"):
            chain.add("Summarize", {"document": literal(name)}, name=name)
        chain.add("Rate", {"text": "good.summary"})
        with pytest.raises(LanguageModelError) as caught:
            run(make_executor(), chain, {})
        assert list(caught.value.steps) == ["good", "fine"]

    def test_a_chain_inside_tells_the_whole_way(self, executor: Executor, lm: Any, run: Any) -> None:
        self.failing(lm, "bad")
        inner = SignatureChain().add("Summarize", {"document": "text"}).add("Rate", {"text": literal("bad")})
        chain = SignatureChain().add("Extract", {"document": "doc", "info_types": "x"})
        chain.add(inner, {"text": "Extract.facts"}, name="inner")
        with pytest.raises(LanguageModelError, match=r"^step 'inner' \(text\): step 'Rate' \(text\): ") as caught:
            run(executor, chain, {"doc": "D"})
        assert caught.value.step == "inner.Rate"
        assert list(caught.value.steps) == ["Extract", "inner.Summarize"]

    @pytest.mark.parametrize("beside", [True, False], ids=["beside others", "alone"])
    @pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    def test_what_ends_more_than_a_step(
        self, executor: Executor, lm: Any, run: Any, ending: type[BaseException], beside: bool
    ) -> None:
        """What is to end the process does, on whatever thread it was raised; a call that cancels itself has failed."""

        def end(user: str) -> str:
            if "bad" in user:
                raise ending
            return "fine"

        lm.engine.answers["summary"] = end
        chain = SignatureChain().add("Summarize", {"document": literal("bad")}, name="bad")
        if beside:
            chain.add("Summarize", {"document": literal("good")}, name="good")
        expected = LanguageModelError if ending is asyncio.CancelledError else ending
        with pytest.raises(expected):
            run(executor, chain, {})
        assert executor.execute_chain(SignatureChain().add("Rate", {"text": literal("x")}))["stars"] == 3

    def test_a_timeout_bounds_all_steps_together(self, make_executor: MakeExecutor, lm: Any, run: Any) -> None:
        lm.engine.delay = 0.15
        chain = SignatureChain().add("Summarize", {"document": "doc"}, name="s0")
        for number in range(1, 8):
            chain.add("Summarize", {"document": f"s{number - 1}.summary"}, name=f"s{number}")
        started = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            run(make_executor(), chain, {"doc": "D"}, timeout=0.4)
        assert time.monotonic() - started < 3
        assert isinstance(caught.value, DeadlineExceeded)
        assert 0 < len(caught.value.steps) < 8

    def test_a_budget_is_shared_by_the_steps(self, executor: Executor, lm: Any, run: Any) -> None:
        chain = SignatureChain().add("Summarize", {"document": "doc"})
        chain.add("Rate", {"text": "Summarize.summary"}).add("Summarize", {"document": "Summarize.summary"}, name="z")
        with pytest.raises(BudgetExceeded) as caught:
            run(executor, chain, {"doc": "D"}, budget=Budget(calls=2))
        assert len(caught.value.steps) == 2
        assert lm.engine.calls == 2

    def test_cancelling_a_chain_cancels_its_calls(self, make_executor: MakeExecutor, lm: Any) -> None:
        lm.engine.delay = 60.0
        executor = make_executor()
        chain = SignatureChain().add("Summarize", {"document": "a"}, name="a")
        chain.add("Summarize", {"document": "b"}, name="b")

        async def main() -> None:
            task = asyncio.create_task(executor.aexecute_chain(chain, {}))
            while lm.engine.in_flight < 2:  # noqa: ASYNC110  # the language model has no event for this
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert lm.engine.in_flight == 0

        asyncio.run(main())


def test_a_chain_of_chains_and_pipelines(executor: Executor, run: Any) -> None:
    inner = SignatureChain().add("Summarize", {"document": "text"}).add("Rate", {"text": "Summarize.summary"})
    choice = ConditionalPipeline().add_condition(name="good", condition=lambda given: given["stars"] >= 3)
    choice.when("good").execute("Mail", {"recipient": "Ada", "key_points": "reasons"})
    choice.otherwise().execute("Summarize", {"document": "bad"})
    chain = SignatureChain().add(inner, {"text": "doc"}, name="judge")
    chain.add(choice, {"stars": "judge.stars", "reasons": "judge.reasons"}, name="tell")
    result = run(executor, chain, {"doc": "D"})
    assert '["long", "dull"]' in result["body"]
    assert result.steps["judge"].steps["Summarize"]["summary"].startswith("summary of")
    assert result.usage.calls == 3
    twin = copy.deepcopy(result)
    assert (dict(twin), list(twin.steps), twin.usage) == (dict(result), list(result.steps), result.usage)
    assert run(executor, copy.deepcopy(chain), {"doc": "D"})["body"] == result["body"]
    with pytest.raises(CompositionError, match=r"has no output 'starz'; did you mean 'stars'"):
        run(
            executor,
            SignatureChain().add(inner, {"text": "doc"}, name="j").add("Rate", {"text": "j.starz"}),
            {"doc": ""},
        )
    for blind in (SignatureChain(), ConditionalPipeline().add_condition("always", lambda _: True)):
        mapping = {"text": "Summarize.summary"}
        blind.add("Rate", mapping) if isinstance(blind, SignatureChain) else blind.when("always").execute(
            "Rate", mapping
        )
        with pytest.raises(CompositionError, match=r"'Summarize.summary' is an output of a step of the chain around"):
            run(executor, SignatureChain().add("Summarize", {"document": "doc"}).add(blind, name="b"), {"doc": "D"})
    bad = SignatureChain().add("Summarize", {"document": "t"}).add("Rate", {"text": "Summarize.x"})
    with pytest.raises(CompositionError, match=r"step 'j': step 'Rate': text: step 'Summarize' has no output 'x'"):
        run(executor, SignatureChain().add(bad, {"t": "doc"}, name="j"), {"doc": "D"})


def test_an_output_that_the_chosen_branch_does_not_give(executor: Executor, run: Any) -> None:
    choice = ConditionalPipeline().otherwise().execute("Summarize")
    choice.add_condition("rate", lambda given: "rate" in given["text"]).when("rate").execute("Rate")
    chain = SignatureChain().add(choice, {"text": "doc"}, name="choice").add("Mail", {
        "recipient": "Ada", "key_points": "choice.reasons"
    })  # fmt: skip
    assert run(executor, chain, {"doc": "rate me"})["body"]
    with pytest.raises(CompositionError, match="gave no output 'reasons' this time; it gave summary"):
        run(executor, chain, {"doc": "D"})


def test_a_chain_that_holds_itself_by_a_detour(executor: Executor) -> None:
    first, second = SignatureChain(), SignatureChain()
    first.add(second, {}, name="second")
    second.add(first, {}, name="first")
    with pytest.raises(CompositionError, match="holds itself"):
        executor.execute_chain(first, {})


def test_testing_mode_runs_chains_without_a_language_model(make_executor: MakeExecutor, lm: Any, run: Any) -> None:
    chain = (
        SignatureChain().add("Rate", {"text": "doc"}).add("Mail", {"recipient": "doc", "key_points": "Rate.reasons"})
    )
    assert run(make_executor(mode="testing"), chain, {"doc": "D"})["body"] == "Sample body"
    assert lm.engine.calls == 0


def test_signature_classes_and_qualified_names_are_steps(executor: Executor) -> None:
    from hokusai_core import BaseSignature, InputField, OutputField

    class Shout(BaseSignature):
        text = InputField()
        loud = OutputField()

    chain = SignatureChain().add(Shout, {"text": "doc"}).add("local/Summarize", {"document": "Shout.loud"})
    assert executor.execute_chain(chain, {"doc": "hi"})["summary"].startswith(
        "summary of <[[ ## document ## ]] some loud"
    )


@pytest.mark.parametrize("order", [["report", "reprot"], ["reprot", "report"], ["reprot"]])
def test_a_slip_in_the_name_of_a_declared_input_is_no_text(make_executor: MakeExecutor, order: list[str]) -> None:
    executor = make_executor()
    chain = SignatureChain(inputs=["report"])
    for number, source in enumerate(order):
        chain.add("Summarize", {"document": source}, name=f"s{number}")
    with pytest.raises(CompositionError, match=r"document: 'reprot' is no initial input; did you mean 'report'\?"):
        executor.execute_chain(chain, {"report": "Revenue rose."})
    assert executor.stats()["executions"] == 0


def test_a_text_that_resembles_a_declared_input_can_be_written_outright(make_executor: MakeExecutor) -> None:
    chain = SignatureChain(inputs=["report"])
    chain.add("Summarize", {"document": "report", "max_length": literal("reports")})
    chain.add("Summarize", {"document": "A long text", "max_length": "short"}, name="other")
    result = make_executor().execute_chain(chain, {"report": "Revenue rose."})
    assert "reports" in result.steps["Summarize"]["summary"]
    assert "A long text" in result["summary"]
