"""A DSPy adapter for very small models: short prompts, and JSON only where it is needed."""

from __future__ import annotations

import json
from typing import Any

import pydantic
from dspy import History
from dspy.adapters.json_adapter import JSONAdapter
from dspy.adapters.utils import parse_value, serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from hokusai_local.draft import LocalDraft
from hokusai_local.fields import closed_values, labels_of, output_schema, single_output
from hokusai_local.label_scoring import MOST_OPTIONS
from hokusai_local.output_request import ASK_KEY, BASELINES_KEY, PROSE_KEY, QUESTION_KEY, WORDS_KEY
from hokusai_local.prompts import (
    ask_for,
    asks_questions,
    describe,
    has_brackets,
    how_many,
    is_code,
    label,
    render_inputs,
    rewriting_messages,
    wants_code,
    without_labels,
    word_limit,
)
from hokusai_local.prose import fenced, strip_invented_signature, without_frame

__all__ = ["LocalAdapter"]

# A small model does not count words: the limit on its tokens does, and the engine cuts back to a whole sentence.
_TOKENS_PER_WORD = 1.5
_MOST_TURNS = 4
# Texts without content, by which the model's liking for a label as such is measured.
_CONTENT_FREE = ("", "It is what it is.", "text")


class LocalAdapter(JSONAdapter):
    """Prompts that a model of a hundred million parameters can follow.

    A signature with one text output is answered in plain text, one with one closed output (``Literal``, ``bool``,
    ``Enum``) by choosing a label. A few outputs, of which some are texts, are asked for one after the other, since
    small models write poorly inside JSON; every other answer is JSON that the engine constrains to the outputs' schema.
    Prompts are about a fifth as long as those of DSPy's own adapters, whose field markers such models copy into the
    answer.

    One instance serves any number of threads.

    Args:
        callbacks: as for every DSPy adapter.
        name_options: whether the prompt of a choice lists its options. The engine asks for the probability of each
            option anyway, and the smallest models judge better where they have not just read all of them.
    """

    #: Read by the executor: what it asks for is one request, which can be shown without a call.
    one_request = True

    def __init__(self, callbacks: list[Any] | None = None, *, name_options: bool = False) -> None:
        super().__init__(callbacks=callbacks, use_native_function_calling=False)
        self.name_options = name_options

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Ask ``lm`` and return the parsed outputs of each answer."""
        self._prepare(lm, lm_kwargs, signature, demos, inputs)
        # The direct parent would put a format of its own in place of the one that was just prepared.
        answers = super(JSONAdapter, self).__call__(lm, lm_kwargs, signature, demos, inputs)
        return [_tidied(answer, inputs) for answer in answers]

    async def acall(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Async version of a call."""
        self._prepare(lm, lm_kwargs, signature, demos, inputs)
        answers = await super(JSONAdapter, self).acall(lm, lm_kwargs, signature, demos, inputs)
        return [_tidied(answer, inputs) for answer in answers]

    def _prepare(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> None:
        schema = self.schema(signature, inputs, in_turns=_in_turns(signature, demos, inputs))
        words = word_limit(inputs)
        usual = lm.kwargs.get("max_tokens")
        if words and usual and "max_tokens" not in lm_kwargs and single_output(signature) is not None:
            tokens = round(words * _TOKENS_PER_WORD) + 12
            if tokens < usual:
                lm_kwargs["max_tokens"] = tokens
                schema[WORDS_KEY] = True
        lm_kwargs["response_format"] = {"type": "json_schema", "json_schema": {"name": "Outputs", "schema": schema}}

    def format(self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the messages: instructions, demos, and the inputs.

        Where there is nothing to show by example, they take the form that small models answer best.
        """
        messages: list[dict[str, Any]] = super().format(signature, demos, inputs)
        if demos or len(messages) != 2:
            return messages
        if _in_turns(signature, demos, inputs):
            messages[0]["content"] = describe(signature, name_options=self.name_options, in_turns=True)
        return rewriting_messages(signature, inputs) or messages

    def draft_reader(self, signature: Any, inputs: dict[str, Any]) -> LocalDraft | None:
        """Return what says which part of a text is certain while the model writes it; None where only the whole is.

        Args:
            signature: the signature.
            inputs: its inputs.
        """
        name = single_output(signature)
        if name is None or signature.output_fields[name].annotation is not str or is_code(name):
            return None
        given = "\n".join(str(value) for value in inputs.values())
        return LocalDraft(name, lambda text: _tidied_text(name, self.parse(signature, text)[name], given))

    def schema(self, signature: Any, inputs: dict[str, Any], *, in_turns: bool = False) -> dict[str, Any]:
        """Return the JSON schema of the answer; a string at its root stands for the bare text.

        Args:
            signature: the signature.
            inputs: its inputs.
            in_turns: whether each output is asked for by itself.
        """
        name = single_output(signature)
        prose = {PROSE_KEY: not wants_code(signature, inputs)}
        if name is None:
            schema = output_schema(signature)
            for field, value in schema["properties"].items():
                # Only texts understand it; on a list it goes to what is listed.
                value.get("items", value)[QUESTION_KEY] = asks_questions(field)
                number = how_many(signature, field) if value.get("type") == "array" else None
                if number and value.get("minItems", 0) <= number <= value.get("maxItems", number):
                    value |= {"minItems": number, "maxItems": number}
                if in_turns:
                    value[PROSE_KEY] = not (is_code(field) or has_brackets(inputs))
                    value[ASK_KEY] = ask_for(field)
            return schema | prose
        values = closed_values(signature.output_fields[name].annotation)
        if values is None:
            return {"type": "string", QUESTION_KEY: asks_questions(name)} | prose
        return {"type": "string", "enum": list(values), BASELINES_KEY: self._content_free(signature, inputs)}

    def _content_free(self, signature: Any, inputs: dict[str, Any]) -> list[str]:
        # Only what is text is replaced: a list of categories or a number is part of the question.
        texts = [name for name, value in inputs.items() if isinstance(value, str) and name in signature.input_fields]
        if not texts:
            return []
        return [
            self.format_user_message_content(signature, {**inputs, **dict.fromkeys(texts, nothing)}, main_request=True)
            for nothing in _CONTENT_FREE
        ]

    def format_system_message(self, signature: Any) -> str:
        """Return the instructions, and a line for each output that needs one."""
        return describe(signature, name_options=self.name_options or _many_options(signature))

    def format_user_message_content(
        self, signature: Any, inputs: dict[str, Any], prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        """Return the inputs, one per line, and the name of the output where there is just one."""
        name = single_output(signature)
        parts = [prefix, *render_inputs(signature, inputs), suffix]
        if name is not None and closed_values(signature.output_fields[name].annotation) is not None:
            parts.append(f"{label(name)}:")
        return "\n".join(part for part in parts if part)

    def format_assistant_message_content(
        self, signature: Any, outputs: dict[str, Any], missing_field_message: str | None = None
    ) -> str:
        """Return the outputs of a demo in the form in which the model is to answer."""
        name = single_output(signature)
        if name is not None:
            value = outputs.get(name, missing_field_message)
            return labels_of(signature.output_fields[name].annotation).get(_hashable(value), str(value))
        values = {field: outputs.get(field, missing_field_message) for field in signature.output_fields}
        return json.dumps(serialize_for_json(values), ensure_ascii=False)

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the typed outputs that ``completion`` holds.

        Raises:
            AdapterParseError: where it holds none that fit.
        """
        name = single_output(signature)
        if name is not None:
            values = closed_values(signature.output_fields[name].annotation)
            if values is None:
                return {name: without_frame(without_labels(signature, name, completion.strip()))}
            if completion.strip() in values:
                return {name: values[completion.strip()]}
        try:
            if name is not None:
                return {name: parse_value(completion.strip(), signature.output_fields[name].annotation)}
            found = json.loads(completion)
            return {field: _convert(found[field], info.annotation) for field, info in signature.output_fields.items()}
        except (ValueError, KeyError, TypeError, pydantic.ValidationError) as error:
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"The answer does not fit the outputs: {error}",
            ) from error


def _in_turns(signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> bool:
    """Return whether outputs are asked for one after the other: a few, of which some are texts.

    Demos and a conversation show them as JSON, and so is the answer then.
    """
    outputs = [info.annotation for info in signature.output_fields.values()]
    shown = bool(demos) or any(isinstance(value, History) for value in inputs.values())
    return not shown and 1 < len(outputs) <= _MOST_TURNS and str in outputs


def _tidied(outputs: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return outputs without what a small model adds to code and letters."""
    given = "\n".join(str(value) for value in inputs.values())
    return {
        name: _tidied_text(name, value, given) if isinstance(value, str) else value for name, value in outputs.items()
    }


def _tidied_text(name: str, text: str, given: str) -> str:
    return (fenced(text) or text) if is_code(name) else strip_invented_signature(text, given)


def _many_options(signature: Any) -> bool:
    name = single_output(signature)
    return name is not None and len(closed_values(signature.output_fields[name].annotation) or ()) > MOST_OPTIONS


def _convert(value: Any, annotation: Any) -> Any:
    # Values come out of a grammar for exactly this type: pydantic reads them as they are, while parse_value would make
    # the text "None" of an absent optional text.
    try:
        return pydantic.TypeAdapter(annotation).validate_python(value)
    except (pydantic.ValidationError, pydantic.PydanticSchemaGenerationError):
        return parse_value(value, annotation)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return str(value)
    return value
