"""FastChatAdapter: DSPy's chat format, with its constant parts built once and its answers read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import dspy
from dspy import Adapter
from dspy.utils.exceptions import AdapterParseError

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError
from hokusai_core.dspy_bridge.answer_stream import AnswerStream
from hokusai_core.dspy_bridge.chat_answer_stream import ChatAnswerStream
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.output_readers import stamp_of
from hokusai_core.dspy_bridge.prompt_plan import PromptPlan, has_media
from hokusai_core.dspy_bridge.strict_adapters import StrictJSONAdapter
from hokusai_core.dspy_bridge.text_markers import PromptText
from hokusai_core.dspy_bridge.unmetered_calls import host_callbacks
from hokusai_core.runtime.event_loop import beside_loop
from hokusai_core.stream_events import StreamListener

__all__ = ["FastChatAdapter"]


# Without the callbacks that DSPy wraps around it: they fire for the method below, and must not fire twice.
_dspy_format: Callable[..., list[dict[str, Any]]] = Adapter.format


class FastChatAdapter(dspy.ChatAdapter):
    """Writes the prompts of ``dspy.ChatAdapter``, byte for byte, in a fraction of the time, and reads the answers.

    DSPy's adapter writes the system message, the JSON schemas in it and the format reminder anew for every call. Here
    they are made once per signature and kept as long as the signature class lives. Messages with fields that need more
    than text (history, tools, images, reasoning) are put together by DSPy's code.

    A text that holds a marker of the prompt is the one thing that is written differently: see ``text_markers``.

    Answers are read by ``AnswerReader``, which refuses what it would have to guess. An answer that cannot be read is an
    error. ``dspy.ChatAdapter`` would quietly pay for a second call in JSON format; whether to try again is for the
    caller's retry policy to decide.

    Args:
        callbacks: DSPy callbacks of this adapter alone.
    """

    def __init__(self, callbacks: list[Any] | None = None) -> None:
        super().__init__(callbacks=callbacks, use_json_adapter_fallback=False)
        self._plans: WeakKeyDictionary[Any, PromptPlan] = WeakKeyDictionary()

    def __deepcopy__(self, memo: dict[int, Any]) -> FastChatAdapter:
        twin = type(self)()
        twin.__setstate__({**self.__getstate__(), "callbacks": list(self.callbacks)})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_plans"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FastChatAdapter.__init__(self)
        self.__dict__.update(state)

    def _make_json_adapter_fallback(self) -> StrictJSONAdapter:
        """Return the adapter of a second call, for a host whose ``dspy.ChatAdapter`` makes one."""
        return StrictJSONAdapter(
            use_native_function_calling=self.use_native_function_calling, parallel_tool_calls=self.parallel_tool_calls
        )

    def plan(self, signature: Any) -> PromptPlan:
        """Return the constant parts of the prompts of ``signature``."""
        plan = self._plans.get(signature)
        if plan is None or plan.stamp != stamp_of(signature):
            plan = self._plans[signature] = PromptPlan.of(self, signature)
        return plan

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: Sequence[Any], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Write the prompt, call ``lm``, read its answers."""
        plan = self._short_way(lm, lm_kwargs, signature)
        if plan is None:
            answers: list[dict[str, Any]] = super().__call__(lm, lm_kwargs, signature, demos, inputs)
            return answers
        outputs = lm(messages=self._messages(plan, signature, demos, inputs), **lm_kwargs)
        return self._answers(outputs, plan, signature, lm, lm_kwargs)

    async def acall(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: Sequence[Any], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Async version of ``__call__``."""
        plan = self._short_way(lm, lm_kwargs, signature)
        if plan is None:
            answers: list[dict[str, Any]] = await super().acall(lm, lm_kwargs, signature, demos, inputs)
            return answers
        messages = await beside_loop(inputs.values(), partial(self._messages, plan, signature, demos, inputs))
        outputs = await lm.acall(messages=messages, **lm_kwargs)
        return await beside_loop(outputs, partial(self._answers, outputs, plan, signature, lm, lm_kwargs))

    def format(self, signature: Any, demos: Sequence[Any], inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the messages of a prompt."""
        return self._messages(self.plan(signature), signature, demos, inputs)

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the outputs in ``completion``.

        Raises:
            AdapterParseError: an output is missing, does not fit its type, or could be read in more than one way.
        """
        return self._read(self.plan(signature), signature, completion)

    def answer_stream(self, signature: Any, names: Mapping[str, str], listener: StreamListener) -> AnswerStream:
        """Return what tells a listener of the parts of an answer while it comes in; see ``AnswerStream``."""
        return ChatAnswerStream(self.plan(signature).reader, names, listener)

    def _messages(
        self, plan: PromptPlan, signature: Any, demos: Sequence[Any], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        if not plan.plain:
            return _dspy_format(self, signature, demos, inputs)
        content = plan.user_content(inputs, main_request=True)
        messages = [{"role": "system", "content": plan.system}]
        messages += plan.demo_messages(demos, lambda: self.format_demos(signature, demos))
        if content:
            messages.append({"role": "user", "content": content})
        if any(has_media(message["content"]) for message in messages):
            return _dspy_format(self, signature, demos, inputs)
        return messages

    def _read(self, plan: PromptPlan, signature: Any, completion: str) -> dict[str, Any]:
        try:
            return plan.reader.read(completion)
        except AnswerFormatError as error:
            raise AdapterParseError(type(self).__name__, signature, completion, f"The answer {error}.") from error

    def format_user_message_content(
        self, signature: Any, inputs: Any, prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        """Return the text of a user message."""
        content = self.plan(signature).user_content(inputs, prefix, suffix, main_request=main_request)
        return PromptText(content)  # programs hand it on as an input, as dspy.ReAct does with its trajectory

    def format_assistant_message_content(
        self, signature: Any, outputs: Any, missing_field_message: str | None = None
    ) -> str:
        """Return the text of an answer in a demo."""
        return self.plan(signature).assistant_content(outputs, missing_field_message)

    def _short_way(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> PromptPlan | None:
        """Return the plan of ``signature`` if nothing but this class has a part in the call, else None."""
        # Another LM than the metered facade expects DSPy's own planning around its call, and callbacks expect an
        # event for format() and parse().
        own = type(self) is FastChatAdapter and not self.use_json_adapter_fallback and not self.callbacks
        if not own or not isinstance(lm, MeteredLM) or host_callbacks():
            return None
        plan = self.plan(signature)
        if not plan.plain:
            return None
        for option in ("tools", "tool_choice", "parallel_tool_calls"):  # as DSPy does where tools are not native
            lm_kwargs.pop(option, None)
        return plan

    def _answers(
        self, outputs: Sequence[Any], plan: PromptPlan, signature: Any, lm: Any, lm_kwargs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        return [self._answer(output, plan, signature, lm, lm_kwargs) for output in outputs]

    def _answer(
        self, output: Any, plan: PromptPlan, signature: Any, lm: Any, lm_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        if isinstance(output, str) and output:
            return self._read(plan, signature, output)
        if not output:
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=str(output),
                message="The LM returned an empty or null response.",
            )
        answers: list[dict[str, Any]] = self._call_postprocess(signature, signature, [output], lm, lm_kwargs)
        return answers[0]
