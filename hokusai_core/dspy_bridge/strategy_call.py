"""StrategyCall: answers a signature with the module that a strategy builds for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dspy

from hokusai_core.call_records import OutputsWithExtras
from hokusai_core.dspy_bridge.bridge_call import CallOptions
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.model_call import ModelCall
from hokusai_core.dspy_bridge.predictors import check_predictors, set_predictor_states, show_demos
from hokusai_core.dspy_bridge.program_call import module_settings, refusals, run_coroutine, ways_to_run
from hokusai_core.dspy_bridge.replay_lm import ReplayLM
from hokusai_core.dspy_bridge.text_markers import restored_value
from hokusai_core.dspy_bridge.to_dspy import RenderedSignature
from hokusai_core.errors import HokusaiError, OutputError, PluginError
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import MediaPolicy
from hokusai_core.model import LanguageModel
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.strategy_task import StrategyTask
from hokusai_core.stream_events import StreamListener

if TYPE_CHECKING:
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["StrategyCall"]

#: Modules that are kept for one signature, one for each set of choices of an output.
_KEPT = 16


class TaskCall(ModelCall):
    """Makes the tasks that strategies build modules for.

    Args:
        spec: the signature.
        label: name of the strategy, for errors.
        lm: the language model.
        adapter: the DSPy adapter; None for a ``FastChatAdapter``.
        media: which pictures, sounds and files are taken.
    """

    def __init__(self, spec: SignatureSpec, label: str, lm: Any, adapter: Any, media: MediaPolicy) -> None:
        super().__init__(spec, lm, adapter)
        self._label, self._media = label, media

    def task(
        self, rendered: RenderedSignature | None = None, demos: Sequence[Mapping[str, Any]] | None = None
    ) -> StrategyTask:
        """Return a task.

        Args:
            rendered: the signature, maybe with the choices of one call; None for it without.
            demos: the demos of one call; None for all.
        """
        chosen = rendered or self._rendered

        def call(inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
            narrowed, values = self._render(inputs)
            return narrowed.signature, values

        return StrategyTask(
            self._spec,
            chosen.signature,
            chosen.safe,
            self._demos if demos is None else demos,
            own_inputs=lambda values: self._own_inputs(chosen, values),
            own_outputs=lambda prediction: self._own_outputs(chosen, prediction),
            language_model=lambda: LanguageModel(dspy.settings.lm, adapter=self.adapter),
            call=call,
            bind=lambda inputs: self._spec.binder.bind(inputs, self._media),
            part=lambda spec: TaskCall(spec, self._label, self._lm, self.adapter, self._media).task(),
        )

    def _own_inputs(self, rendered: RenderedSignature, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call of the module as the execution has bound them; what was left out stays out."""
        inputs = {name: values[rendered.safe[name]] for name in self._spec.inputs if rendered.safe[name] in values}
        if self._foreign:
            inputs = {name: restored_value(value) for name, value in inputs.items()}
        for name in self._mirrored_inputs & inputs.keys():
            if inputs[name] is not None:
                inputs[name] = self._spec.inputs[name].coerce(inputs[name])
        return inputs

    def _own_outputs(self, rendered: RenderedSignature, prediction: Any) -> dict[str, Any]:
        if not isinstance(prediction, dspy.Prediction):
            raise PluginError(
                f"strategy {self._label!r} returned {type(prediction).__name__} for {self._spec.name!r}, and "
                "must return a dspy.Prediction or raise"
            )
        answer = dict(prediction.items())
        missing = [name for name in self._spec.outputs if rendered.safe[name] not in answer]
        if missing:
            raise OutputError(
                f"strategy {self._label!r} gave no {', '.join(missing)}; {self._spec.name} has "
                f"{', '.join(self._spec.outputs)}"
            )
        return self._outputs(rendered, answer)


class StrategyCall(TaskCall):
    """Runs the module of a strategy with the language model of the execution.

    All its calls of the language model are metered, pass the gate and end by the deadline.

    Args:
        spec: the signature.
        choice: name and options of the strategy.
        strategy: the strategy.
        lm: the language model.
        adapter: the DSPy adapter; None for a ``FastChatAdapter``.
        media: which pictures, sounds and files the parts of the strategy take.

    Raises:
        PluginError: the strategy builds no module for this signature.
        ArtifactError: the module has other predictors than ``spec`` has states for.
    """

    def __init__(
        self,
        spec: SignatureSpec,
        choice: StrategyChoice,
        strategy: Any,
        lm: Any,
        adapter: Any,
        media: MediaPolicy,
    ) -> None:
        super().__init__(spec, choice.name, lm, adapter, media)
        self._choice, self._strategy = choice, strategy
        own = spec.strategy is not None and spec.strategy.name == choice.name
        #: What was found for the predictors of the declared strategy is nothing for those of another one.
        self._states = spec.predictors if own else {}
        self._kept_module = lru_cache(_KEPT)(lambda rendered: self._module(rendered, self._demos))
        self._awaitable, self._callable = ways_to_run(type(self.module))

    @property
    def module(self) -> Any:
        """The module for calls whose outputs have no choices of their own."""
        return self._kept_module(self._rendered)

    @property
    def asynchronous(self) -> bool:
        """Whether the module can be awaited without a thread."""
        return self._awaitable

    @property
    def streams(self) -> bool:
        """Whether there is one call that answers: of several, only the module knows which one does."""
        asks_once = bool(getattr(self._strategy, "one_request", False))
        return asks_once and not self._drafts and super().streams  # drafts are of prompts without thoughts

    def _keeps_deadline(self, inputs: Mapping[str, Any], options: CallOptions) -> bool:
        return False  # a module may do more than call the language model

    @property
    def _stops(self) -> bool:
        return False

    def _listen_to(self, module: Any, lm: MeteredLM, rendered: RenderedSignature, options: CallOptions) -> None:
        predictors = module.predictors()
        if options.listener is None or not self.streams or len(predictors) != 1:
            return
        own = {safe: name for name, safe in rendered.safe.items() if name in self._spec.outputs}
        signature = predictors[0].signature
        names = {name: own.get(name, name) for name in signature.output_fields}
        listener = _ThoughtListener(options.listener, frozenset(names) - frozenset(own))
        lm.on_text = self.adapter.answer_stream(signature, names, listener).feed

    def _perform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        rendered, values = self._render(inputs)
        module = self._module_for(rendered, inputs)
        self._listen_to(module, lm, rendered, options)
        with self._isolated(lm, options, **self._settings(lm, options)), refusals(lm):
            prediction = module(**values) if self._callable else run_coroutine(lambda: module.acall(**values))
        return self._answer(rendered, prediction)

    async def _aperform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        rendered, values = self._render(inputs)
        module = self._module_for(rendered, inputs)
        self._listen_to(module, lm, rendered, options)
        with self._isolated(lm, options, **self._settings(lm, options)), refusals(lm):
            prediction = await module.acall(**values)
        return self._answer(rendered, prediction)

    def _ask(
        self,
        lm: ReplayLM,
        rendered: RenderedSignature,
        demos: Sequence[Mapping[str, Any]],
        values: dict[str, Any],
        options: CallOptions,
    ) -> None:
        with self._isolated(lm, options, **self._settings(lm, options)):
            self._module(rendered, demos)(**values)

    def _settings(self, lm: MeteredLM, options: CallOptions) -> dict[str, Any]:
        return {**module_settings(lm, self._spec), "hokusai_at_once": options.at_once}

    def check_one_request(self) -> None:
        """Return if one request answers the signature; raise ``PromptError`` if not."""
        if not getattr(self._strategy, "one_request", False):
            raise self._no_prompt(f"its strategy {self._choice.name!r} may ask several times")
        super().check_one_request()

    def _module_for(self, rendered: RenderedSignature, inputs: Mapping[str, Any]) -> Any:
        if self._nearest is None:
            return self._kept_module(rendered)
        return self._module(rendered, self._nearest.choose(inputs))

    def _module(self, rendered: RenderedSignature, demos: Sequence[Mapping[str, Any]]) -> Any:
        try:
            module = self._strategy.build(self.task(rendered, demos))
        except HokusaiError:
            raise
        except Exception as error:
            raise PluginError(
                f"strategy {self._choice.name!r} cannot answer {self._spec.name!r}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(module, dspy.Module):
            raise PluginError(
                f"strategy {self._choice.name!r}: build() returned {type(module).__name__}, no dspy.Module"
            )
        show_demos(module, rendered.signature, demos)
        if self._states and rendered is self._rendered:  # with choices of its own an output has another type
            check_predictors(module, self._states, self._spec.name)
        set_predictor_states(module, self._states)
        return module

    def _answer(self, rendered: RenderedSignature, prediction: Any) -> dict[str, Any]:
        outputs = self._own_outputs(rendered, prediction)
        known = set(rendered.safe.values())
        extras = {name: _plain(value) for name, value in prediction.items() if name not in known}
        return OutputsWithExtras(outputs, extras)


class _ThoughtListener:
    """Passes the parts of an answer on, those that are no outputs of the signature as thoughts.

    Args:
        listener: receives the parts.
        thoughts: names of what a strategy adds to the answer.
    """

    def __init__(self, listener: StreamListener, thoughts: frozenset[str]) -> None:
        self._listener, self._thoughts = listener, thoughts

    @property
    def texts(self) -> Collection[str]:
        """Outputs and thoughts whose text is wanted piece by piece."""
        return {*self._listener.texts, *self._thoughts}

    def text(self, name: str, piece: str) -> None:
        """Take the next piece of the text of an output or a thought."""
        if name in self._thoughts:
            self._listener.thought(name, piece)
        else:
            self._listener.text(name, piece)

    def thought(self, name: str, piece: str) -> None:
        """Take the next piece of a thought."""
        self._listener.thought(name, piece)

    def restart(self, reason: str) -> None:
        """Take back what was handed out of the answer; another one comes."""
        self._listener.restart(reason)

    def value(self, name: str, value: Any) -> None:
        """Take the value of an output that is complete."""
        if name not in self._thoughts:
            self._listener.value(name, value)


def _plain(value: Any) -> Any:
    """Return a value that a strategy gave beside the outputs, as JSON-able data."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no such number
        return str(value)
    try:
        return jsonable(value)
    except (TypeError, ValueError):
        return str(value)
