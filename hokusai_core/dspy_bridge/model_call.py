"""ModelCall: one call of a language model for the outputs of a signature."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Union, get_args, get_origin

import dspy
from dspy.adapters.types.decision import Choice, Noul, Score
from dspy.lm15 import Request, Response

from hokusai_core.call_records import CallEstimate, Recorder
from hokusai_core.dspy_bridge.adapter_choice import is_strict
from hokusai_core.dspy_bridge.batch_requests import EstimatingLM, MeteredReplayLM, batch_client, for_service
from hokusai_core.dspy_bridge.bridge_call import BridgeCall, CallOptions
from hokusai_core.dspy_bridge.draft_stream import DraftStream
from hokusai_core.dspy_bridge.engine_calls import keeps_deadline
from hokusai_core.dspy_bridge.fast_adapter import FastChatAdapter
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.prompt_plan import disarmed_value, holds_special
from hokusai_core.dspy_bridge.replay_lm import ReplayLM, RequestReady, messages_of, response_of
from hokusai_core.dspy_bridge.streamed_calls import can_stream
from hokusai_core.dspy_bridge.text_markers import restored_value
from hokusai_core.dspy_bridge.to_dspy import RenderedSignature, render
from hokusai_core.dspy_bridge.unmetered_calls import host_callbacks
from hokusai_core.dspy_classes import is_history
from hokusai_core.json_encoding import jsonable
from hokusai_core.price_table import PriceTable
from hokusai_core.signatures.nearest_demos import NearestDemos
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["ModelCall"]

#: What a language model writes for an optional text that it leaves out.
_NOTHING = frozenset({"none", "null"})


class ModelCall(BridgeCall):
    """Asks a language model for the outputs of a signature, one call an attempt."""

    def __init__(self, spec: SignatureSpec, lm: Any, adapter: Any = None) -> None:
        super().__init__(spec, lm, adapter)
        self._rendered = render(spec)
        self._choosing = {name: item.choices_from for name, item in spec.outputs.items() if item.choices_from}
        #: An adapter of the host's own does not keep markers in values apart from those of its prompt.
        self._foreign = not is_strict(self.adapter)
        texts = [name for name, item in spec.outputs.items() if _is_optional_text(item.annotation)]
        self._nullable = texts if self._foreign else []
        self._optional = frozenset(name for name, item in spec.inputs.items() if not item.required)
        self._mirrored_inputs = spec.attrs_fields & spec.inputs.keys()
        self._mirrored_outputs = spec.attrs_fields & spec.outputs.keys()
        self._by_predictor = any(_is_decision(item.annotation) for item in spec.outputs.values())
        self._demos = self._prepared(spec.demos)
        self._special_demos = any(map(holds_special, self._demos))
        self._nearest = None if spec.nearest_demos is None else NearestDemos(spec, self._demos)
        self._batch_client: Any = None

    @property
    def asynchronous(self) -> bool:
        """Whether the language model can be awaited without a thread."""
        return MeteredLM.awaitable(self._lm)

    @property
    def _safe_names(self) -> Mapping[str, str]:
        return self._rendered.safe

    @property
    def streams(self) -> bool:
        """Whether parts of an answer can be had while it comes in: one of the known formats, an engine that streams."""
        if self._drafts:
            return True
        if self._foreign or self._by_predictor:
            return False
        return can_stream(self._lm, asynchronous=MeteredLM.awaitable(self._lm))

    def _keeps_deadline(self, inputs: Mapping[str, Any], options: CallOptions) -> bool:
        if not isinstance(getattr(self._lm, "_engine_spec", None), str):
            return self._engine_says("keeps_deadline")
        # DSPy's client is known to take this way for prompts of texts, which no other code has a part in.
        if type(self.adapter) is not FastChatAdapter or self._by_predictor or host_callbacks():
            return False
        if self._special_demos or any(map(holds_special, inputs.values())):
            return False
        if not self.adapter.plan(self._rendered.signature).plain:
            return False
        return keeps_deadline(self._lm, options.for_language_model())

    @property
    def _stops(self) -> bool:
        return self._engine_says("stops_at_deadline")

    def _engine_says(self, attribute: str) -> bool:
        """Return what the engine says of itself by an attribute of that name."""
        return bool(getattr(getattr(self._lm, "_engine_spec", None), attribute, False))

    def _perform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        rendered, values = self._render(inputs)
        demos, config = self._demos_for(inputs), options.for_language_model()
        with self._isolated(lm, options, **self._listen(lm, rendered, values, options)):
            if self._by_predictor or host_callbacks():  # callbacks of the host expect a module around the call
                answer = dict(dspy.Predict(rendered.signature)(**values, demos=demos, config=config).items())
            else:
                answer = self.adapter(lm, config, rendered.signature, demos, values)[0]
        return self._outputs(rendered, answer)

    async def _aperform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        rendered, values = self._render(inputs)
        demos, config = self._demos_for(inputs), options.for_language_model()
        with self._isolated(lm, options, **self._listen(lm, rendered, values, options)):
            if self._by_predictor or host_callbacks():
                prediction = await dspy.Predict(rendered.signature).acall(**values, demos=demos, config=config)
                answer = dict(prediction.items())
            else:
                answer = (await self.adapter.acall(lm, config, rendered.signature, demos, values))[0]
        return self._outputs(rendered, answer)

    def render(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Request:
        """Return the request that an attempt would send; nothing is called.

        Raises:
            PromptError: nothing but the call itself shows what is sent; says why.
        """
        self.check_one_request()
        try:
            self._replay(ReplayLM(self._lm, parameters=parameters), inputs, CallOptions(config=parameters))
        except RequestReady as ready:
            return ready.request
        raise self._no_prompt(f"its adapter {type(self.adapter).__name__} asks for nothing")

    def template(self, parameters: Mapping[str, Any], *, demos: bool = True) -> tuple[list[dict[str, str]], int]:
        """Return the messages of the prompt with ``{{ name }}`` for the value of each input, and how many demos it has.

        Demos that are chosen for each call are not in it, nor are earlier turns of a conversation.

        Raises:
            PromptError: nothing but the call itself shows what is sent; says why.
        """
        self.check_one_request()
        rendered = self._rendered
        if self._choosing:
            rendered = render(self._spec, {name: (_variable(str(by)),) for name, by in self._choosing.items()})
        # Earlier turns are messages, which no text stands for.
        asked = [name for name, item in self._spec.inputs.items() if not is_history(item.annotation)]
        values = {rendered.safe[name]: _variable(name) for name in asked}
        shown = self._demos if demos and self._nearest is None else ()
        lm, options = ReplayLM(self._lm, parameters=parameters), CallOptions(config=parameters)
        try:
            with dspy.context(callbacks=[], usage_tracker=None):
                self._ask(lm, rendered, shown, values, options)
        except RequestReady as ready:
            return messages_of(ready.request), len(shown)
        raise self._no_prompt(f"its adapter {type(self.adapter).__name__} asks for nothing")

    def _ask(
        self,
        lm: ReplayLM,
        rendered: RenderedSignature,
        demos: Sequence[Mapping[str, Any]],
        values: dict[str, Any],
        options: CallOptions,
    ) -> None:
        """Write the prompt with these values, which need not fit their fields."""
        with self._isolated(lm, options):
            self.adapter(lm, options.for_language_model(), rendered.signature, demos, values)

    def read(self, answer: str | Response, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs in an answer, as an attempt reads them; nothing is called.

        Raises:
            PromptError: there is no single answer; says why.
            OutputError: the answer cannot be read as outputs of the signature.
        """
        self.check_one_request()
        return self._replay(ReplayLM(self._lm, response_of(answer, self._lm.model)), inputs, CallOptions())

    def batch_request(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any], prices: PriceTable | None
    ) -> tuple[Any, Request, CallEstimate]:
        """Return the client of a batch service, the request that an attempt would send, and what it may cost."""
        self.check_one_request()
        if self._batch_client is None:
            self._batch_client = batch_client(self._lm)
        lm = EstimatingLM(self._lm, parameters, prices)
        try:
            self._replay(lm, inputs, CallOptions(config=parameters))
        except RequestReady as ready:
            return self._batch_client, for_service(ready.request), lm.estimate
        raise self._no_prompt(f"its adapter {type(self.adapter).__name__} asks for nothing")

    def read_metered(
        self, answer: Response, inputs: Mapping[str, Any], recorder: Recorder, prices: PriceTable | None
    ) -> dict[str, Any]:
        """Return the outputs in an answer as ``read`` does, and record the call that it was."""
        self.check_one_request()
        return self._replay(MeteredReplayLM(self._lm, answer, recorder, prices), inputs, CallOptions())

    def _replay(self, lm: ReplayLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        # No call is made, so callbacks and usage trackers of the host get no news of one.
        with dspy.context(callbacks=[], usage_tracker=None):
            return self._attempt(lm, inputs, options)

    def check_one_request(self) -> None:
        """Return if one request answers the signature; raise ``PromptError`` if not."""
        objection = ReplayLM.objection(self._lm)
        if self._by_predictor:
            objection = "DSPy works out an output of it from several answers"
        elif self._foreign and not getattr(self.adapter, "one_request", False):
            objection = f"{type(self.adapter).__name__} is not one of the adapters chat, json and xml"
        if objection is not None:
            raise self._no_prompt(objection)

    @property
    def _drafts(self) -> bool:
        """Whether the engine hands out drafts, which the adapter can read."""
        return self._engine_says("drafts") and callable(getattr(self.adapter, "draft_reader", None))

    def _listen(
        self, lm: MeteredLM, rendered: RenderedSignature, values: Mapping[str, Any], options: CallOptions
    ) -> dict[str, Any]:
        """Have the parts of the answer handed out if they are wanted; return settings of DSPy for it."""
        listener = options.listener
        if listener is None or not self.streams:
            return {}
        own = {safe: name for name, safe in rendered.safe.items() if name in self._spec.outputs}
        if not self._drafts:
            lm.on_text = self.adapter.answer_stream(rendered.signature, own, listener).feed
            return {}
        reader = self.adapter.draft_reader(rendered.signature, values)
        if reader is None or own[reader.output] not in listener.texts:
            return {}
        make = partial(self.adapter.draft_reader, rendered.signature, values)
        return {"hokusai_draft": DraftStream(make, own[reader.output], listener)}

    def _render(self, inputs: Mapping[str, Any]) -> tuple[RenderedSignature, dict[str, Any]]:
        rendered = self._rendered
        if self._choosing:
            rendered = render(self._spec, {name: tuple(inputs[source]) for name, source in self._choosing.items()})
        safe, optional = rendered.safe, self._optional
        values = {safe[name]: value for name, value in inputs.items() if value is not None or name not in optional}
        for name in self._mirrored_inputs:
            if safe[name] in values:
                values[safe[name]] = jsonable(inputs[name])
        return rendered, self._disarmed(values) if self._foreign else values

    def _demos_for(self, inputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        return self._demos if self._nearest is None else self._nearest.choose(inputs)

    def _prepared(self, demos: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        mirrored = self._spec.attrs_fields
        if not self._rendered.renamed and not mirrored and not self._foreign:
            return demos
        plain = ({n: jsonable(v) if n in mirrored else v for n, v in demo.items()} for demo in demos)
        prepared = (self._rendered.to_safe(demo) for demo in plain)
        return tuple(self._disarmed(demo) if self._foreign else demo for demo in prepared)

    def _disarmed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._rendered.signature.fields
        return {name: disarmed_value(fields.get(name), value) for name, value in values.items()}

    def _outputs(self, rendered: RenderedSignature, answer: Mapping[str, Any]) -> dict[str, Any]:
        safe = rendered.safe
        outputs = {name: answer[safe[name]] for name in self._spec.outputs}
        if self._foreign:
            outputs = {name: restored_value(value) for name, value in outputs.items()}
        for name in self._mirrored_outputs:
            outputs[name] = self._spec.outputs[name].coerce(outputs[name])
        for name in self._nullable:
            value = outputs[name]
            if isinstance(value, str) and value.strip().lower() in _NOTHING:
                outputs[name] = None
        return outputs


def _variable(name: str) -> str:
    return f"{{{{ {name} }}}}"


def _is_optional_text(annotation: Any) -> bool:
    """Whether DSPy would read ``None`` as the text "None"."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return False
    return {str, type(None)} <= set(get_args(annotation))


def _is_decision(annotation: Any) -> bool:
    """Whether only a predictor can work out the value, from the evidence that the model gives."""
    return isinstance(annotation, type) and issubclass(annotation, (Noul, Choice, Score))
