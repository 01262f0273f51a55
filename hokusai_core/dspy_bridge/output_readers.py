"""Make the readers for the outputs of a ``dspy.Signature``: by the table of types, or by pydantic for other types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pydantic
from dspy import Type
from dspy.adapters.utils import annotation_allows_none
from pydantic.errors import PydanticUserError

from hokusai_core.dspy_bridge.answer_reader import AnswerReader, OutputReader
from hokusai_core.signatures.field_types import UnsupportedTypeError
from hokusai_core.signatures.spec import FieldSpec
from hokusai_core.signatures.text_json import NotJSON, parse_structure, without_fence

__all__ = ["FENCED", "reader_of", "stamp_of", "table_field"]

#: A code fence on lines of its own, and what it encloses.
FENCED = re.compile(r"^[ \t]*```[\w+-]*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)


def stamp_of(signature: Any) -> tuple[Any, ...]:
    """Return what the prompt of ``signature`` is made of, as the objects themselves.

    Signature classes can be changed in place (DSPy's own optimizers do), so what was made of one is good only while its
    stamp is still the same.
    """
    return (
        signature.__doc__,
        *[
            (name, info.annotation, extra.get("desc"), extra.get("constraints"), extra.get("__dspy_field_type"))
            for name, info in signature.model_fields.items()
            for extra in (info.json_schema_extra,)
        ],
    )


# A reader of another type than the table's takes longer to make than an answer takes to read.
_readers: WeakKeyDictionary[Any, tuple[tuple[Any, ...], AnswerReader]] = WeakKeyDictionary()


def reader_of(signature: Any) -> AnswerReader:
    """Return what reads the answers for ``signature``; kept as long as the class lives and is not changed."""
    stamp, kept = stamp_of(signature), _readers.get(signature)
    if kept is None or kept[0] != stamp:
        kept = _readers[signature] = stamp, AnswerReader(_output_readers(signature))
    return kept[1]


def _output_readers(signature: Any) -> dict[str, OutputReader]:
    return {
        name: OutputReader(_reader(name, info), _taker(name, info), _absence(info))
        for name, info in signature.output_fields.items()
    }


def table_field(name: str, info: Any) -> FieldSpec | None:
    """Return an output as the table of types has it; None for one of DSPy's own types and any other outside of it."""
    if Type.extract_custom_type_from_annotation(info.rebuild_annotation()):
        return None
    field = FieldSpec(name, "output", info.annotation)
    try:
        _ = field.shape
    except UnsupportedTypeError:
        return None
    return field


def _absence(info: Any) -> Callable[[], Any] | None:
    if not info.is_required():
        return lambda: info.get_default(call_default_factory=True)
    field = table_field("output", info)
    optional = annotation_allows_none(info.annotation) if field is None else field.shape.optional
    return _nothing if optional else None


def _nothing() -> None:
    return None


def _reader(name: str, info: Any) -> Callable[[str], Any]:
    field = table_field(name, info)
    if field is None:
        return _special_reader(info.annotation)
    read = field.text_reader
    return read if any(member.kind == "str" for member in field.shape.members) else _with_prose_around(read)


def _taker(name: str, info: Any) -> Callable[[Any], Any]:
    field = table_field(name, info)
    if field is None:
        return _validator(info.annotation)
    coerce, read = field.coerce, field.text_reader
    holds_text = any(member.kind == "str" for member in field.shape.members)

    def take(value: Any) -> Any:
        """Return the value; a JSON string is the text form of a value of another type, such as a date or a choice."""
        return read(value) if isinstance(value, str) and not holds_text else coerce(value)

    return take


def _with_prose_around(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return ``read`` for values that are no texts, which may stand in a code fence with prose around it."""

    def read_fenced(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            blocks = FENCED.findall(text) if text.count("```") == 2 else []
            if not blocks:
                raise
            return read(blocks[0])

    return read_fenced


def _special_reader(annotation: Any) -> Callable[[str], Any]:
    """Return what reads a value of a type that only DSPy or pydantic knows: as its text, or else as JSON."""
    validate = _validator(annotation)
    text_first = isinstance(annotation, type) and issubclass(annotation, Type)

    def read(text: str) -> Any:
        if text_first:
            try:
                return validate(text)
            except pydantic.ValidationError:
                return validate(_structure(text))
        try:
            return validate(_structure(text))
        except pydantic.ValidationError:
            return validate(text)

    return read


def _validator(annotation: Any) -> Callable[[Any], Any]:
    try:
        return pydantic.TypeAdapter(annotation).validate_python
    except PydanticUserError as error:
        problem = str(error).partition("\n")[0]

        def refuse(value: Any) -> Any:
            raise ValueError(f"its type cannot be read: {problem}")

        return refuse


def _structure(text: str) -> Any:
    """Return what JSON or a Python display spells out in ``text``; the text itself if it is neither."""
    try:
        return parse_structure(without_fence(text))
    except NotJSON as problem:
        if problem.certain:
            raise
    return text
