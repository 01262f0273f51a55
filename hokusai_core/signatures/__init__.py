"""Signatures: typed inputs and outputs of a language-model program, as classes and as data.

Defining and listing signatures imports neither DSPy nor pydantic. What handles values is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hokusai_core.signatures.base import BaseSignature
from hokusai_core.signatures.field_spec import FieldSpec, Role
from hokusai_core.signatures.fields import InputField, OutputField, SignatureField
from hokusai_core.signatures.spec import SignatureSpec

if TYPE_CHECKING:
    from hokusai_core.json_encoding import jsonable
    from hokusai_core.signatures.examples import example_problems
    from hokusai_core.signatures.field_types import UnsupportedTypeError
    from hokusai_core.signatures.input_binder import InputBinder
    from hokusai_core.signatures.output_codec import (
        OutputCodec,
        read_value,
        write_value,
    )
    from hokusai_core.signatures.registry import (
        LOCAL,
        Edition,
        RegisteredSignature,
        SignatureFailure,
        SignaturePack,
        SignatureRegistry,
    )
    from hokusai_core.signatures.sample_values import sample_value

__all__ = [
    "LOCAL",
    "BaseSignature",
    "Edition",
    "FieldSpec",
    "InputBinder",
    "InputField",
    "OutputCodec",
    "OutputField",
    "RegisteredSignature",
    "Role",
    "SignatureFailure",
    "SignatureField",
    "SignaturePack",
    "SignatureRegistry",
    "SignatureSpec",
    "UnsupportedTypeError",
    "example_problems",
    "jsonable",
    "read_value",
    "sample_value",
    "write_value",
]

#: Public name -> module of this package that holds it.
_LATER = {
    "LOCAL": "registry",
    "Edition": "registry",
    "InputBinder": "input_binder",
    "OutputCodec": "output_codec",
    "RegisteredSignature": "registry",
    "SignatureFailure": "registry",
    "SignaturePack": "registry",
    "SignatureRegistry": "registry",
    "UnsupportedTypeError": "field_types",
    "read_value": "output_codec",
    "write_value": "output_codec",
    "example_problems": "examples",
    "sample_value": "sample_values",
}


def __getattr__(name: str) -> Any:
    if name == "jsonable":
        return import_module("hokusai_core.json_encoding").jsonable
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
