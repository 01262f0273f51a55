"""The request of a strategy that asks once can be shown without a call."""

from __future__ import annotations

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import PromptError
from hokusai_core.testing.lm import null_lm
from hokusai_core.types import StrategyChoice


class Ask(BaseSignature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()


@pytest.mark.parametrize("strategy", ["predict", "chain_of_thought"])
def test_the_request_is_the_one_that_is_sent(strategy: str) -> None:
    lm = null_lm(keep_requests=True)
    declared = BaseSignature.from_spec(Ask.spec.evolve(strategy=StrategyChoice(strategy)))
    with Executor(lm=lm, plugins=["strategies"], trackers=[], cache_enabled=False) as executor:
        shown = executor.render(declared, {"question": "Why?"})
        result = executor.execute_signature(declared, {"question": "Why?"})
        assert lm.engine.requests == [shown]
        assert executor.read(declared, "[[ ## reasoning ## ]]\nSo.\n\n[[ ## answer ## ]]\nYes") == {"answer": "Yes"}
    assert result["answer"]


def test_one_that_may_ask_several_times_is_refused() -> None:
    class Twice:
        version = "1"

        def build(self, task: object) -> object:
            import dspy

            return dspy.Predict(task.signature)  # type: ignore[attr-defined]

    assert not hasattr(Twice, "one_request")
    from hokusai_core.components import Component
    from hokusai_core.markers import hookimpl

    class Plugin:
        @hookimpl
        def provide_strategies(self) -> list[Component]:
            return [Component("twice", Twice)]

    declared = BaseSignature.from_spec(Ask.spec.evolve(strategy=StrategyChoice("twice")))
    with (
        Executor(lm=null_lm(), plugins=[], extra_plugins=[("twice", Plugin())], cache_enabled=False) as executor,
        pytest.raises(PromptError, match="its strategy 'twice' may ask several times"),
    ):
        executor.render(declared, {"question": "Why?"})
