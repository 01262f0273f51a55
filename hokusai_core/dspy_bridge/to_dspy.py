"""Turn a SignatureSpec into the ``dspy.Signature`` class that prompts are made from."""

from __future__ import annotations

import types
import typing
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import dspy
from attrs import frozen

from hokusai_core.signatures.spec import FieldSpec, SignatureSpec

__all__ = ["Choices", "RenderedSignature", "render", "safe_names", "to_dspy"]

#: Output field -> the texts that it may be in one call.
Choices = Mapping[str, tuple[str, ...]]

#: Variants of one signature that are kept; each holds some 30 kB and takes some 2 ms to make.
_VARIANTS = 64


@frozen(eq=False)
class RenderedSignature:
    """A signature as DSPy gets it.

    Args:
        signature: the ``dspy.Signature`` class.
        safe: field name -> name in that class; the two differ where DSPy needs a name for itself.
        renamed: whether any name differs.
    """

    signature: Any
    safe: Mapping[str, str]
    renamed: bool

    def to_safe(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``values`` under the names that DSPy knows."""
        return {self.safe.get(name, name): value for name, value in values.items()} if self.renamed else dict(values)


def to_dspy(spec: SignatureSpec, choices: Choices | None = None) -> Any:
    """Return the ``dspy.Signature`` class of ``spec``; the same one for the same spec and choices.

    Args:
        spec: the signature.
        choices: outputs whose value must be one of given texts; their type becomes a ``Literal`` of these.
    """
    return render(spec, choices).signature


def render(spec: SignatureSpec, choices: Choices | None = None) -> RenderedSignature:
    """Return the ``dspy.Signature`` class of ``spec`` with the names of its fields."""
    key: Hashable = tuple(sorted((name, tuple(texts)) for name, texts in choices.items())) if choices else None
    variants = spec.renderings
    rendered: RenderedSignature | None = variants.get(key)
    if rendered is None:
        rendered = variants.setdefault(key, _render(spec, choices or {}))  # another thread may have made the same
        for oldest in list(variants)[:-_VARIANTS]:
            variants.pop(oldest, None)
    return rendered


def _render(spec: SignatureSpec, choices: Choices) -> RenderedSignature:
    safe = safe_names(item.name for item in spec.fields)
    fields = {safe[item.name]: (_annotation(spec, item, choices.get(item.name)), _field(item)) for item in spec.fields}
    name = "".join(letter if letter.isidentifier() or letter.isdigit() else "_" for letter in spec.name)
    with warnings.catch_warnings():
        # a name that pydantic newly takes for itself is no reason to alarm the user of a signature
        warnings.filterwarnings("ignore", message=r"Field name .* shadows an attribute", category=UserWarning)
        signature = dspy.Signature(fields, spec.instructions or None, signature_name=name or "Signature")
    return RenderedSignature(signature, safe, any(name != value for name, value in safe.items()))


def _annotation(spec: SignatureSpec, item: FieldSpec, choices: tuple[str, ...] | None) -> Any:
    annotation = spec.model_annotation(item.name) if item.name in spec.attrs_fields else item.annotation
    if choices:
        return _narrowed(annotation, choices)
    return _without_annotated(annotation)


def _without_annotated(annotation: Any) -> Any:
    """Return ``annotation`` as pydantic would split it: the constraints of an outermost ``Annotated`` are metadata."""
    return get_args(annotation)[0] if get_origin(annotation) is typing.Annotated else annotation


def _narrowed(annotation: Any, choices: tuple[str, ...]) -> Any:
    """Return ``annotation`` with every text in it narrowed to one of ``choices``."""
    literal: Any = Literal.__getitem__(choices)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is list:
        return list[literal]
    if origin in (Union, types.UnionType) and type(None) in args:
        return literal | None
    return literal


#: Constraints that DSPy states in the prompt, in this order.
_STATED = ("ge", "le", "min_length", "max_length", "gt", "lt", "multiple_of", "max_digits", "decimal_places")


def _field(item: FieldSpec) -> Any:
    options: dict[str, Any] = {"desc": item.description} if item.description else {}
    constraints = item.constraints.to_dict()
    options |= {name: constraints[name] for name in _STATED if name in constraints}
    if not item.required:
        options["default"] = item.default
    field = (dspy.InputField if item.role == "input" else dspy.OutputField)(**options)
    if item.pattern is not None:
        # Not pydantic's own: its dialect of regular expressions is not Python's, which the validator uses.
        extra = field.json_schema_extra
        rule = f"must match the regular expression: {item.pattern}"
        extra["constraints"] = f"{extra['constraints']}, {rule}" if extra.get("constraints") else rule
        extra["pattern"] = item.pattern
    return field


#: Names with a meaning of their own where DSPy takes fields as keyword arguments, or where it reads answers.
_TAKEN = frozenset(
    {
        "_trace",
        "completed",  # the marker that ends an answer
        "config",
        "demos",
        "lm",
        "logprobs",
        "new_signature",
        "prediction",
        "self",
        "signature",
    }
)

#: How names begin that pydantic keeps for itself.
_PROTECTED = ("model_dump", "model_validate")


def _unsafe(name: str) -> bool:
    return (
        name.startswith(("_", *_PROTECTED))
        or name in _TAKEN
        or hasattr(dspy.Signature, name)
        or hasattr(dspy.Prediction, name)
    )


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each field name the one that DSPy gets; most stay as they are.

    A name that DSPy or pydantic uses itself (``copy``, ``items``, ``lm``, ...) gets a trailing underscore; leading
    underscores are dropped, because pydantic takes such attributes for private ones.
    """
    original = list(names)
    taken = {name for name in original if not _unsafe(name)}
    safe: dict[str, str] = {}
    for name in original:
        if name in taken:
            safe[name] = name
            continue
        bare = name.lstrip("_") or "field"
        candidate = f"the_{bare}" if bare.startswith(_PROTECTED) else f"{bare}_"
        while candidate in taken or _unsafe(candidate):
            candidate += "_"
        taken.add(candidate)
        safe[name] = candidate
    return safe
