"""ProgramCall: one run of a DSPy program, metered like a single call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from dspy import settings

from hokusai_core.dspy_bridge.bridge_call import BridgeCall, CallOptions
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.predictors import with_predictor_states
from hokusai_core.dspy_bridge.program_spec import is_described
from hokusai_core.dspy_bridge.unmetered_calls import CallRefused, UnmeteredCalls, host_callbacks
from hokusai_core.errors import OutputError
from hokusai_core.runtime.worker_threads import WorkerThreads
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["ProgramCall", "module_settings", "refusals", "run_coroutine", "ways_to_run"]


class ProgramCall(BridgeCall):
    """Runs a ``dspy.Module`` with the language model of the execution.

    A predictor of the program that has a language model of its own keeps it. The budget is asked before its calls, and
    what they use is counted. Rate limits concern only calls of the execution's language model. Demos, choices and
    options of the language model are the program's own affair.

    Args:
        spec: what the program takes and gives.
        program: the module; it is shared, not copied, unless the spec has states of its predictors.
        lm: the language model.
        adapter: the DSPy adapter; None for a ``FastChatAdapter``.
    """

    def __init__(self, spec: SignatureSpec, program: Any, lm: Any, adapter: Any = None) -> None:
        super().__init__(spec, lm, adapter)
        self._program = with_predictor_states(program, spec.predictors, spec.name) if spec.predictors else program
        self._awaitable, self._callable = ways_to_run(type(program))

    @property
    def module(self) -> Any:
        """The module that runs, with the states that the spec has for its predictors."""
        return self._program

    @property
    def asynchronous(self) -> bool:
        """Whether the program can be awaited without a thread."""
        return self._awaitable

    @property
    def whole_answers(self) -> bool:
        """Whether the program is a single call of the language model; any other decides about each answer itself."""
        return is_described(self._program)

    def _perform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        program = self._program if lm.tape is None else with_recorded_models(self._program, lm)
        with self._context(lm, options), refusals(lm):
            prediction = program(**inputs) if self._callable else run_coroutine(lambda: program.acall(**inputs))
        return self._outputs(prediction, lm)

    async def _aperform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        program = self._program if lm.tape is None else with_recorded_models(self._program, lm)
        with self._context(lm, options), refusals(lm):
            prediction = await program.acall(**inputs)
        return self._outputs(prediction, lm)

    def _context(self, lm: MeteredLM, options: CallOptions) -> AbstractContextManager[None]:
        return self._isolated(lm, options, **module_settings(lm, self._spec))

    def _outputs(self, prediction: Any, lm: MeteredLM) -> dict[str, Any]:
        try:
            outputs = dict(prediction.items())
        except AttributeError:
            if prediction is None and lm.failure is not None:
                raise lm.failure from None  # modules that try several times give up without a word
            raise OutputError(
                f"program {self._spec.name!r} returned {type(prediction).__name__}; its forward() must return a "
                "dspy.Prediction",
                signature=self._spec.name,
                retryable=False,
            ) from None
        for name, item in self._spec.outputs.items():
            if name not in outputs and item.shape.optional and item.required:
                outputs[name] = None
            elif isinstance(outputs.get(name), str) and item.shape.optional and item.shape.kind != "any":
                # DSPy reads an answer of None for ``str | None`` as text.
                outputs[name] = None if outputs[name].strip().lower() in ("none", "null") else outputs[name]
        return outputs


def module_settings(lm: MeteredLM, spec: SignatureSpec) -> dict[str, Any]:
    """Return the DSPy settings of a module, beside those of a single call.

    The module's calls of language models of its own are seen: the budget is asked before, and they are counted.

    Args:
        lm: the language model of the execution.
        spec: what the module answers.
    """
    callbacks = [] if spec.sensitive else host_callbacks()
    tracker = settings.usage_tracker
    unmetered = UnmeteredCalls(lm, tracker)
    chosen: dict[str, Any] = {"callbacks": [*callbacks, unmetered], "trace": []}
    if tracker is not None or not settings.track_usage:  # else DSPy opens one itself, for the prediction
        chosen["usage_tracker"] = unmetered.relay
    return chosen


def with_recorded_models(program: Any, lm: MeteredLM) -> Any:
    """Return a program whose predictors' own language models go through the tape of ``lm``; a copy where there are any.

    Args:
        program: the module; it is not changed.
        lm: the language model of the execution.
    """
    if all(predictor.lm is None for _, predictor in program.named_predictors()):
        return program
    copy = program.deepcopy()
    for _, predictor in copy.named_predictors():
        if predictor.lm is not None:
            predictor.lm = lm.beside(predictor.lm)
    return copy


def run_coroutine(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run the coroutine that ``make`` returns to its end, on an event loop of its own.

    If an event loop runs on this thread already, the coroutine gets another thread, and this one waits for it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    return WorkerThreads(keep=0).submit(lambda: asyncio.run(make())).result()


@contextmanager
def refusals(lm: MeteredLM) -> Iterator[None]:
    """Let a refused call end the module that runs inside, and raise why it was refused.

    Args:
        lm: the language model of the execution.
    """
    lm.end_module()
    try:
        yield
    except CallRefused as refusal:
        error = refusal.error
    except BaseExceptionGroup as group:  # a program may make its calls in tasks of its own
        refused = group.subgroup(CallRefused)
        if refused is None:
            raise
        error = _first(refused)
    else:
        return
    raise error


def _first(refused: BaseExceptionGroup[CallRefused]) -> Exception:
    first = refused.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first.error


def ways_to_run(kind: type) -> tuple[bool, bool]:
    """Return whether a class of programs can be awaited, and whether it can be called.

    A class that overrides ``forward`` and inherits an older ``aforward`` is only called.
    """
    bases = kind.__mro__
    blocking = next((place for place, base in enumerate(bases) if "forward" in vars(base)), None)
    awaited = next((place for place, base in enumerate(bases) if "aforward" in vars(base)), None)
    return awaited is not None and (blocking is None or awaited <= blocking), blocking is not None
