"""The fingerprint of a signature: a hash over everything that affects prompts and answers."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import asdict

from hokusai_core.json_encoding import canonical_json, jsonable
from hokusai_core.signatures.field_types import UnsupportedTypeError
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.signatures.type_description import TypeDescriber

__all__ = ["fingerprint"]

#: Raised when what goes into fingerprints changes, so that nothing stored under old ones is taken for equal.
FORMAT = 1


def fingerprint(spec: SignatureData) -> str:
    """Return the fingerprint of ``spec``: 32 hexadecimal digits, equal in every process for equal content."""
    types = TypeDescriber(strict=False)
    fields = [
        {
            "name": item.name,
            "role": item.role,
            "type": _type(types, item),
            "description": item.description,
            "prefix": item.prefix,
            "required": item.required,
            "default": _plain(item.default),
            "choices_from": item.choices_from,
            "limits": item.constraints.to_dict(),
        }
        for item in spec.fields
    ]
    content = {
        "format": FORMAT,
        "instructions": spec.instructions,
        "fields": fields,
        # A list of pairs: definitions are described in the order in which the fields mention them.
        "types": list(types.definitions.items()),
        "demos": [_plain(demo) for demo in spec.demos],
    }
    if spec.nearest_demos is not None:  # left out otherwise, so that fingerprints stay what they were
        content["nearest_demos"] = spec.nearest_demos
    if spec.strategy is not None:
        content["strategy"] = spec.strategy.identity
    if spec.predictors:
        content["predictors"] = {name: _plain(asdict(state)) for name, state in spec.predictors.items()}
    return hashlib.sha256(canonical_json(content)).hexdigest()[:32]


def _type(types: TypeDescriber, item: Any) -> Any:
    try:
        return types.describe(item.shape)
    except UnsupportedTypeError:
        # Programs and DSPy signatures may hold types of DSPy's own.
        cls = item.annotation
        return {"opaque": getattr(cls, "__qualname__", None) or str(cls)}


def _plain(value: Any) -> Any:
    try:
        return jsonable(value)
    except (TypeError, ValueError):
        if isinstance(value, dict):
            return {str(key): _plain(item) for key, item in value.items()}
        return {"opaque": type(value).__qualname__}
