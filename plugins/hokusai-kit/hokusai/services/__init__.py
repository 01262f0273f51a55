"""Services to run signatures: the executor, optimization, validation."""

from __future__ import annotations

__all__: list[str] = []
