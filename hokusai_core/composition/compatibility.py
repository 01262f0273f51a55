"""Checks whether values, and outputs of other signatures, can be inputs of a signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import SignatureDefinitionError

if TYPE_CHECKING:
    from hokusai_core.media import MediaPolicy
    from hokusai_core.signatures import FieldSpec, SignatureSpec

__all__ = ["canonical_names", "input_problems", "never_fits"]


def canonical_names(spec: SignatureSpec) -> dict[str, str]:
    """Return every name and alias of an input with the name of its field."""
    return {name: item.name for item in spec.inputs.values() for name in (item.name, *item.aliases)}


def input_problems(spec: SignatureSpec, values: Any, fed: frozenset[str], media: MediaPolicy) -> list[str]:
    """Return everything that is wrong with the inputs of a signature, as far as that is known before it runs.

    Args:
        spec: the signature.
        values: inputs whose values are known.
        fed: names of inputs whose values show only while it runs.
        media: which pictures, sounds and files are taken.
    """
    names = canonical_names(spec)
    fields = [names[name] for name in fed if name in names]
    filled = frozenset(fields)
    found = [
        str(problem)
        for problem in spec.binder.problems(values, media)
        if not (problem.code == "missing" and problem.field in filled)
    ]
    # Names without a value take part as what they are: names.
    stand_ins = dict.fromkeys(fed)
    found += [str(problem) for problem in spec.binder.problems(stand_ins) if problem.code == "unknown"]
    given = Counter(names[name] for name in (*fed, *(values if isinstance(values, Mapping) else ())) if name in names)
    found += [
        f"{name}: is given twice, under its name and an alias"
        for name in sorted({name for name in fields if given[name] > 1})
    ]
    return found


def never_fits(output: FieldSpec, field: FieldSpec) -> bool:
    """Return whether no value of ``output`` can be an input ``field``. What depends on a text may fit."""
    from hokusai_core.signatures import sample_value
    from hokusai_core.signatures.lenient_input import CoercionError, coercer

    try:
        sample = sample_value(output)
    except SignatureDefinitionError:
        return False
    if sample is None or isinstance(sample, str):
        return False
    try:
        coercer(field.shape)(sample)
    except CoercionError:
        kinds = {member.kind for member in field.shape.members}
        numeric = isinstance(sample, (int, float)) and not isinstance(sample, bool)
        if numeric and kinds & {"int", "float"}:
            return False  # 1.0 would be a whole number, 0.5 is not
        return kinds <= {"str", "null"} or not _holds_text(sample)
    return False


def _holds_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, dict):
        return any(map(_holds_text, value.values()))
    return any(map(_holds_text, value)) if isinstance(value, list) else not isinstance(value, (int, float, type(None)))
