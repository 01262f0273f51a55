"""Integrations with other systems."""

from __future__ import annotations

__all__: list[str] = []
