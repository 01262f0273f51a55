"""PromptPlan: the parts of a signature's prompt that are the same in every call, built once."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from dspy import History, Type
from dspy.adapters.types.base_type import CUSTOM_TYPE_START_IDENTIFIER
from dspy.adapters.utils import format_field_value, serialize_for_json

from hokusai_core.dspy_bridge.answer_reader import AnswerReader
from hokusai_core.dspy_bridge.output_readers import reader_of, stamp_of, table_field
from hokusai_core.dspy_bridge.text_markers import PromptText, TagMarkers, disarm_markers
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.signatures.spec import FieldSpec
from hokusai_core.signatures.value_text import reads_as

__all__ = ["PromptPlan", "disarmed_value", "has_media", "holds_special"]

_END_OF_ANSWER = "\n\n[[ ## completed ## ]]\n"
#: Sets of demos whose messages are kept for one signature; two executors with other demos rarely share a signature.
_DEMO_SETS = 4
_SCALARS = (int, bool, float, type(None))
#: As ``json.dumps`` writes it, which makes an encoder for each call.
_list_text = json.JSONEncoder(ensure_ascii=False).encode


def _is_special(info: Any) -> bool:
    """Whether a field needs more than text: a history, tools, media, or a type with a format of its own."""
    return info.annotation == History or bool(Type.extract_custom_type_from_annotation(info.rebuild_annotation()))


def holds_special(value: Any) -> bool:
    """Whether an object of one of DSPy's types stands in ``value``, whatever the field says."""
    if isinstance(value, Mapping):
        return any(map(holds_special, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(holds_special, value))
    return isinstance(value, Type)


def disarmed_value(info: Any, value: Any, tags: TagMarkers | None = None) -> Any:
    """Return ``value`` with no marker of a prompt in its texts; an object of one of DSPy's types as it is.

    Args:
        info: the DSPy field, None for a value that belongs to none.
        value: its value.
        tags: tags that are no part of a text either, for a prompt in XML.
    """
    if info is None or type(value) is PromptText or _is_special(info) or holds_special(value):
        return value

    def disarm(part: Any) -> Any:
        if isinstance(part, str):
            return disarm_markers(part) if tags is None else tags.disarm(disarm_markers(part))
        if isinstance(part, list):
            return [disarm(item) for item in part]
        if isinstance(part, dict):
            return {disarm(key): disarm(item) for key, item in part.items()}
        return part

    if type(value) is str:
        return disarm(value)
    if _has_fine_offset(value):
        return disarm(jsonable(value))
    plain = serialize_for_json(value)
    safe = disarm(plain)
    return value if safe == plain else safe


@frozen(eq=False)
class _Field:
    """One field, with everything that can be settled ahead."""

    name: str
    header: str
    info: Any
    special: bool
    #: An output as the table of types has it, None for an input and any other type.
    output: FieldSpec | None = None

    def answer(self, value: Any) -> str:
        """Return header and value as an answer of a demo shows them: so that they would be read as the same value."""
        if self.output is None or (type(value) is str and self.info.annotation is str):
            return self.text(value)
        try:
            said, written = self.output.coerce(value), _written(self.info, value)
            if not reads_as(self.output.text_reader, written, said):
                written = self.output.text_writer(value)
        except CoercionError:  # the demo of a host may say anything
            return self.text(value)
        return self.header + disarm_markers(written)

    def text(self, value: Any) -> str:
        """Return header and value, the value with no marker in it that could pass for part of the prompt."""
        kind = type(value)
        if kind is str:
            return self.header + disarm_markers(value)
        if kind in _SCALARS:
            return f"{self.header}{value}"
        if kind is list and self.info.annotation is not str and all(type(item) is str for item in value):
            return self.header + disarm_markers(_list_text(value))
        written = _written(self.info, value)
        if self.special or kind is PromptText or holds_special(value):
            return f"{self.header}{written}"  # the marker in it is DSPy's own, or has been looked at already
        return self.header + disarm_markers(written)


def _has_fine_offset(value: Any) -> bool:
    """Whether a time in ``value`` has a UTC offset with seconds, which DSPy would leave out."""
    if isinstance(value, (datetime.datetime, datetime.time)):
        offset = value.utcoffset() if value.tzinfo is not None else None
        return offset is not None and bool(offset % datetime.timedelta(minutes=1))
    if isinstance(value, (list, tuple)):
        return any(map(_has_fine_offset, value))
    return isinstance(value, dict) and any(map(_has_fine_offset, value.values()))


def _written(info: Any, value: Any) -> str:
    """Return a value as DSPy writes it, with the items of a set in the same order in every process."""
    plain = jsonable(value) if isinstance(value, (set, frozenset)) or _has_fine_offset(value) else value
    return str(format_field_value(field_info=info, value=plain))


def _fields(infos: Mapping[str, Any], *, outputs: bool = False) -> tuple[_Field, ...]:
    return tuple(
        _Field(name, f"[[ ## {name} ## ]]\n", info, _is_special(info), table_field(name, info) if outputs else None)
        for name, info in infos.items()
    )


class PromptWriter(Protocol):
    """Writes the constant texts of a prompt; DSPy's chat adapter does."""

    def format_system_message(self, signature: Any) -> str:
        """Return the system message."""
        ...

    def user_message_output_requirements(self, signature: Any) -> str | None:
        """Return the reminder that ends the user message."""
        ...


@define(eq=False)
class PromptPlan:
    """The constant parts of the prompts of one signature.

    Args:
        stamp: what they were made of.
        plain: whether no field needs more than text; else DSPy puts the messages together.
        inputs: the input fields.
        outputs: the output fields.
        reader: reads the answers.
        requirements: the reminder that ends the user message.
        system: the system message; empty where DSPy writes it.
    """

    stamp: tuple[Any, ...]
    plain: bool
    inputs: tuple[_Field, ...]
    outputs: tuple[_Field, ...]
    reader: AnswerReader
    requirements: str | None
    system: str = ""
    _demos: list[tuple[Sequence[Any], tuple[Mapping[str, Any], ...]]] = field(factory=list)

    @classmethod
    def of(cls, writer: PromptWriter, signature: Any) -> PromptPlan:
        """Return the plan of ``signature``, its constant texts written by ``writer``."""
        inputs, outputs = _fields(signature.input_fields), _fields(signature.output_fields, outputs=True)
        plain = not any(item.special for item in (*inputs, *outputs))
        return cls(
            stamp_of(signature),
            plain,
            inputs,
            outputs,
            reader_of(signature),
            writer.user_message_output_requirements(signature),
            writer.format_system_message(signature) if plain else "",
        )

    def user_content(self, values: Any, prefix: str = "", suffix: str = "", *, main_request: bool = False) -> str:
        """Return a user message; ``values`` may lack some of the inputs."""
        parts = [prefix]
        parts += [item.text(values.get(item.name)) for item in self.inputs if item.name in values]
        if main_request and self.requirements is not None:
            parts.append(self.requirements)
        parts.append(suffix)
        return "\n\n".join(parts).strip()

    def assistant_content(self, values: Any, missing: str | None) -> str:
        """Return an answer as a demo shows it."""
        parts = [item.answer(values.get(item.name, missing)) for item in self.outputs]
        return "\n\n".join(parts).strip() + _END_OF_ANSWER

    def demo_messages(self, demos: Sequence[Any], make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return the messages of ``demos``; those of a tuple are made once, because a tuple stays what it is."""
        if not demos:
            return []
        if type(demos) is not tuple:
            return make()
        for known, messages in self._demos:
            if known is demos:
                return [dict(message) for message in messages]
        made = make()
        self._demos = [*self._demos[1 - _DEMO_SETS :], (demos, tuple(dict(message) for message in made))]
        return made


def has_media(content: str) -> bool:
    """Whether DSPy has to turn part of ``content`` into an image, a file or the like."""
    return CUSTOM_TYPE_START_IDENTIFIER in content
