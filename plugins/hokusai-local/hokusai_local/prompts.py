"""The wording of prompts for very small models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dspy.adapters.utils import format_field_value

from hokusai_local.fields import closed_values, single_output

__all__ = ["asks_questions", "describe", "label", "render_inputs", "wants_code", "without_labels", "word_limit"]

_CODE = re.compile(
    r"\b(code|coding|function|script|program|json|yaml|xml|html|sql|regex|template|markdown|python|java)", re.I
)
_NO_INSTRUCTIONS = re.compile(r"Given the fields `.*`, produce the fields `", re.S)
_WORDS = re.compile(r"(\d{1,4})\s*(?:words?|Wörter|mots|palabras|parole|$)", re.I)
_PUNCTUATION = re.compile(r"[\[\]{}]")


def label(name: str) -> str:
    """Return the words for a field's name: ``email_body`` becomes ``Email body``."""
    return name.replace("_", " ").strip().capitalize()


def describe(signature: Any, *, name_options: bool) -> str:
    """Return the system message: the instructions, then a line for each output that has something to say.

    Where there are instructions they are enough: a small model takes the description of an output for the beginning
    of it, and copies it.

    Args:
        signature: the signature that is asked.
        name_options: whether to name the options of a single choice.
    """
    lines = [_instructions(signature)]
    for name, info in signature.output_fields.items():
        values = closed_values(info.annotation)
        description = _description(name, info)
        if values is not None and (name_options or single_output(signature) is None):
            lines.append(f"{label(name)} must be one of: {', '.join(values)}.")
        elif values is None and description and not lines[0]:
            lines.append(f"{label(name)}: {description}")
    if single_output(signature) is None:
        lines.append(f"Answer with a JSON object with the keys {', '.join(signature.output_fields)}.")
    # Chat templates want something in the system message.
    return "\n".join(line for line in lines if line) or f"Give the {', '.join(map(_words, signature.output_fields))}."


def _words(name: str) -> str:
    return name.replace("_", " ")


def _instructions(signature: Any) -> str:
    text = str(signature.instructions).strip()
    # What DSPy writes where nobody wrote instructions names the fields with marks that a small model copies.
    return "" if _NO_INSTRUCTIONS.match(text) else text


def _description(name: str, info: Any) -> str:
    text = str((info.json_schema_extra or {}).get("desc") or "").strip()
    # DSPy's own placeholder for a field that nobody described.
    return "" if text == f"${{{name}}}" else text


def asks_questions(name: str) -> bool:
    """Return whether an output of this name holds a question, or nothing but questions."""
    return name.lower().endswith(("question", "questions"))


def without_labels(signature: Any, name: str, text: str) -> str:
    """Return a text answer without what small models copy of a prompt's form.

    That is the output's own name in front of it, and lines that repeat an input under the input's name.

    Args:
        signature: the signature that was asked.
        name: its output.
        text: the answer.
    """
    head, colon, rest = text.partition(":")
    if colon and rest.strip() and head.strip().lower() == label(name).lower():
        text = rest.strip()
    inputs = {label(field).lower() for field in signature.input_fields}
    lines = text.split("\n")
    own = [line for line in lines if line.partition(":")[0].strip().lower() not in inputs or ":" not in line]
    return "\n".join(own).strip() or text


def word_limit(inputs: Mapping[str, Any]) -> int | None:
    """Return the longest that a text may be, in words, where an input says so; None where none does.

    Example:
        >>> word_limit({"document": "...", "max_length": "about 50 words"})
        50
    """
    for name, value in inputs.items():
        if "length" not in name.lower() or isinstance(value, bool):
            continue
        if isinstance(value, int):
            return value if value > 0 else None
        found = _WORDS.search(str(value))
        if found:
            return int(found[1])
    return None


def render_inputs(signature: Any, inputs: Mapping[str, Any]) -> list[str]:
    """Return one line or paragraph per input.

    The options of a single choice are left out: a list of them behind the text makes a small model forget the text.
    """
    options = _options(signature)
    return [
        f"{label(name)}: {_value(info, inputs[name])}"
        for name, info in signature.input_fields.items()
        if inputs.get(name) is not None and not (options and inputs[name] == options)
    ]


def _options(signature: Any) -> list[str]:
    name = single_output(signature)
    return list(closed_values(signature.output_fields[name].annotation) or ()) if name else []


def _value(info: Any, value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        short = sum(map(len, value)) < 200 and not any("\n" in item for item in value)
        return ", ".join(value) if short else "\n" + "\n".join(f"- {item}" for item in value)
    rendered = format_field_value(field_info=info, value=value)
    return rendered if isinstance(rendered, str) else str(rendered.get("text", rendered))


def wants_code(signature: Any, inputs: Mapping[str, Any]) -> bool:
    """Return whether brackets and braces belong into the answer: it may be code, or the inputs have them, too."""
    texts = [value for value in inputs.values() if isinstance(value, str)]
    if any(_PUNCTUATION.search(text) for text in texts):
        return True
    words = [
        signature.instructions,
        *(f"{label(name)} {_description(name, info)}" for name, info in signature.output_fields.items()),
    ]
    return any(_CODE.search(text) for text in words)
