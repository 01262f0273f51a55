"""PromptPlan: what of a signature's prompt is the same in every call, made once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from dspy.adapters.types import History, Type
from dspy.adapters.types.base_type import CUSTOM_TYPE_START_IDENTIFIER

from hokusai_core.dspy_bridge.value_text import format_value, parser_for

__all__ = ["PromptPlan", "stamp_of"]

_HEADER = re.compile(r"\[\[ ## (\w+) ## \]\]")
_END_OF_ANSWER = "\n\n[[ ## completed ## ]]\n"
#: Sets of demos whose messages are kept for one signature; two executors with other demos rarely share a signature.
_DEMO_SETS = 4


def stamp_of(signature: Any) -> tuple[Any, ...]:
    """Return what the prompt of ``signature`` is made of, as the objects themselves.

    Signature classes can be changed in place (DSPy's own optimizers do), so a plan is good only while the stamp of
    its signature still equals its own.
    """
    return (
        signature.__doc__,
        *[
            (name, info.annotation, extra.get("desc"), extra.get("constraints"), extra.get("__dspy_field_type"))
            for name, info in signature.model_fields.items()
            for extra in (info.json_schema_extra,)
        ],
    )


def _is_plain(signature: Any) -> bool:
    """Whether no field needs more than text: no history, no tools, no media, no type with a format of its own."""
    return not any(
        info.annotation == History or Type.extract_custom_type_from_annotation(info.rebuild_annotation())
        for info in signature.model_fields.values()
    )


class PromptWriter(Protocol):
    """Writes the constant texts of a prompt; DSPy's chat adapter does."""

    def format_system_message(self, signature: Any) -> str:
        """Return the system message."""
        ...

    def user_message_output_requirements(self, signature: Any) -> str | None:
        """Return the reminder that ends the user message."""
        ...


@frozen(eq=False)
class _Field:
    """One field, with everything that can be settled ahead."""

    name: str
    header: str
    info: Any

    def text(self, value: Any) -> str:
        return f"{self.header}{format_value(self.info, value)}"


def _fields(infos: Mapping[str, Any]) -> tuple[_Field, ...]:
    return tuple(_Field(name, f"[[ ## {name} ## ]]\n", info) for name, info in infos.items())


@define(eq=False)
class PromptPlan:
    """The constant parts of the prompts of one signature.

    Args:
        stamp: what they were made of.
        plain: whether the signature can be handled here at all; else DSPy's own code does everything.
        system: the system message.
        requirements: the reminder that ends the user message.
        inputs: the input fields.
        outputs: the output fields.
        parsers: output name -> what reads its text.
    """

    stamp: tuple[Any, ...]
    plain: bool
    system: str = ""
    requirements: str | None = None
    inputs: tuple[_Field, ...] = ()
    outputs: tuple[_Field, ...] = ()
    parsers: Mapping[str, Callable[[str], Any]] = field(factory=dict)
    _demos: list[tuple[Sequence[Any], tuple[Mapping[str, Any], ...]]] = field(factory=list)

    @classmethod
    def of(cls, writer: PromptWriter, signature: Any) -> PromptPlan:
        """Return the plan of ``signature``, its constant texts written by ``writer``."""
        stamp = stamp_of(signature)
        if not _is_plain(signature):
            return cls(stamp, plain=False)
        outputs = signature.output_fields
        return cls(
            stamp,
            plain=True,
            system=writer.format_system_message(signature),
            requirements=writer.user_message_output_requirements(signature),
            inputs=_fields(signature.input_fields),
            outputs=_fields(outputs),
            parsers={name: parser_for(info.annotation) for name, info in outputs.items()},
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
        parts = [item.text(values.get(item.name, missing)) for item in self.outputs]
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

    def parse(self, completion: str) -> dict[str, Any] | None:
        """Return the outputs in ``completion``; None where DSPy's own parser has to say what is wrong or missing."""
        sections = _sections(completion)
        found: dict[str, Any] = {}
        for name, lines in sections:
            parser = self.parsers.get(name)
            if parser is None or name in found:
                continue
            try:
                found[name] = parser("\n".join(lines).strip())
            except ValueError:
                return None
        if len(found) != len(self.parsers):
            return None
        return {name: found[name] for name in self.parsers}


def _sections(completion: str) -> list[tuple[str, list[str]]]:
    """Return the parts of an answer, each with the name in the header above it; text before the first is left out."""
    sections: list[tuple[str, list[str]]] = []
    lines: list[str] = []
    for line in completion.splitlines():
        match = _HEADER.match(line.strip()) if "[[ ## " in line else None
        if match is None:
            lines.append(line)
            continue
        # counted from the start of the line, indentation included: that is how DSPy cuts, and both must agree
        rest = line[match.end() :].strip()
        lines = [rest] if rest else []
        sections.append((match.group(1), lines))
    return sections


def has_media_marker(content: str) -> bool:
    """Whether DSPy would turn part of ``content`` into an image, a file or the like."""
    return CUSTOM_TYPE_START_IDENTIFIER in content
