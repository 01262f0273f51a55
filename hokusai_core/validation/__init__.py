"""Check inputs without executing anything."""

from hokusai_core.validation.signature_validator import SignatureValidator

__all__ = ["SignatureValidator"]
