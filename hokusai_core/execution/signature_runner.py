"""SignatureRunner: runs one signature with one language model, without cache, retries and observers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.call_records import OutputsWithExtras
from hokusai_core.errors import OutputError
from hokusai_core.model_parameters import merged_parameters
from hokusai_core.settings import Settings

if TYPE_CHECKING:
    from hokusai_core.execution.strategy_resolver import ResolvedStrategy
    from hokusai_core.model import LanguageModel
    from hokusai_core.signatures import SignatureSpec

__all__ = ["SignatureRunner"]


class SignatureRunner:
    """Runs a signature as an executor does, but without cache, trackers, hooks and retries.

    Optimizers measure candidates with it: prompt, parsing and checks are those of an execution, so what is measured is
    what will be run. Safe to use from many threads at once.

    Args:
        spec: the signature.
        model: the language model; where it brings no adapter, the host's or the core's own is taken.
        strategy: how the signature is answered, as ``Executor.strategy`` returns it; None for one call.
        program: the ``dspy.Module`` that runs instead; None for the signature itself.
        settings: those of the executor, such as ``Executor.config``: its parameters of language models, and which
            pictures, sounds and files it takes; None for the defaults.

    Example::

        runner = SignatureRunner(Shout.spec, LanguageModel(dspy.LM("openai/gpt-5-mini")))
        runner.run({"text": "hello"})
    """

    def __init__(
        self,
        spec: SignatureSpec,
        model: LanguageModel,
        strategy: ResolvedStrategy | None = None,
        program: Any = None,
        settings: Settings | None = None,
    ) -> None:
        from hokusai_core import dspy_bridge

        self.spec, self.model = spec, model
        adapter = model.adapter or dspy_bridge.host_adapter()
        self.strategy = strategy
        settings = settings or Settings()
        self._media = settings.media_policy
        self._call = dspy_bridge.make_call(spec, program, model.lm, adapter, strategy, self._media)
        parameters = merged_parameters(settings.value("parameters"), spec.parameters)
        self._parameters = dspy_bridge.call_parameters(model.lm, parameters)

    @property
    def adapter(self) -> Any:
        """The DSPy adapter that writes the prompts."""
        return self._call.adapter

    @property
    def module(self) -> Any:
        """The ``dspy.Module`` that runs, with the states that the spec has for its predictors; None for one call.

        Copy it before you change it.
        """
        return self._call.module

    def bind(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs by field name, converted, defaults filled in.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        return self.spec.binder.bind(inputs, self._media)

    def run(self, inputs: Mapping[str, Any], *, timeout: float | None = None) -> OutputsWithExtras:
        """Return the outputs for ``inputs``; their ``extras`` are what a strategy gives beside them.

        Args:
            inputs: input field or alias -> value.
            timeout: seconds after which an engine that can keep to a deadline gives up; None for no bound.

        Raises:
            InputError: the inputs do not fit; nothing was called.
            OutputError: the answer does not fit the signature.
            LanguageModelError: the language model failed.
        """
        bound = self.bind(inputs)
        deadline = None if timeout is None else time.monotonic() + timeout
        answer = self._call.prepare(bound, deadline=deadline, config=self._parameters).run()
        outputs, problems = self.spec.codec.settle(bound, answer)
        if problems:
            raise OutputError(f"the answer does not fit {self.spec.name}: " + "; ".join(map(str, problems)))
        return OutputsWithExtras(outputs, answer.extras if isinstance(answer, OutputsWithExtras) else {})
