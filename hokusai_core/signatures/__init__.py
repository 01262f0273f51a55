"""Signatures as data: fields, types, values, and checks of definitions.

Classes are in ``hokusai_core.base_signature``, the registry in ``hokusai_core.signature_registry``. Defining and
listing signatures imports neither DSPy nor pydantic: modules that handle values are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.lazy_exports import lazy_exports
from hokusai_core.signatures.fields import FieldSpec, InputField, OutputField, Role, SignatureField
from hokusai_core.signatures.spec import SignatureSpec

if TYPE_CHECKING:
    from hokusai_core.signatures.class_reader import example_problems
    from hokusai_core.signatures.field_types import UnsupportedTypeError
    from hokusai_core.signatures.input_binder import InputBinder
    from hokusai_core.signatures.output_codec import OutputCodec, read_value, write_value
    from hokusai_core.signatures.sample_values import sample_value

__all__ = [
    "FieldSpec",
    "InputBinder",
    "InputField",
    "OutputCodec",
    "OutputField",
    "Role",
    "SignatureField",
    "SignatureSpec",
    "UnsupportedTypeError",
    "example_problems",
    "read_value",
    "sample_value",
    "write_value",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai_core.signatures.class_reader": ("example_problems",),
            "hokusai_core.signatures.field_types": ("UnsupportedTypeError",),
            "hokusai_core.signatures.input_binder": ("InputBinder",),
            "hokusai_core.signatures.output_codec": ("OutputCodec", "read_value", "write_value"),
            "hokusai_core.signatures.sample_values": ("sample_value",),
        },
    )
