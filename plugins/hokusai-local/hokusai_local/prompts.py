"""The wording of prompts for very small models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dspy.adapters.utils import format_field_value

from hokusai_local.fields import closed_values, single_output

__all__ = [
    "ask_for",
    "asks_questions",
    "describe",
    "has_brackets",
    "how_many",
    "is_code",
    "label",
    "render_inputs",
    "rewriting_messages",
    "wants_code",
    "without_labels",
    "word_limit",
]

_CODE = re.compile(
    r"\b(code|coding|function|script|program|json|yaml|xml|html|sql|regex|template|markdown|python|java)", re.I
)
_NO_INSTRUCTIONS = re.compile(r"Given the fields `.*`, produce the fields `", re.S)
_WORDS = re.compile(r"(\d{1,4})\s*(?:words?|Wörter|mots|palabras|parole|$)", re.I)
_REWRITES = re.compile(
    r"(Rewrite|Revise|Rephrase|Reword|Paraphrase|Edit|Proofread|Polish|Correct|Improve|Simplify|Shorten|Condense)\b"
)
# The opening under which small chat models learned to give the new text, and no talk about it.
_REWRITER = "You're an AI assistant for text re-writing."
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
_COUNT = rf"(?<!up to )(?<!at most )(?<!at least )\b({'|'.join(_NUMBERS)}|[2-9])"
#: Share of an answer that has to be left for the lines that repeat inputs to go as a whole.
_LEAST_LEFT = 0.25
_PUNCTUATION = re.compile(r"[\[\]{}]")


def label(name: str) -> str:
    """Return the words for a field's name: ``email_body`` becomes ``Email body``."""
    return _words(name).capitalize()


def ask_for(name: str) -> str:
    """Return the sentence that asks for an output: ``email_body`` becomes ``Write the email body.``"""
    return f"Write the {_words(name)}."


def describe(signature: Any, *, name_options: bool, in_turns: bool = False) -> str:
    """Return the system message: the instructions, then a line for each output that has something to say.

    Where there are instructions they are enough: a small model takes the description of an output for the beginning
    of it, and copies it.

    Args:
        signature: the signature that is asked.
        name_options: whether to name the options of a single choice.
        in_turns: whether the outputs are asked for one after the other, rather than as JSON.
    """
    lines = [_instructions(signature)]
    for name, info in signature.output_fields.items():
        values = closed_values(info.annotation)
        description = _description(name, info)
        if values is not None and (name_options or single_output(signature) is None):
            lines.append(f"{label(name)} must be one of: {', '.join(values)}.")
        elif values is None and description and not lines[0]:
            lines.append(f"{label(name)}: {description}")
    if single_output(signature) is None and not in_turns:
        lines.append(f"Answer with a JSON object with the keys {', '.join(signature.output_fields)}.")
    # Chat templates want something in the system message.
    return "\n".join(line for line in lines if line) or f"Give the {', '.join(map(_words, signature.output_fields))}."


def _words(name: str) -> str:
    return name.replace("_", " ").strip()


def _instructions(signature: Any) -> str:
    text = str(signature.instructions).strip()
    # DSPy's own text for a signature without instructions names the fields with marks that a small model copies.
    return "" if _NO_INSTRUCTIONS.match(text) else text


def _description(name: str, info: Any) -> str:
    text = str((info.json_schema_extra or {}).get("desc") or "").strip()
    # DSPy's own placeholder for a field without a description.
    return "" if text == f"${{{name}}}" else text


def rewriting_messages(signature: Any, inputs: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the prompt for a new version of a text; None where the instructions ask for something else.

    The text stands alone, as in what small chat models learned rewriting from; what to do with it precedes it. With
    names before the inputs they talk about the text instead.

    Args:
        signature: the signature that is asked.
        inputs: its inputs, of which the longest text is the one to rewrite.
    """
    texts = [name for name in signature.input_fields if isinstance(inputs.get(name), str) and inputs[name].strip()]
    if not texts or single_output(signature) is None or not _REWRITES.match(_instructions(signature)):
        return None
    source = max(texts, key=lambda name: len(inputs[name]))
    others = {name: value for name, value in inputs.items() if name != source}
    how = [_REWRITER, _instructions(signature), *render_inputs(signature, others)]
    return [{"role": "system", "content": "\n".join(how)}, {"role": "user", "content": inputs[source]}]


def how_many(signature: Any, name: str) -> int | None:
    """Return how many items of an output the instructions ask for; None where they leave it open.

    Example:
        >>> import dspy
        >>> how_many(dspy.Signature("text -> key_points: list[str]", "Give the three main points."), "key_points")
        3
    """
    noun = re.escape(name.rpartition("_")[2])
    found = re.search(rf"{_COUNT}(?: (?!or\b)\w+){{0,2}} {noun}\b", str(signature.instructions), re.I)
    return (_NUMBERS.get(found[1].lower()) or int(found[1])) if found else None


def asks_questions(name: str) -> bool:
    """Return whether an output of this name holds a question, or nothing but questions."""
    return name.lower().endswith(("question", "questions"))


def without_labels(signature: Any, name: str, text: str) -> str:
    """Return a text answer without what small models copy of a prompt's form.

    That is the output's own name in front of it, and lines that repeat an input under the input's name. Of an answer
    that consists of little else only the names go.

    Args:
        signature: the signature that was asked.
        name: its output.
        text: the answer.
    """
    head, colon, rest = text.partition(":")
    if colon and rest.strip() and head.strip().lower() == label(name).lower():
        text = rest.strip()
    inputs = {label(field).lower() for field in signature.input_fields}
    own, named = [], []
    for line in text.split("\n"):
        head, colon, rest = line.partition(":")
        is_copy = bool(colon) and head.strip().lower() in inputs
        own += [] if is_copy else [line]
        named += [rest.strip() if is_copy else line]
    rest = "\n".join(own).strip()
    return rest if len(rest) >= _LEAST_LEFT * len(text) else "\n".join(named).strip() or text


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
        if not _is_missing(inputs.get(name), choice=bool(options)) and not (options and inputs[name] == options)
    ]


def _is_missing(value: Any, *, choice: bool) -> bool:
    # What a choice is calibrated with is a prompt around nothing; elsewhere a name without a value only confuses.
    return value is None or (not choice and isinstance(value, (str, list, tuple, dict)) and not value)


def _options(signature: Any) -> list[str]:
    name = single_output(signature)
    return list(closed_values(signature.output_fields[name].annotation) or ()) if name else []


def _value(info: Any, value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        short = sum(map(len, value)) < 200 and not any("\n" in item for item in value)
        return ", ".join(value) if short else "\n" + "\n".join(f"- {item}" for item in value)
    rendered = format_field_value(field_info=info, value=value)
    return rendered if isinstance(rendered, str) else str(rendered.get("text", rendered))


def has_brackets(inputs: Mapping[str, Any]) -> bool:
    """Return whether inputs have brackets or braces, so that an answer may need them, too."""
    return any(_PUNCTUATION.search(value) for value in inputs.values() if isinstance(value, str))


def is_code(name: str) -> bool:
    """Return whether an output of this name holds code."""
    return bool(_CODE.match(label(name)))


def wants_code(signature: Any, inputs: Mapping[str, Any]) -> bool:
    """Return whether brackets and braces belong into the answer: it may be code, or the inputs have them, too."""
    if has_brackets(inputs):
        return True
    words = [
        signature.instructions,
        *(f"{label(name)} {_description(name, info)}" for name, info in signature.output_fields.items()),
    ]
    return any(_CODE.search(text) for text in words)
