"""Check inputs without executing anything."""

from __future__ import annotations

from hokusai_core import SignatureValidator

__all__ = ["SignatureValidator"]
