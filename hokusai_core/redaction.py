"""Redaction of sensitive values."""

from __future__ import annotations

from typing import Final

__all__ = ["REDACTED"]

#: Stands where the value of a sensitive field was.
REDACTED: Final = "[redacted]"
