"""Adapters for DSPy's JSON and XML formats that read answers as strictly as the chat format."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import dspy
from dspy.adapters.baml_adapter import BAMLAdapter
from dspy.utils.exceptions import AdapterParseError
from pydantic import TypeAdapter

from hokusai_core.dspy_bridge.answer_reader import (
    AnswerFormatError,
    AnswerReader,
    begin_of_answer,
    skip_thoughts,
    trim_blank_lines,
)
from hokusai_core.dspy_bridge.output_readers import FENCED, reader_of, stamp_of, table_field
from hokusai_core.dspy_bridge.prompt_plan import disarmed_value
from hokusai_core.dspy_bridge.text_markers import PromptText, TagMarkers, restore_markers
from hokusai_core.signatures.text_json import NotJSON, parse_structure, without_fence

__all__ = ["StrictBAMLAdapter", "StrictJSONAdapter", "StrictXMLAdapter"]

_OBJECT_OR_THOUGHTS = begin_of_answer(r"\{")
_ENTITY = re.compile(r"&(lt|gt|amp|quot|apos);")
#: A tag or section as it is, or else the character that XML does not keep in texts.
_CARRIAGE_RETURN = re.compile(r"(<!\[CDATA\[.*?\]\]>|<[^<>]*>)|\r", re.DOTALL)
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


#: Signature -> its stamp, and the response formats for what language models are able to do.
_formats: WeakKeyDictionary[Any, tuple[tuple[Any, ...], dict[tuple[bool, ...], Any]]] = WeakKeyDictionary()


class _StrictJSON(dspy.JSONAdapter):
    """Refuses answers in JSON that could be read in more than one way, and disarms markers in values.

    DSPy repairs an object that is cut off, takes the last of two values for one key, and reads NaN.
    """

    def format_user_message_content(
        self, signature: Any, inputs: Any, prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        """Return the text of a user message."""
        safe = {name: disarmed_value(signature.input_fields.get(name), value) for name, value in inputs.items()}
        return PromptText(super().format_user_message_content(signature, safe, prefix, suffix, main_request))

    def format_assistant_message_content(
        self, signature: Any, outputs: Any, missing_field_message: str | None = None
    ) -> str:
        """Return the text of an answer in a demo."""
        safe = {name: disarmed_value(signature.output_fields.get(name), value) for name, value in outputs.items()}
        content: str = super().format_assistant_message_content(signature, safe, missing_field_message)
        return content

    def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
        """Ask for the form of the answer as DSPy does, which makes a new class and schema for every call."""
        able = "response_format" in lm.supported_params, lm.supports_response_schema, self.use_native_function_calling
        stamp, kept = stamp_of(signature), _formats.get(signature)
        if kept is None or kept[0] != stamp:
            kept = _formats[signature] = stamp, {}
        if able not in kept[1]:
            super()._prepare_response_format(lm, lm_kwargs, signature)
            kept[1][able] = lm_kwargs.get("response_format")
        elif kept[1][able] is not None:
            lm_kwargs["response_format"] = kept[1][able]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the outputs in ``completion``.

        Raises:
            AdapterParseError: it holds no object, or an output is missing or could be read in more than one way.
        """
        try:
            reader = reader_of(signature)
            values = _object(restore_markers(completion[skip_thoughts(completion, _OBJECT_OR_THOUGHTS) :]))
            return reader.collect(_named(reader, values.items()), from_text=False)
        except AnswerFormatError as error:
            raise AdapterParseError(type(self).__name__, signature, completion, f"The answer {error}.") from error


class StrictJSONAdapter(_StrictJSON):
    """Writes the prompts of ``dspy.JSONAdapter`` and reads the answers strictly."""


class StrictBAMLAdapter(_StrictJSON, BAMLAdapter):
    """Writes the prompts of DSPy's ``BAMLAdapter`` and reads the answers strictly."""


class StrictXMLAdapter(dspy.XMLAdapter):
    """Writes the prompts of ``dspy.XMLAdapter`` and refuses answers that could be read in more than one way.

    An answer that cannot be read is an error, and not a reason for a second call in JSON format, as in DSPy.

    Args:
        callbacks: DSPy callbacks of this adapter alone.
    """

    def __init__(self, callbacks: list[Any] | None = None) -> None:
        super().__init__(callbacks=callbacks, use_json_adapter_fallback=False)

    def _make_json_adapter_fallback(self) -> StrictJSONAdapter:
        """Return the adapter of a second call, for a host whose ``dspy.XMLAdapter`` makes one."""
        return StrictJSONAdapter(
            use_native_function_calling=self.use_native_function_calling, parallel_tool_calls=self.parallel_tool_calls
        )

    def format_user_message_content(
        self, signature: Any, inputs: Any, prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        """Return the text of a user message."""
        tags = TagMarkers([*signature.input_fields, *signature.output_fields])
        safe = {name: disarmed_value(signature.input_fields.get(name), value, tags) for name, value in inputs.items()}
        return PromptText(super().format_user_message_content(signature, safe, prefix, suffix, main_request))

    def format_assistant_message_content(
        self, signature: Any, outputs: Any, missing_field_message: str | None = None
    ) -> str:
        """Return the text of an answer in a demo."""
        tags = TagMarkers([*signature.input_fields, *signature.output_fields])
        safe = {name: disarmed_value(signature.output_fields.get(name), value, tags) for name, value in outputs.items()}
        content: str = super().format_assistant_message_content(signature, safe, missing_field_message)
        return content

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the outputs in ``completion``.

        Raises:
            AdapterParseError: it is not valid XML, or an output is missing or could be read in more than one way.
        """
        try:
            reader = reader_of(signature)
            names = "|".join(map(re.escape, signature.output_fields))
            text = completion[skip_thoughts(completion, begin_of_answer(rf"<(?:{names})\b")) :]
            parts = list(self._parts(signature, reader, text))
            return reader.collect(parts, from_text=False)
        except AnswerFormatError as error:
            raise AdapterParseError(type(self).__name__, signature, completion, f"The answer {error}.") from error

    def _parts(self, signature: Any, reader: AnswerReader, text: str) -> Iterator[tuple[str, Any]]:
        try:
            # A parser of XML turns the ends of lines of Windows into others, unless they are written as entities.
            kept = _CARRIAGE_RETURN.sub(lambda found: found[1] or "&#13;", text) if "\r" in text else text
            root = ElementTree.fromstring(f"<answer_root>{kept}</answer_root>")  # noqa: S314  # it can declare no entity
        except ElementTree.ParseError as error:
            raise AnswerFormatError(f"is not valid XML: {error}") from None
        tags = TagMarkers([*signature.input_fields, *signature.output_fields])
        said = {reader.name(element.tag) for element in root}
        for element in root:
            name = reader.name(element.tag)
            if name is None:
                continue
            field = table_field(name, signature.output_fields[name])
            if field is not None and {member.kind for member in field.shape.members} == {"str"}:
                inside = {reader.name(part.tag) for part in element.iter()} - said - {None}
                if inside:
                    raise AnswerFormatError(f"has the output {inside.pop()} inside a text", name)
                value: Any = _text_of(element, text)
            else:
                value = self._value(signature.output_fields[name], element)
            yield name, _restored(value, tags)

    def _value(self, info: Any, element: Any) -> Any:
        """Return the value of an element whose field is not a text: nested tags as DSPy writes them, or JSON."""
        if not list(element):
            return _structure(without_fence(element.text or ""))
        schema = TypeAdapter(info.annotation).json_schema(by_alias=False)
        for candidate in (schema, *schema.get("anyOf", [])):
            try:
                return self._elements_to_value([element], candidate, schema.get("$defs", {}))
            except ValueError:
                continue
        raise AnswerFormatError(f"does not fit the output {element.tag}")


def _restored(value: Any, tags: TagMarkers) -> Any:
    """Return ``value`` with the markers and tags that its texts had before they were disarmed."""
    if isinstance(value, str):
        return tags.restore(restore_markers(value))
    if isinstance(value, list):
        return [_restored(item, tags) for item in value]
    if isinstance(value, dict):
        return {_restored(key, tags): _restored(item, tags) for key, item in value.items()}
    return value


def _structure(text: str) -> Any:
    try:
        return parse_structure(text)
    except NotJSON as problem:
        if problem.certain:
            raise AnswerFormatError(f"holds a value that {problem}") from None
    return text


def _text_of(element: Any, text: str) -> str:
    """Return the text of an element as it was written, tags in it included."""
    if not list(element) and "<!--" not in text and "<?" not in text:
        return trim_blank_lines(element.text or "")
    opening, closing = re.compile(rf"<{element.tag}\s*>"), re.compile(rf"</{element.tag}\s*>")
    first, last = opening.search(text), list(closing.finditer(text))
    if first is None or len(last) != 1 or len(opening.findall(text)) != 1:
        raise AnswerFormatError(f"has two values for the output {element.tag}", element.tag)
    inner = text[first.end() : last[0].start()]
    return trim_blank_lines(_ENTITY.sub(lambda found: _ENTITIES[found[1]], inner))


def _named(reader: AnswerReader, items: Any) -> Iterator[tuple[str, Any]]:
    for written, value in items:
        name = reader.name(str(written).strip())
        if name is not None:
            yield name, value


def _object(text: str) -> Mapping[str, Any]:
    """Return the only JSON object in ``text``, which may have prose or a code fence around it."""
    stripped = without_fence(text)
    blocks = FENCED.findall(text) if text.count("```") == 2 else []
    braces = text[text.find("{") : text.rfind("}") + 1]
    for candidate in (stripped, *(block.strip() for block in blocks), braces):
        try:
            value = parse_structure(candidate)
        except NotJSON as problem:
            if problem.certain:
                raise AnswerFormatError(f"holds an object that {problem}") from None
        else:
            if isinstance(value, dict):
                return value
    raise AnswerFormatError("holds no JSON object that can be read")
