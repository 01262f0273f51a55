"""Adapters for DSPy's JSON and XML formats that read answers as strictly as the chat format."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any
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
from hokusai_core.dspy_bridge.answer_stream import AnswerBegin, AnswerStream, TrimmedText
from hokusai_core.dspy_bridge.json_answer_stream import BEGIN_OF_OBJECT, JSONAnswerStream
from hokusai_core.dspy_bridge.output_readers import FENCED, reader_of, stamp_of, table_field
from hokusai_core.dspy_bridge.prompt_plan import disarmed_value
from hokusai_core.dspy_bridge.text_markers import BEGUN_TAG, PromptText, TagMarkers, restore_markers
from hokusai_core.dspy_bridge.xml_answer_stream import XMLAnswerStream
from hokusai_core.dspy_bridge.xml_markup import TopElement, top_elements
from hokusai_core.signatures.text_json import NotJSON, parse_structure, without_fence
from hokusai_core.stream_events import StreamListener

__all__ = ["StrictBAMLAdapter", "StrictJSONAdapter", "StrictXMLAdapter"]

#: How an object begins that is no part of a sentence.
_BEGUN_OBJECT = re.compile(r'\{\s*"')
#: Kinds of values of an output that is a text, or an optional one.
_TEXTS = frozenset({"str", "null"})
#: A tag or section as it is, or else the character that XML does not keep in texts.
_CARRIAGE_RETURN = re.compile(r"(<!\[CDATA\[.*?\]\]>|<[^<>]*>)|\r", re.DOTALL)

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
            values = _object(restore_markers(completion[skip_thoughts(completion, BEGIN_OF_OBJECT) :]))
            return reader.collect(_named(reader, values.items()), from_text=False)
        except AnswerFormatError as error:
            raise AdapterParseError(type(self).__name__, signature, completion, f"The answer {error}.") from error

    def answer_stream(self, signature: Any, names: Mapping[str, str], listener: StreamListener) -> AnswerStream:
        """Return what tells a listener of the parts of an answer while it comes in; see ``AnswerStream``."""
        return JSONAnswerStream(reader_of(signature), _certain_names(signature, names), listener)


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
            outputs = _XMLOutputs(signature)
            text = completion[skip_thoughts(completion, outputs.begin) :]
            return outputs.reader.collect(list(self._parts(outputs, text)), from_text=False)
        except AnswerFormatError as error:
            raise AdapterParseError(type(self).__name__, signature, completion, f"The answer {error}.") from error

    def answer_stream(self, signature: Any, names: Mapping[str, str], listener: StreamListener) -> AnswerStream:
        """Return what tells a listener of the parts of an answer while it comes in; see ``AnswerStream``."""
        outputs = _XMLOutputs(signature)
        longest = max(map(len, signature.output_fields), default=0) + 2
        return XMLAnswerStream(
            outputs.reader,
            _certain_names(signature, names),
            listener,
            AnswerBegin(outputs.begin, longest, keeps_prose=True),
            lambda name, part: self._read(outputs, name, part, _parsed(part.source)[0]),
            lambda name: TrimmedText(name, listener, outputs.restore, BEGUN_TAG),
        )

    def _parts(self, outputs: _XMLOutputs, text: str) -> Iterator[tuple[str, Any]]:
        root = _parsed(text)
        said = {outputs.reader.name(element.tag) for element in root}
        for element, part in zip(root, top_elements(text), strict=True):
            name = outputs.reader.name(element.tag)
            if name is None:
                continue
            inside = [outputs.reader.name(inner.tag) for inner in element.iter()][1:]
            for other in inside if "str" in outputs.kinds[name] and outputs.kinds[name] <= _TEXTS else ():
                if other == name:
                    raise AnswerFormatError(f"has two values for the output {name}", name)
                if other is not None and other not in said:
                    raise AnswerFormatError(f"has the output {other} inside a text", name)
            yield name, self._read(outputs, name, part, element)

    def _read(self, outputs: _XMLOutputs, name: str, part: TopElement, element: Any) -> Any:
        """Return what an element says: a text as it is written, or nested tags as DSPy writes them, or JSON."""
        kinds = outputs.kinds[name]
        if "str" in kinds and (kinds <= _TEXTS or not list(element)):
            text = outputs.restore(trim_blank_lines(part.text))
            try:
                return outputs.reader.read_output(name, text)  # of several types the text says which
            except ValueError as error:
                raise AnswerFormatError(f"does not fit the output {name}: {error}", name) from error
        return _restored(self._value(outputs.fields[name], element), outputs.restore)

    def _value(self, info: Any, element: Any) -> Any:
        if not list(element):
            return _structure(without_fence(element.text or ""))
        schema = TypeAdapter(info.annotation).json_schema(by_alias=False)
        for candidate in (schema, *schema.get("anyOf", [])):
            try:
                return self._elements_to_value([element], candidate, schema.get("$defs", {}))
            except ValueError:
                continue
        raise AnswerFormatError(f"does not fit the output {element.tag}")


class _XMLOutputs:
    """The outputs of a signature as answers in XML have them."""

    def __init__(self, signature: Any) -> None:
        self.fields = signature.output_fields
        self.reader = reader_of(signature)
        self.tags = TagMarkers([*signature.input_fields, *self.fields])
        self.begin = begin_of_answer(rf"<(?:{'|'.join(map(re.escape, self.fields))})\b")

    @cached_property
    def kinds(self) -> dict[str, frozenset[str]]:
        """The kinds of values that each output may have; none for types outside of the table."""
        found = {name: table_field(name, info) for name, info in self.fields.items()}
        return {
            name: frozenset(member.kind for member in field.shape.members) if field else frozenset()
            for name, field in found.items()
        }

    def restore(self, text: str) -> str:
        """Return a text with the markers and tags that it had before they were disarmed."""
        return self.tags.restore(restore_markers(text))


def _certain_names(signature: Any, names: Mapping[str, str]) -> dict[str, str]:
    """Return those outputs that nothing but the text of the answer decides about; DSPy may fill in its own types."""
    return {name: own for name, own in names.items() if table_field(name, signature.output_fields[name]) is not None}


def _parsed(text: str) -> Any:
    """Return an element around the elements of a text.

    Raises:
        AnswerFormatError: it is not well formed.
    """
    try:
        # A parser of XML turns the ends of lines of Windows into others, unless they are written as entities.
        kept = _CARRIAGE_RETURN.sub(lambda found: found[1] or "&#13;", text) if "\r" in text else text
        return ElementTree.fromstring(f"<answer_root>{kept}</answer_root>")  # noqa: S314  # it can declare no entity
    except ElementTree.ParseError as error:
        raise AnswerFormatError(f"is not valid XML: {error}") from None


def _restored(value: Any, restore: Callable[[str], str]) -> Any:
    """Return ``value`` with its texts restored, at every depth."""
    if isinstance(value, str):
        return restore(value)
    if isinstance(value, list):
        return [_restored(item, restore) for item in value]
    if isinstance(value, dict):
        return {_restored(key, restore): _restored(item, restore) for key, item in value.items()}
    return value


def _structure(text: str) -> Any:
    try:
        return parse_structure(text)
    except NotJSON as problem:
        if problem.certain:
            raise AnswerFormatError(f"holds a value that {problem}") from None
    return text


def _named(reader: AnswerReader, items: Any) -> Iterator[tuple[str, Any]]:
    for written, value in items:
        name = reader.name(str(written).strip())
        if name is not None:
            yield name, value


def _object(text: str) -> Mapping[str, Any]:
    """Return the only JSON object in ``text``, which may have prose or a code fence around it."""
    for candidate in _candidates(text):
        try:
            value = parse_structure(candidate)
        except NotJSON as problem:
            if problem.certain:
                raise AnswerFormatError(f"holds an object that {problem}") from None
        else:
            if isinstance(value, dict):
                return value
    raise AnswerFormatError("holds no JSON object that can be read")


def _candidates(text: str) -> Iterator[str]:
    """Yield what may be the object of an answer, likely ones first; each begins with the first brace."""
    yield without_fence(text)
    first = text.find("{")
    for block in FENCED.finditer(text) if text.count("```") == 2 else ():
        if block.start(1) <= first < block.end(1) or not _BEGUN_OBJECT.match(text, first):
            yield block[1].strip()
        else:
            raise AnswerFormatError("holds an object beside its code fence")
    yield text[first : text.rfind("}") + 1]
