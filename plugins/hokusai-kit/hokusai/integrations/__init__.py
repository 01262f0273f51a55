"""Other systems that Hokusai works with."""

from __future__ import annotations

__all__: list[str] = []
